import { writevSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { Message, MetadataVersion, type Schema } from 'apache-arrow';
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file';
import { BufferRegion, DictionaryBatch, FieldNode, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { unmet, ZayascopeError } from '../../errors.js';
import { explained } from '../../regular-file.js';
import { ALIGNMENT, aligned, BatchTemplate, frameMessage } from './batch-template.js';

const MAGIC = new TextEncoder().encode('ARROW1');
/** Linux takes at most 1024 pieces in one vectored write. */
const MAX_PIECES = 1024;
/** Below libuv's and Linux's 2 GiB limit for one write. */
const MAX_WRITE_BYTES = 2 ** 30;
/**
 * Buffers up to this size are copied beside the metadata: cheaper than one more piece of a vectored write.
 */
const STAGED_BYTES = 2048;
/**
 * A write of so few bytes into the page cache is done sooner than it can be handed to another thread: a
 * decode step makes one per block.
 */
const SHORT_BYTES = 512 * 1024;
const PADDING = new Uint8Array(ALIGNMENT);

/**
 * Writes one Arrow IPC file, batch by batch, from buffers that belong to the caller.
 *
 * Differences from apache-arrow's own writer: a batch is on disk when {@link append} resolves (its writer
 * queues without bound), the schema message leads the file (so a file without footer is a readable stream),
 * and batch metadata is encoded once (`batch-template.ts`). Errors are `IO` and name the file; after one,
 * every further call throws it again.
 */
export class ArrowWriter {
  readonly #handle: FileHandle;
  readonly #file: string;
  readonly #schema: Schema;
  readonly #template: BatchTemplate;
  readonly #dictionaryBlocks: FileBlock[] = [];
  readonly #batchBlocks: FileBlock[] = [];
  #position = 0;
  #staging = new Uint8Array(0);
  #tail: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(handle: FileHandle, file: string, schema: Schema, template: BatchTemplate) {
    this.#handle = handle;
    this.#file = file;
    this.#schema = schema;
    this.#template = template;
  }

  /**
   * Creates the file, which must not exist, and writes the schema and the dictionary.
   * @param nodes, buffers how many field nodes and buffers a batch of this schema has.
   * @param dictionary values of the dictionary with id 0, if the schema has one.
   */
  static async create(
    path: string,
    schema: Schema,
    nodes: number,
    buffers: number,
    dictionary?: readonly string[],
  ): Promise<ArrowWriter> {
    const file = basename(path);
    const handle = await open(path, 'wx').catch((cause: NodeJS.ErrnoException) => {
      throw writeError(file, 'a new file', explained(cause));
    });
    const writer = new ArrowWriter(handle, file, schema, new BatchTemplate(nodes, buffers));
    try {
      const magic = new Uint8Array(ALIGNMENT);
      magic.set(MAGIC);
      // Readers expect the schema right after 8 bytes of magic, so the alignment goes into the schema
      // message's own padding.
      const message = frameMessage(Message.from(schema));
      await writer.#write([magic.subarray(0, 8), alignSchema(message)]);
      if (dictionary !== undefined) await writer.#writeDictionary(dictionary);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return writer;
  }

  /**
   * Appends a record batch. The buffers may be reused as soon as the promise resolves. Calls are served in
   * order.
   * @param nodes length and null count per field node, flat; @param buffers in schema order, null for an
   * absent validity bitmap.
   */
  append(rows: number, nodes: readonly number[], buffers: readonly (Uint8Array | null)[]): Promise<void> {
    const written = this.#tail.then(() => this.#append(rows, nodes, buffers));
    this.#tail = written;
    // The rejection reaches whoever awaits `written`; the chain itself must not count as unhandled.
    this.#tail.catch(() => {});
    return written;
  }

  /** Writes end marker and footer and closes. */
  async finish(): Promise<void> {
    await this.#tail;
    const footer = Footer.encode(
      new Footer(this.#schema, MetadataVersion.V5, this.#batchBlocks, this.#dictionaryBlocks),
    );
    const end = new Uint8Array(8 + footer.byteLength + 4 + MAGIC.byteLength);
    const view = new DataView(end.buffer);
    view.setInt32(0, -1, true);
    end.set(footer, 8);
    view.setInt32(8 + footer.byteLength, footer.byteLength, true);
    end.set(MAGIC, 12 + footer.byteLength);
    await this.#write([end]);
    await this.close();
  }

  /**
   * Closes without a footer, after the append in flight; what has been appended stays readable. Idempotent.
   */
  async close(): Promise<void> {
    await this.#tail.catch(() => {});
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }

  async #append(
    rows: number,
    nodes: readonly number[],
    buffers: readonly (Uint8Array | null)[],
  ): Promise<void> {
    if (this.#closed)
      throw new ZayascopeError(
        'CLOSED',
        `appendDump: expected an open file, got a closed one (${this.#file})`,
      );
    const sizes = buffers.map((buffer) => buffer?.byteLength ?? 0);
    const bodyLength = this.#template.fill(rows, nodes, sizes);
    const block = new FileBlock(this.#template.bytes.byteLength, bodyLength, this.#position);
    await this.#write(this.#pieces(buffers));
    this.#batchBlocks.push(block);
  }

  /**
   * Metadata and body as few pieces of memory: small buffers and padding are gathered in the staging buffer,
   * large ones stay in place.
   */
  #pieces(buffers: readonly (Uint8Array | null)[]): Uint8Array[] {
    const metadata = this.#template.bytes;
    let bound = metadata.byteLength;
    for (const buffer of buffers)
      bound +=
        buffer === null ? 0 : buffer.byteLength <= STAGED_BYTES ? aligned(buffer.byteLength) : ALIGNMENT;
    if (this.#staging.byteLength < bound) this.#staging = new Uint8Array(2 * bound);
    const staging = this.#staging;
    staging.set(metadata);
    const pieces: Uint8Array[] = [];
    let start = 0;
    let end = metadata.byteLength;
    for (const buffer of buffers) {
      if (buffer === null) continue;
      const size = buffer.byteLength;
      const padding = aligned(size) - size;
      if (size <= STAGED_BYTES) {
        staging.set(buffer, end);
        end += size;
      } else {
        if (end > start) pieces.push(staging.subarray(start, end));
        pieces.push(buffer);
        start = end;
      }
      staging.fill(0, end, end + padding);
      end += padding;
    }
    if (end > start) pieces.push(staging.subarray(start, end));
    return pieces;
  }

  async #writeDictionary(values: readonly string[]): Promise<void> {
    const [offsets, bytes] = utf8Buffers(values);
    const regions = [new BufferRegion(0, 0), new BufferRegion(0, offsets.byteLength)];
    regions.push(new BufferRegion(aligned(offsets.byteLength), bytes.byteLength));
    const bodyLength = aligned(offsets.byteLength) + aligned(bytes.byteLength);
    const batch = new RecordBatch(values.length, [new FieldNode(values.length, 0)], regions, null);
    const message = frameMessage(Message.from(new DictionaryBatch(batch, 0), bodyLength));
    this.#dictionaryBlocks.push(new FileBlock(message.byteLength, bodyLength, this.#position));
    const pieces = [message, offsets, PADDING.subarray(0, aligned(offsets.byteLength) - offsets.byteLength)];
    pieces.push(bytes, PADDING.subarray(0, aligned(bytes.byteLength) - bytes.byteLength));
    await this.#write(pieces.filter((piece) => piece.byteLength > 0));
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    let queue = pieces;
    while (queue.length > 0) {
      const group = writeGroup(queue);
      const size = group.reduce((sum, piece) => sum + piece.byteLength, 0);
      const bytesWritten = await this.#writeGroup(group, size).catch((cause) => {
        throw writeError(this.#file, `${size} bytes`, cause);
      });
      if (bytesWritten === 0) throw writeError(this.#file, 'bytes', new Error('a write of none'));
      this.#position += bytesWritten;
      queue = dropBytes(queue, bytesWritten);
    }
  }

  async #writeGroup(group: readonly Uint8Array[], size: number): Promise<number> {
    if (size <= SHORT_BYTES) return writevSync(this.#handle.fd, group, this.#position);
    return (await this.#handle.writev(group, this.#position)).bytesWritten;
  }
}

/** The buffers of a utf8 column: offsets (int32) and bytes. */
export function utf8Buffers(values: readonly string[]): [offsets: Uint8Array, bytes: Uint8Array] {
  const offsets = new Int32Array(values.length + 1);
  const encoded = values.map((value) => new TextEncoder().encode(value));
  for (const [k, value] of encoded.entries()) offsets[k + 1] = offsets[k]! + value.byteLength;
  return [new Uint8Array(offsets.buffer), Buffer.concat(encoded)];
}

/** The first pieces that one vectored write takes; at least one, a larger one cut. */
function writeGroup(queue: readonly Uint8Array[]): Uint8Array[] {
  let bytes = 0;
  let count = 0;
  while (count < queue.length && count < MAX_PIECES && bytes + queue[count]!.byteLength <= MAX_WRITE_BYTES)
    bytes += queue[count++]!.byteLength;
  return count === 0 ? [queue[0]!.subarray(0, MAX_WRITE_BYTES)] : queue.slice(0, count);
}

/** What is left of the pieces after a write, which may have been cut short, took `bytes`. */
function dropBytes(queue: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  let first = 0;
  while (first < queue.length && left >= queue[first]!.byteLength) left -= queue[first++]!.byteLength;
  const rest = queue.slice(first);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}

/**
 * Lengthens the padding of the framed schema message so that what follows it, 8 bytes into the file, is
 * aligned.
 */
function alignSchema(framed: Uint8Array): Uint8Array {
  const padded = new Uint8Array(framed.byteLength + ALIGNMENT - 8);
  padded.set(framed);
  new DataView(padded.buffer).setInt32(4, padded.byteLength - 8, true);
  return padded;
}

function writeError(file: string, expected: string, cause: unknown): ZayascopeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return unmet('IO', 'writeDump', `to write ${expected}`, reason, { where: file, tensor: file, cause });
}
