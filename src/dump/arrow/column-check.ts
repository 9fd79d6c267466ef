/**
 * Does a file hold the columns that the manifest describes, and does their metadata mean what this reader
 * does with it?
 */

import { isQuantised } from '../dtypes.js';
import type { TapInfo } from '../format.js';
import {
  columnKind,
  DTYPE_KEY,
  dataSchema,
  EXTENSION_KEY,
  EXTENSION_METADATA_KEY,
  FORMAT_KEY,
  SHAPE_KEY,
  storedShape,
  TENSOR_EXTENSION,
} from './columns.js';
import { INDEX_COLUMNS } from './index-columns.js';
import type { Column } from './metadata.js';
import type { ArrowReader } from './reader.js';

/**
 * Axes of stored rows in the order of the logical ones: axis i of the value is axis `order[i]` of what is
 * stored, whose sizes are `shape`.
 */
export interface StoredOrder {
  order: readonly number[];
  shape: readonly number[];
}

/**
 * Compares the schema of a file with the taps that it must hold.
 * @returns taps whose rows are stored in another order of their axes. Throws `BAD_DUMP` naming the column and
 * what of it is not understood.
 */
export function checkColumns(
  reader: ArrowReader,
  block: number | null,
  taps: readonly TapInfo[],
  version: 1 | 2,
): Map<string, StoredOrder> {
  const { columns, metadata } = reader.schema;
  const format = metadata.get(FORMAT_KEY);
  if (format !== undefined && !['1', '2'].includes(format))
    throw reader.corrupt(`${FORMAT_KEY} to be 1 or 2`, format);
  const expected = dataSchema(block, taps, version).fields;
  for (let k = 0; k < Math.max(expected.length, columns.length); k++) {
    const want =
      expected[k] === undefined ? 'no further column' : `${expected[k]!.name}: ${expected[k]!.type}`;
    const got = columns[k] === undefined ? 'none' : `${columns[k]!.name}: ${columns[k]!.type}`;
    if (want !== got) throw reader.corrupt(`column ${k} to be ${want}`, got);
  }
  const own = metadata.get('zayascope.block');
  if (own !== undefined && own !== (block === null ? '' : String(block)))
    throw reader.corrupt(`zayascope.block to be ${block ?? 'empty'}`, `'${own}'`);
  const found = new Map<string, StoredOrder>();
  const byName = new Map(taps.map((tap) => [tap.name, tap]));
  for (const column of columns) {
    const tap = byName.get(column.name);
    const order = tap === undefined ? checkPlain(reader, column) : checkTapColumn(reader, column, tap);
    if (order !== undefined) found.set(column.name, order);
  }
  return found;
}

/** Index columns and shapes: nothing may say that they are something else. */
function checkPlain(reader: ArrowReader, { name, metadata }: Column): undefined {
  const extension = metadata.get(EXTENSION_KEY);
  if (extension !== undefined)
    throw reader.corrupt(
      `a plain column ${INDEX_COLUMNS.includes(name as never) ? name : `'${name}'`}`,
      `extension ${extension}`,
    );
}

function checkTapColumn(
  reader: ArrowReader,
  { name, metadata }: Column,
  tap: TapInfo,
): StoredOrder | undefined {
  const dtype = metadata.get(DTYPE_KEY);
  if (dtype !== undefined && dtype !== tap.dtype)
    throw reader.corrupt(`${DTYPE_KEY} of ${name} to be ${tap.dtype}`, dtype);
  const shape = metadata.get(SHAPE_KEY);
  if (shape !== undefined && !isSameList(parseJson(shape), tap.shape))
    throw reader.corrupt(`${SHAPE_KEY} of ${name} to be [${tap.shape.join(', ')}]`, shape);
  const extension = metadata.get(EXTENSION_KEY);
  if (extension === undefined) return undefined;
  if (extension !== TENSOR_EXTENSION || columnKind(tap) !== 'fixed')
    throw reader.corrupt(`no extension but ${TENSOR_EXTENSION} of ${name}, whose shape is fixed`, extension);
  return checkTensor(reader, tap, metadata.get(EXTENSION_METADATA_KEY) ?? '');
}

/**
 * `arrow.fixed_shape_tensor`:
 * https://arrow.apache.org/docs/format/CanonicalExtensions.html#fixed-shape-tensor
 */
function checkTensor(reader: ArrowReader, tap: TapInfo, text: string): StoredOrder | undefined {
  const fail = (expected: string, got: unknown): never => {
    throw reader.corrupt(
      `${expected} in the tensor metadata of ${tap.name}`,
      JSON.stringify(got) ?? 'nothing',
    );
  };
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('an object', text);
  const { shape, permutation, dim_names: names, ...rest } = value as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) fail('nothing but shape, permutation and dim_names', unknown);
  const logical = storedShape(tap) as readonly number[];
  const axes = logical.map((_, axis) => axis);
  const order = (permutation ?? axes) as number[];
  if (
    !Array.isArray(order) ||
    !isSameList(
      [...order].sort((a, b) => a - b),
      axes,
    )
  )
    return fail(`a permutation of ${axes.length} axes`, permutation);
  // Of others the specification says one thing and pyarrow 25, which writes them, another: where sizes are
  // equal nothing could tell them apart.
  if (!order.every((axis, k) => order[axis] === k))
    return fail(
      'a permutation that is its own inverse (of others pyarrow and the specification disagree)',
      permutation,
    );
  if (
    !Array.isArray(shape) ||
    !isSameList(
      order.map((axis) => shape[axis]),
      logical,
    ) ||
    shape.length !== axes.length
  )
    return fail(`a shape that is [${logical.join(', ')}] once its permutation is applied`, shape);
  const own = tap.axes.slice(1);
  if (
    names !== undefined &&
    !(
      Array.isArray(names) &&
      isSameList(
        order.map((axis) => names[axis]),
        own,
      )
    )
  )
    return fail(
      `dim_names that are ${JSON.stringify(own)}, the axes in the manifest, once the permutation is applied`,
      names,
    );
  if (isSameList(order, axes)) return undefined;
  if (isQuantised(tap.dtype)) return fail(`no permutation of blocks of ${tap.dtype}`, permutation);
  return { order, shape: shape as number[] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isSameList(a: unknown, b: readonly unknown[]): boolean {
  return Array.isArray(a) && a.length === b.length && a.every((entry, k) => entry === b[k]);
}
