/**
 * How a tap becomes Arrow columns: the one place that writer and reader share, so that both agree on the
 * order of fields, nodes and buffers.
 */
import {
  type DataType,
  Field,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  Schema,
  Uint8,
  Uint16,
} from 'apache-arrow';
import { isQuantised, type PlainDtype, storedBytes, storedItems, type TapDtype } from '../dtypes.js';
import type { TapSpec } from '../format.js';
import { INDEX_COLUMNS } from './index-columns.js';

/** Key of a field's metadata that names the tap's dtype. */
export const DTYPE_KEY = 'zayascope.dtype';
/** Key of a field's metadata with the shape in elements of a quantised tap, as JSON. */
export const SHAPE_KEY = 'zayascope.shape';
/** Key of the schema's metadata with the version of the format. */
export const FORMAT_KEY = 'zayascope.format';
/** Keys of a field's metadata by which Arrow names an extension type. */
export const EXTENSION_KEY = 'ARROW:extension:name';
export const EXTENSION_METADATA_KEY = 'ARROW:extension:metadata';
/** The extension of columns with a fixed shape. */
export const TENSOR_EXTENSION = 'arrow.fixed_shape_tensor';

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

/**
 * Items of the Arrow column per row of a tap whose shape does not vary: elements, or bytes of quantised
 * blocks.
 */
export function rowItems(tap: TapSpec): number {
  return storedItems(tap.dtype, rowElements(tap));
}

/** The shape of a row as the Arrow column states it: of a quantised tap, bytes along the last axis. */
export function storedShape({ dtype, shape }: TapSpec): readonly (number | null)[] {
  const last = shape.at(-1);
  if (!isQuantised(dtype) || typeof last !== 'number') return shape;
  return [...shape.slice(0, -1), storedBytes(dtype, last)];
}

/**
 * Arrow field nodes and buffers that a column kind takes in a record batch; see {@link dataSchema} for their
 * order.
 */
export const COLUMN_SIZE: Record<ColumnKind, { nodes: number; buffers: number }> = {
  // validity, values
  scalar: { nodes: 1, buffers: 2 },
  // list validity, item validity, item values
  fixed: { nodes: 2, buffers: 3 },
  // list validity, offsets, item validity, item values; shape validity, item validity, item values
  varying: { nodes: 4, buffers: 7 },
};

/** The Arrow schema of a data file: index columns, then the taps in the order given. */
export function dataSchema(block: number | null, taps: readonly TapSpec[], version: 1 | 2): Schema {
  const index = INDEX_COLUMNS.map((name) => new Field<DataType>(name, new Int32(), false));
  const metadata = new Map([
    [FORMAT_KEY, String(version)],
    ['zayascope.block', block === null ? '' : String(block)],
  ]);
  return new Schema([...index, ...taps.flatMap(tapFields)], metadata);
}

function tapFields(tap: TapSpec): Field[] {
  const metadata = new Map<string, string>([[DTYPE_KEY, tap.dtype]]);
  const kind = columnKind(tap);
  const nullable = tap.scope === 'step' || tap.nullable === true;
  if (kind === 'scalar') return [new Field<DataType>(tap.name, storageType(tap.dtype), nullable, metadata)];
  const item = new Field<DataType>('item', storageType(tap.dtype), false);
  if (kind === 'fixed') {
    metadata.set(EXTENSION_KEY, TENSOR_EXTENSION);
    metadata.set(EXTENSION_METADATA_KEY, JSON.stringify({ shape: storedShape(tap) }));
    if (isQuantised(tap.dtype)) metadata.set(SHAPE_KEY, JSON.stringify(tap.shape));
    return [new Field<DataType>(tap.name, new FixedSizeList(rowItems(tap), item), nullable, metadata)];
  }
  const sizes = new FixedSizeList(tap.shape.length, new Field('item', new Int32(), false));
  return [
    new Field<DataType>(tap.name, new List(item), nullable, metadata),
    new Field<DataType>(`${tap.name}#shape`, sizes, nullable),
  ];
}

const STORAGE: Record<PlainDtype, () => DataType> = {
  F32: () => new Float32(),
  F16: () => new Uint16(),
  BF16: () => new Uint16(),
  I32: () => new Int32(),
  F64: () => new Float64(),
  I64: () => new Int64(),
  I16: () => new Int16(),
  I8: () => new Int8(),
  U8: () => new Uint8(),
  BOOL: () => new Uint8(),
};

function storageType(dtype: TapDtype): DataType {
  return isQuantised(dtype) ? new Uint8() : STORAGE[dtype]();
}
