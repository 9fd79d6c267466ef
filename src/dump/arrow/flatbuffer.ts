/**
 * Bounds-checked reading of FlatBuffers tables (https://flatbuffers.dev/internals). Arrow's own JavaScript
 * decoder verifies nothing: a flipped bit in a vector length makes it loop for 2^31 entries. Here every
 * access outside the buffer throws {@link CorruptBytes}.
 */

import { utf8Text } from '../../utf8.js';

/**
 * Thrown inside the reader for bytes that are not what the format allows; the caller turns it into `BAD_DUMP`
 * with the file's name.
 */
export class CorruptBytes extends Error {}

/** A table inside a FlatBuffer. Fields are addressed by their index in the FlatBuffers schema. */
export class FlatTable {
  readonly #view: DataView;
  readonly #position: number;

  constructor(view: DataView, position: number) {
    this.#view = view;
    this.#position = position;
    this.#need(position, 4, 4);
  }

  /** The root table of a buffer. */
  static root(bytes: Uint8Array): FlatTable {
    if (bytes.byteLength < 8) throw new CorruptBytes('a FlatBuffer is cut short');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new FlatTable(view, view.getUint32(0, true));
  }

  /** Byte position of a field's value in the buffer, or undefined where the field is left at its default. */
  position(index: number): number | undefined {
    const vtable = this.#position - this.#view.getInt32(this.#position, true);
    this.#need(vtable, 4, 2);
    const entry = 4 + 2 * index;
    if (entry + 2 > this.#view.getUint16(vtable, true)) return undefined;
    this.#need(vtable + entry, 2);
    const offset = this.#view.getUint16(vtable + entry, true);
    return offset === 0 ? undefined : this.#position + offset;
  }

  /** An 8-bit unsigned field; default 0. */
  byte(index: number): number {
    const position = this.position(index);
    return position === undefined ? 0 : this.#view.getUint8(this.#need(position, 1));
  }

  /** A 16-bit signed field; default 0. */
  short(index: number): number {
    const position = this.position(index);
    return position === undefined ? 0 : this.#view.getInt16(this.#need(position, 2, 2), true);
  }

  /** A 32-bit signed field; default 0. */
  int(index: number): number {
    const position = this.position(index);
    return position === undefined ? 0 : this.#view.getInt32(this.#need(position, 4, 4), true);
  }

  /** A 64-bit field that must be a non-negative safe integer; default 0. */
  size(index: number): number {
    const position = this.position(index);
    return position === undefined ? 0 : readSize(this.#view, this.#need(position, 8, 8));
  }

  /** A string field; default ''. */
  string(index: number): string {
    const vector = this.vector(index, 1);
    const { buffer, byteOffset } = this.#view;
    if (
      this.position(index) !== undefined &&
      this.#view.getUint8(this.#need(vector.start + vector.length, 1)) !== 0
    )
      throw new CorruptBytes('a string without its end');
    const text = utf8Text(new Uint8Array(buffer, byteOffset + vector.start, vector.length));
    if (text === undefined) throw new CorruptBytes('a string that is not UTF-8');
    return text;
  }

  /** A table field, or undefined. */
  table(index: number): FlatTable | undefined {
    const position = this.position(index);
    return position === undefined ? undefined : this.#follow(position);
  }

  /**
   * Start position and length of a vector field whose entries take `entryBytes` each; a missing one is empty.
   */
  vector(index: number, entryBytes: number): { start: number; length: number } {
    const position = this.position(index);
    if (position === undefined) return { start: 0, length: 0 };
    const at = this.#target(position);
    const length = this.#view.getUint32(this.#need(at, 4, 4), true);
    this.#need(at + 4, length * entryBytes);
    return { start: at + 4, length };
  }

  /** The entries of a vector of tables. */
  tables(index: number): FlatTable[] {
    const { start, length } = this.vector(index, 4);
    return Array.from({ length }, (_, k) => this.#follow(start + 4 * k));
  }

  #follow(position: number): FlatTable {
    return new FlatTable(this.#view, this.#target(position));
  }

  /** Where a reference points; none points at itself. */
  #target(position: number): number {
    const offset = this.#view.getUint32(this.#need(position, 4, 4), true);
    if (offset === 0) throw new CorruptBytes('a FlatBuffer points nowhere');
    return position + offset;
  }

  /** A position whose bytes are there, at a multiple of `alignment`, as every writer puts them. */
  #need(position: number, bytes: number, alignment = 1): number {
    if (position < 0 || position + bytes > this.#view.byteLength)
      throw new CorruptBytes(`a FlatBuffer points outside its ${this.#view.byteLength} bytes`);
    if (position % alignment !== 0)
      throw new CorruptBytes(`a FlatBuffer points between numbers, at ${position}`);
    return position;
  }
}

/** A little-endian 64-bit integer that must be a non-negative safe integer. */
export function readSize(view: DataView, position: number): number {
  const high = view.getUint32(position + 4, true);
  if (high > 0x1fffff) throw new CorruptBytes('a size is negative or beyond 2^53');
  return high * 0x100000000 + view.getUint32(position, true);
}
