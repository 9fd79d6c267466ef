/**
 * How a tap becomes Arrow columns: the one place that writer and reader share, so that both agree on the order of fields, nodes and buffers.
 */
import { type DataType, Field, FixedSizeList, Float32, Int32, List, Schema, Uint16 } from 'apache-arrow';
import type { TapDtype, TapSpec } from '../format.js';

/** Names of the index columns, in file order. */
export const INDEX_COLUMNS = ['sequence', 'position', 'token_id', 'step'] as const;

/**
 * - `scalar`: one number per token, a plain column.
 * - `fixed`: a fixed-size list, tagged as `arrow.fixed_shape_tensor`.
 * - `varying`: a list, and a second column with the row's shape; also used for scope `step`, with null rows.
 */
export type ColumnKind = 'scalar' | 'fixed' | 'varying';

/** The column kind of a tap. */
export function columnKind(tap: TapSpec): ColumnKind {
  if (tap.scope === 'step' || tap.shape.includes(null)) return 'varying';
  return tap.shape.length === 0 ? 'scalar' : 'fixed';
}

/** Elements per row of a tap whose shape does not vary. */
export function rowElements(tap: TapSpec): number {
  return tap.shape.reduce<number>((product, size) => product * (size ?? 1), 1);
}

/** Arrow field nodes and buffers that a column kind takes in a record batch; see {@link dataSchema} for their order. */
export const COLUMN_SIZE: Record<ColumnKind, { nodes: number; buffers: number }> = {
  // validity, values
  scalar: { nodes: 1, buffers: 2 },
  // list validity, item validity, item values
  fixed: { nodes: 2, buffers: 3 },
  // list validity, offsets, item validity, item values; shape validity, item validity, item values
  varying: { nodes: 4, buffers: 7 },
};

/** The Arrow schema of a data file: index columns, then the taps in the order given. */
export function dataSchema(block: number | null, taps: readonly TapSpec[]): Schema {
  const index = INDEX_COLUMNS.map((name) => new Field<DataType>(name, new Int32(), false));
  const metadata = new Map([
    ['zayascope.format', '1'],
    ['zayascope.block', block === null ? '' : String(block)],
  ]);
  return new Schema([...index, ...taps.flatMap(tapFields)], metadata);
}

function tapFields(tap: TapSpec): Field[] {
  const metadata = new Map<string, string>([['zayascope.dtype', tap.dtype]]);
  const kind = columnKind(tap);
  if (kind === 'scalar') return [new Field<DataType>(tap.name, storageType(tap.dtype), false, metadata)];
  const item = new Field<DataType>('item', storageType(tap.dtype), false);
  if (kind === 'fixed') {
    metadata.set('ARROW:extension:name', 'arrow.fixed_shape_tensor');
    metadata.set('ARROW:extension:metadata', JSON.stringify({ shape: tap.shape }));
    return [new Field<DataType>(tap.name, new FixedSizeList(rowElements(tap), item), false, metadata)];
  }
  const nullable = tap.scope === 'step';
  const sizes = new FixedSizeList(tap.shape.length, new Field('item', new Int32(), false));
  return [
    new Field<DataType>(tap.name, new List(item), nullable, metadata),
    new Field<DataType>(`${tap.name}#shape`, sizes, nullable),
  ];
}

function storageType(dtype: TapDtype): DataType {
  if (dtype === 'F32') return new Float32();
  return dtype === 'I32' ? new Int32() : new Uint16();
}
