/** Reads ranges of a member of a zip archive, in memory of the range. */
import { Readable } from 'node:stream';
import { constants, crc32, createInflateRaw } from 'node:zlib';
import { ZayascopeError } from '../../errors.js';
import { readInto } from '../file-access.js';
import { type ZipMember, type ZipReader, zipMemberStart } from './zip.js';

const CHUNK_BYTES = 1 << 18;

/**
 * Ranges `[begin, end)` of what a member inflates to. A range that begins where the one before ended goes on
 * from there, an earlier one begins anew: whoever asks in order inflates once. Whoever reads to the end has
 * the CRC checked. Throws the reader's code for damaged data, `IO`.
 */
export function zipMemberRanges(
  reader: ZipReader,
  member: ZipMember,
): (begin: number, end: number) => Promise<Uint8Array> {
  let cursor: Cursor | undefined;
  return async (begin, end) => {
    if (cursor === undefined || cursor.position > begin) {
      await cursor?.close();
      cursor = new Cursor(reader, member);
    }
    try {
      await cursor.skipTo(begin);
      return await cursor.take(end - begin);
    } catch (error) {
      await cursor.close();
      cursor = undefined;
      throw error;
    }
  };
}

class Cursor {
  readonly #reader: ZipReader;
  readonly #member: ZipMember;
  readonly #chunks: AsyncGenerator<Uint8Array, void>;
  #rest: Uint8Array = new Uint8Array(0);
  /** Bytes that were handed out, or passed over. */
  position = 0;
  #crc = 0;
  #bytes = 0;

  constructor(reader: ZipReader, member: ZipMember) {
    this.#reader = reader;
    this.#member = member;
    this.#chunks = inflated(reader, member);
  }

  async skipTo(position: number): Promise<void> {
    while (this.position < position) await this.#next(position - this.position);
  }

  async take(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      const part = await this.#next(count - done);
      bytes.set(part, done);
      done += part.length;
    }
    if (this.position === this.#member.sizeBytes) await this.#finish();
    return bytes;
  }

  async close(): Promise<void> {
    await this.#chunks.return();
  }

  /** Some of the following bytes, at most `most`. */
  async #next(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const { value } = await this.#chunks.next();
      if (value === undefined) throw this.#damaged();
      this.#rest = value;
      this.#bytes += value.length;
      this.#crc = crc32(value, this.#crc);
      if (this.#bytes > this.#member.sizeBytes) throw this.#damaged();
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    this.position += part.length;
    return part;
  }

  async #finish(): Promise<void> {
    const isMore = this.#rest.length > 0 || (await this.#chunks.next()).done !== true;
    if (isMore || this.#crc !== this.#member.crc) throw this.#damaged();
  }

  #damaged(): ZayascopeError {
    return damaged(this.#reader, this.#member, `${this.#member.sizeBytes} undamaged bytes`, 'others');
  }
}

async function* inflated(reader: ZipReader, member: ZipMember): AsyncGenerator<Uint8Array, void> {
  if (member.method === 'stored') return yield* packed(reader, member);
  const inflate = createInflateRaw({ chunkSize: CHUNK_BYTES, finishFlush: constants.Z_FINISH });
  const source = Readable.from(packed(reader, member), { objectMode: true });
  source.on('error', (error) => inflate.destroy(error));
  try {
    for await (const chunk of source.pipe(inflate)) yield chunk as Buffer;
  } catch (cause) {
    if (cause instanceof ZayascopeError) throw cause;
    throw damaged(reader, member, 'deflated data', (cause as Error).message);
  } finally {
    source.destroy();
    inflate.destroy();
  }
}

async function* packed(reader: ZipReader, member: ZipMember): AsyncGenerator<Uint8Array, void> {
  const { op, handle, file } = reader;
  const start = await zipMemberStart(reader, member);
  for (let at = 0; at < member.packedBytes; at += CHUNK_BYTES) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, member.packedBytes - at));
    await readInto(op, handle, file, start + at, chunk);
    yield chunk;
  }
}

function damaged(
  { op, code, file }: ZipReader,
  { name }: ZipMember,
  expected: string,
  got: string,
): ZayascopeError {
  const where = `${name} in ${file}`;
  return new ZayascopeError(code, `${op}: expected ${expected}, got ${got} (${where})`, {
    op,
    tensor: where,
  });
}
