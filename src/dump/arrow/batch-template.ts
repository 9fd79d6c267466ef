/**
 * The encoded metadata message of a record batch, made once per file. All batches of a file have the same
 * fields, so their messages differ in numbers only: encoding costs a millisecond for 50 columns, overwriting
 * the numbers in place a few microseconds.
 */
import { Message } from 'apache-arrow';
import { BufferRegion, FieldNode, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { FlatTable } from './flatbuffer.js';

/**
 * Every buffer, and every batch, starts at a multiple of this many bytes: what Arrow recommends for
 * memory-mapped reading.
 */
export const ALIGNMENT = 64;

/** `bytes` rounded up to a multiple of {@link ALIGNMENT}. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/**
 * An encoded message with its framing: continuation marker, length, FlatBuffer, padding up to {@link
 * ALIGNMENT}.
 */
export function frameMessage(message: Message): Uint8Array {
  const encoded = Message.encode(message);
  const framed = new Uint8Array(aligned(FRAMING_BYTES + encoded.byteLength));
  const view = new DataView(framed.buffer);
  view.setInt32(0, -1, true);
  view.setInt32(4, framed.byteLength - FRAMING_BYTES, true);
  framed.set(encoded, FRAMING_BYTES);
  return framed;
}

const FRAMING_BYTES = 8;

/** A record batch message whose numbers can be overwritten. */
export class BatchTemplate {
  /** The framed message; its content is that of the latest {@link fill}. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #bodyLength: number;
  readonly #rows: number;
  readonly #nodes: number;
  readonly #buffers: number;

  /** @param nodes, buffers how many field nodes and buffers each batch of the schema has. */
  constructor(nodes: number, buffers: number) {
    // A field equal to its default is left out of a FlatBuffer, so the placeholders are not zero.
    const header = new RecordBatch(
      1,
      Array.from({ length: nodes }, () => new FieldNode(1, 1)),
      Array.from({ length: buffers }, () => new BufferRegion(1, 1)),
      null,
    );
    this.bytes = frameMessage(Message.from(header, 1));
    this.#view = new DataView(this.bytes.buffer);
    const message = FlatTable.root(this.bytes.subarray(FRAMING_BYTES));
    const batch = message.table(MESSAGE_HEADER);
    this.#bodyLength = FRAMING_BYTES + message.position(MESSAGE_BODY_LENGTH)!;
    this.#rows = FRAMING_BYTES + batch!.position(BATCH_LENGTH)!;
    this.#nodes = FRAMING_BYTES + batch!.vector(BATCH_NODES, 16).start;
    this.#buffers = FRAMING_BYTES + batch!.vector(BATCH_BUFFERS, 16).start;
  }

  /**
   * Overwrites the numbers.
   * @param nodes length and null count of each field node, flat.
   * @param sizes bytes of each buffer; offsets follow from {@link ALIGNMENT}.
   * @returns bytes of the body.
   */
  fill(rows: number, nodes: ArrayLike<number>, sizes: ArrayLike<number>): number {
    for (let k = 0; k < nodes.length; k++) this.#set(this.#nodes + 8 * k, nodes[k]!);
    let offset = 0;
    for (let k = 0; k < sizes.length; k++) {
      this.#set(this.#buffers + 16 * k, offset);
      this.#set(this.#buffers + 16 * k + 8, sizes[k]!);
      offset += aligned(sizes[k]!);
    }
    this.#set(this.#rows, rows);
    this.#set(this.#bodyLength, offset);
    return offset;
  }

  #set(position: number, value: number): void {
    this.#view.setUint32(position, value >>> 0, true);
    this.#view.setUint32(position + 4, Math.floor(value / 0x100000000), true);
  }
}

/** Field indices of `Message` and `RecordBatch` in Arrow's Message.fbs. */
export const MESSAGE_HEADER_TYPE = 1;
export const MESSAGE_HEADER = 2;
export const MESSAGE_BODY_LENGTH = 3;
export const BATCH_LENGTH = 0;
export const BATCH_NODES = 1;
export const BATCH_BUFFERS = 2;
export const BATCH_COMPRESSION = 3;
