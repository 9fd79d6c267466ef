import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { unmet, ZayascopeError } from '../../errors.js';
import { openRegularFile } from '../../regular-file.js';
import { CorruptBytes } from './flatbuffer.js';
import {
  type BatchMessage,
  type Block,
  type ParsedSchema,
  parseBatch,
  parseFooter,
  parseMessage,
  parseSchema,
} from './metadata.js';

const MAGIC = 'ARROW1';
/**
 * Metadata (a schema, a footer) larger than this is taken for corruption. A footer has 24 bytes per batch.
 */
const MAX_METADATA_BYTES = 2 ** 28;
/**
 * Batches whose bodies are no larger are read whole, several at a time: that of a decode step has dozens of
 * columns of a few kilobytes.
 */
const SMALL_BODY_BYTES = 2 ** 19;
const WINDOW_BYTES = 2 ** 20;
/** Below the 2 GiB at which one read fails or aborts the process. */
const MAX_READ_BYTES = 2 ** 30;
const CACHED_BATCHES = 16;

/** Memory that successive reads reuse; it grows to the largest of them. */
export class ReusableBuffer {
  #memory: Uint8Array;

  /** @param memory what it begins with: used as long as nothing larger is read. Default: none. */
  constructor(memory: Uint8Array = new Uint8Array(0)) {
    this.#memory = memory;
  }

  /** Memory of `length` bytes; invalidates what was read into it before. */
  take(length: number): Uint8Array {
    if (this.#memory.byteLength < length) this.#memory = new Uint8Array(length);
    return this.#memory.subarray(0, length);
  }
}

/**
 * Random access to the record batches of one Arrow IPC file, by byte ranges. A file without a footer is
 * scanned as a stream up to its last whole batch. Nothing in the file is trusted: sizes are checked against
 * the file's before anything is allocated or read. Errors are `BAD_DUMP` and `IO`, and name the file.
 */
export class ArrowReader {
  /** File name without folder. */
  readonly file: string;
  readonly schema: ParsedSchema;
  /** False for a file that was not finished. */
  readonly hasFooter: boolean;
  readonly #handle: FileHandle;
  readonly #batches: readonly Block[];
  readonly #dictionaries: readonly Block[];
  readonly #recent = new Map<number, BatchMessage>();
  #window: Window | undefined;

  private constructor(handle: FileHandle, file: string, contents: Contents) {
    this.#handle = handle;
    this.file = file;
    this.schema = contents.schema;
    this.hasFooter = contents.hasFooter;
    this.#batches = contents.batches;
    this.#dictionaries = contents.dictionaries;
  }

  /** Opens a file and reads its schema and the positions of its batches. */
  static async open(path: string): Promise<ArrowReader> {
    const file = basename(path);
    const handle = await openRegularFile(path).catch((cause) => {
      throw readError('IO', file, 'a readable file', cause);
    });
    try {
      const { size } = await handle.stat();
      const contents = (await readFooter(handle, size)) ?? (await scan(handle, size));
      return new ArrowReader(handle, file, contents);
    } catch (cause) {
      await handle.close();
      throw readError('BAD_DUMP', file, 'an Arrow IPC file', cause);
    }
  }

  /** The columns of the schema. */
  get columns(): ParsedSchema['columns'] {
    return this.schema.columns;
  }

  get batchCount(): number {
    return this.#batches.length;
  }

