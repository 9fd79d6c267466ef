/**
 * Are the FlatBuffers of Arrow's metadata whole? Every field that Arrow's schemas name is checked, also those
 * that this reader does not use: damage is refused wherever it is, as Arrow's own libraries refuse it.
 * https://github.com/apache/arrow/tree/main/format (Schema.fbs, Message.fbs, File.fbs)
 */
import { CorruptBytes } from './flatbuffer.js';

/**
 * A field by its kind: a number of that many bytes, a text, entries of that many bytes, tables, a table, or
 * the table that the byte in the field before tells.
 */
type FieldKind =
  | number
  | 'text'
  | { entries: number }
  | { tables: () => Table }
  | { table: () => Table }
  | { union: Readonly<Record<number, () => Table>> };

/** The fields of a table in the order of their numbers. */
type Table = readonly FieldKind[];

const pairs: FieldKind = { tables: () => ['text', 'text'] };
const int = (): Table => [4, 1];
const dictionary = (): Table => [8, { table: int }, 1, 2];
/** Types with fields of their own that a dump may hold; of others nothing is read. */
const types = { 2: int, 3: (): Table => [2], 16: (): Table => [4] };
const field = (): Table => ['text', 1, 1, { union: types }, { table: dictionary }, { tables: field }, pairs];
const schema = (): Table => [2, { tables: field }, pairs, { entries: 8 }];
const batch = (): Table => [8, { entries: 16 }, { entries: 16 }, { table: () => [1, 1] }, { entries: 8 }];
const dictionaryBatch = (): Table => [8, { table: batch }, 1];

/** What a file ends with. */
export const FOOTER: Table = [2, { table: schema }, { entries: 24 }, { entries: 24 }, pairs];
/** What stands before a body. */
export const MESSAGE: Table = [2, 1, { union: { 1: schema, 2: dictionaryBatch, 3: batch } }, 8, pairs];

const MAX_DEPTH = 128;

/** Throws {@link CorruptBytes} unless all of a buffer's root table lies inside it, where numbers lie. */
export function verifyFlatBuffer(bytes: Uint8Array, root: Table): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Tables that point at one another could be walked for ever.
  let left = 8 * bytes.byteLength;

  const need = (position: number, size: number, alignment: number): void => {
    if (position < 0 || position + size > bytes.byteLength)
      throw new CorruptBytes(`a FlatBuffer points outside its ${bytes.byteLength} bytes`);
    if (position % alignment !== 0)
      throw new CorruptBytes(`a FlatBuffer points between numbers, at ${position}`);
  };
  const target = (position: number): number => {
    need(position, 4, 4);
    const offset = view.getUint32(position, true);
    if (offset === 0) throw new CorruptBytes('a FlatBuffer points nowhere');
    need(position + offset, 4, 4);
    return position + offset;
  };
  const entries = (position: number, size: number): { start: number; length: number } => {
    const at = target(position);
    const length = view.getUint32(at, true);
    need(at + 4, length * size, 1);
    return { start: at + 4, length };
  };
  const table = (position: number, fields: Table, depth: number): void => {
    if (depth > MAX_DEPTH || left-- <= 0) throw new CorruptBytes('a FlatBuffer of too many tables');
    need(position, 4, 4);
    const vtable = position - view.getInt32(position, true);
    need(vtable, 4, 2);
    const size = view.getUint16(vtable, true);
    need(vtable, size, 1);
    if (size % 2 !== 0) throw new CorruptBytes('a FlatBuffer with half a field');
    const place = (index: number): number | undefined => {
      const entry = 4 + 2 * index;
      const offset = entry + 2 > size ? 0 : view.getUint16(vtable + entry, true);
      return offset === 0 ? undefined : position + offset;
    };
    for (const [index, kind] of fields.entries()) {
      const at = place(index);
      if (at === undefined) continue;
      if (typeof kind === 'number') need(at, kind, kind);
      else if (kind === 'text') {
        const { start, length } = entries(at, 1);
        need(start + length, 1, 1);
        if (view.getUint8(start + length) !== 0) throw new CorruptBytes('a string without its end');
      } else if ('entries' in kind) entries(at, kind.entries);
      else if ('tables' in kind) {
        const { start, length } = entries(at, 4);
        for (let k = 0; k < length; k++) table(target(start + 4 * k), kind.tables(), depth + 1);
      } else if ('table' in kind) table(target(at), kind.table(), depth + 1);
      else {
        const told = place(index - 1);
        const known = told === undefined ? undefined : kind.union[view.getUint8(told)];
        table(target(at), known === undefined ? [] : known(), depth + 1);
      }
    }
  };

  if (bytes.byteLength < 8) throw new CorruptBytes('a FlatBuffer is cut short');
  table(target(0), root, 0);
}