  get dictionaryCount(): number {
    return this.#dictionaries.length;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** Throws `BAD_DUMP` for a file without a footer: one of a complete dump was whole once. */
  requireFooter(): void {
    if (!this.hasFooter)
      throw this.corrupt('a whole file in a complete dump', 'one without a footer: it was cut or altered');
  }

  /** Rows, nodes and buffers of a record batch. */
  async batch(index: number): Promise<BatchMessage> {
    const known = this.#recent.get(index);
    if (known !== undefined) return known;
    const message = await this.#message(this.#batches[index]!, this.#windowOf(index));
    if (this.#recent.size >= CACHED_BATCHES) this.#recent.delete(this.#recent.keys().next().value!);
    this.#recent.set(index, message);
    return message;
  }

  /** Bytes [start, end) of the body of a record batch, read into `into` or into fresh memory. */
  async read(index: number, start: number, end: number, into?: ReusableBuffer): Promise<Uint8Array> {
    const block = this.#batches[index]!;
    const window = this.#windowOf(index);
    if (window === undefined) return this.#range(block, start, end, into);
    const body = block.offset + block.metadataBytes - window.start;
    const bytes = await window.bytes.catch((cause) => {
      throw readError('BAD_DUMP', this.file, `${end - start} bytes at ${window.start + body + start}`, cause);
    });
    const out = memory(end - start, into);
    out.set(bytes.subarray(body + start, body + end));
    return out;
  }

  /** Metadata and whole body of a dictionary batch. */
  async dictionary(index: number): Promise<{ message: BatchMessage; body: Uint8Array; id: number }> {
    const block = this.#dictionaries[index]!;
    const message = await this.#message(block);
    return {
      message,
      id: message.dictionary ?? -1,
      body: await this.#range(block, 0, block.bodyBytes, undefined),
    };
  }

  /** `BAD_DUMP` about this file. */
  corrupt(expected: string, got: string): ZayascopeError {
    return readError('BAD_DUMP', this.file, expected, new CorruptBytes(got));
  }

  /**
   * The range of the file that holds a small batch whole, its metadata too; undefined for a large one. Small
   * batches that follow it are in the same range.
   */
  #windowOf(index: number): Window | undefined {
    const block = this.#batches[index]!;
    if (block.metadataBytes + block.bodyBytes > SMALL_BODY_BYTES) return undefined;
    const known = this.#window;
    if (known !== undefined && known.start <= block.offset && endOf(block) <= known.end) return known;
    let end = endOf(block);
    for (let next = index + 1; next < this.#batches.length; next++) {
      const follower = this.#batches[next]!;
      if (follower.offset !== end || endOf(follower) > block.offset + WINDOW_BYTES) break;
      end = endOf(follower);
    }
    const bytes = readBytes(this.#handle, block.offset, end - block.offset);
    // Whoever waits for it gets the error; until someone does it must not count as unhandled.
    bytes.catch(() => {});
    this.#window = { start: block.offset, end, bytes };
    return this.#window;
  }

  async #message(block: Block, window?: Window): Promise<BatchMessage> {
    try {
      const bytes =
        window === undefined
          ? await readBytes(this.#handle, block.offset, block.metadataBytes)
          : (await window.bytes).slice(
              block.offset - window.start,
              block.offset - window.start + block.metadataBytes,
            );
      const framing = new DataView(bytes.buffer, bytes.byteOffset, 8);
      // The footer says where the message is, the message how long it is: where they disagree, one of them is
      // damaged.
      if (framing.getInt32(0, true) !== -1 || framing.getInt32(4, true) !== block.metadataBytes - 8)
        throw new CorruptBytes('a message that is not where the footer says');
      return parseBatch(bytes.subarray(8), block.bodyBytes);
    } catch (cause) {
      throw readError('BAD_DUMP', this.file, 'the metadata of a batch', cause);
    }
  }

  async #range(
    block: Block,
    start: number,
    end: number,
    into: ReusableBuffer | undefined,
  ): Promise<Uint8Array> {
    const position = block.offset + block.metadataBytes + start;
    try {
      return await readBytes(this.#handle, position, end - start, into);
    } catch (cause) {
      throw readError('BAD_DUMP', this.file, `${end - start} bytes at ${position}`, cause);
    }
  }
}

/**
 * A file that ends before its schema does, as a killed writer leaves it: there is nothing in it, and nothing
 * wrong with it.
 */
class CutBeforeSchema extends CorruptBytes {}

/** True for an error of {@link ArrowReader.open} about a file that is missing or ends before its schema. */
export function isAbsent(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return cause instanceof CutBeforeSchema || (cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

/** Bytes [start, end) of the file. */
interface Window {
  start: number;
  end: number;
  bytes: Promise<Uint8Array>;
}

function endOf({ offset, metadataBytes, bodyBytes }: Block): number {
  return offset + metadataBytes + bodyBytes;
}

interface Contents {
  schema: ParsedSchema;
  batches: readonly Block[];
  dictionaries: readonly Block[];
  hasFooter: boolean;
}

/** What the footer says, or undefined where the file does not end in one. */
async function readFooter(handle: FileHandle, size: number): Promise<Contents | undefined> {
  const head = await readBytes(handle, 0, Math.min(size, 8));
  if (size < 8 && `${MAGIC}\0\0`.startsWith(Buffer.from(head).toString('latin1')))
    throw new CutBeforeSchema(`${size} bytes`);
  if (Buffer.from(head.subarray(0, 6)).toString('latin1') !== MAGIC)
    throw new CorruptBytes('no ARROW1 at its start');
  if (size < 18) return undefined;
  const tail = await readBytes(handle, size - 10, 10);
  if (Buffer.from(tail.subarray(4)).toString('latin1') !== MAGIC) return undefined;
  const bytes = new DataView(tail.buffer, tail.byteOffset).getInt32(0, true);
  if (bytes <= 0 || bytes > Math.min(size - 18, MAX_METADATA_BYTES))
    throw new CorruptBytes(`a footer of ${bytes} bytes`);
  return { ...parseFooter(await readBytes(handle, size - 10 - bytes, bytes), size), hasFooter: true };
}

/** Reads messages from the start, up to the last one that is whole. */
async function scan(handle: FileHandle, size: number): Promise<Contents> {
  let schema: ParsedSchema | undefined;
  const batches: Block[] = [];
  const dictionaries: Block[] = [];
  let offset = 8;
  while (offset + 8 <= size) {
    const framing = await readBytes(handle, offset, 8);
    const view = new DataView(framing.buffer, framing.byteOffset, 8);
    const length = view.getInt32(4, true);
    if (view.getInt32(0, true) !== -1 || length <= 0) {
      if (schema === undefined) throw new CorruptBytes('no schema after its magic');
      break;
    }
    if (length > MAX_METADATA_BYTES || offset + 8 + length > size) break;
    const message = parseMessage(await readBytes(handle, offset + 8, length));
    const block = { offset, metadataBytes: 8 + length, bodyBytes: message.bodyBytes };
    const end = offset + block.metadataBytes + block.bodyBytes;
    if (end > size) break;
    if (message.kind === 'schema') schema = parseSchema(message.header);
    else if (message.kind === 'batch') batches.push(block);
    else dictionaries.push(block);
    offset = end;
  }
  if (schema === undefined) throw new CutBeforeSchema('no whole schema in a file without footer');
  return { schema, batches, dictionaries, hasFooter: false };
}

async function readBytes(
  handle: FileHandle,
  position: number,
  length: number,
  into?: ReusableBuffer,
): Promise<Uint8Array> {
  const bytes = memory(length, into);
  let done = 0;
  while (done < length) {
    const part = Math.min(length - done, MAX_READ_BYTES);
    const { bytesRead } = await handle.read(bytes, done, part, position + done);
    if (bytesRead === 0) throw new CorruptBytes(`only ${done}`);
    done += bytesRead;
  }
  return bytes;
}

function memory(length: number, into: ReusableBuffer | undefined): Uint8Array {
  return into === undefined ? uninitialised(length) : into.take(length);
}

/** Memory that a read fills whole: clearing it first costs as much as the read. */
function uninitialised(length: number): Uint8Array {
  const { buffer, byteOffset } = Buffer.allocUnsafeSlow(length);
  return new Uint8Array(buffer, byteOffset, length);
}

function readError(code: 'IO' | 'BAD_DUMP', file: string, expected: string, cause: unknown): ZayascopeError {
  if (cause instanceof ZayascopeError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const systemError = cause instanceof Error && 'syscall' in cause;
  return unmet(systemError ? 'IO' : code, 'readDump', expected, reason, { where: file, tensor: file, cause });
}
