import { randomBlocks } from '../../src/conformance/random-blocks.js';
import { blockBytes, blockSize, type Dtype, ggmlType, isQuantized } from '../../src/dtype.js';
import type { Graph } from '../../src/graph/graph.js';
import { permute, slice } from '../../src/graph/ops-layout.js';
import { elementCount, type Shape } from '../../src/graph/shape.js';
import type { Tensor } from '../../src/graph/tensor.js';
import { native } from '../../src/native.js';
import { build, type NdArray } from './nd-array.js';
import type { Random } from './random.js';
import { permute as permuteArray, slice as sliceArray } from './reference.js';
import { encode, roundTo } from './rounding.js';

/**
 * How an operand lies in memory: `dense`; `offset`: contiguous, but a part of something larger along the
 * first axis; `inner`: a part along the last axis (gaps between rows);
 * `middle`: the first two of three or more axes swapped (contiguous rows); `transposed`: the last two swapped
 * (rows are not contiguous).
 */
export const LAYOUTS = ['dense', 'offset', 'inner', 'middle', 'transposed'] as const;
export type Layout = (typeof LAYOUTS)[number];

/** What an operand holds. `{ below: n }` are indices 0 .. n − 1; an array is the dense memory itself. */
export type Values = 'normal' | 'nonzero' | 'wide' | 'ties' | 'positions' | { below: number } | Float64Array;

/** An operand of an op under test. */
export interface Operand {
  dtype: Dtype;
  shape: Shape;
  /** Default `dense`. */
  layout?: Layout;
  /** Default `normal`; integer dtypes hold integers. */
  values?: Values;
}

/** True if a tensor of this shape and dtype can lie so. */
export function canLie({ dtype, shape }: Operand, layout: Layout): boolean {
  if (layout === 'middle') return shape.length >= 3;
  if (layout === 'transposed') return shape.length >= 2 && !isQuantized(dtype);
  return layout !== 'inner' || shape.length >= 2;
}

/** What lies in memory around an operand, and the way from there to it. */
interface Placement {
  memory: Shape;
  /** Part of the memory that the operand is, if it is not all of it. */
  part: { axis: number; start: number; end: number } | undefined;
  /** Order of axes that turns the part into the operand. */
  order: readonly number[] | undefined;
}

function place({ dtype, shape, layout = 'dense' }: Operand): Placement {
  const last = shape.length - 1;
  const axes = shape.map((_, axis) => axis);
  if (layout === 'offset' || layout === 'inner') {
    const axis = layout === 'offset' ? 0 : last;
    const step = axis === last ? blockSize(dtype) : 1;
    const memory = shape.map((size, i) => (i === axis ? size + 3 * step : size));
    return { memory, part: { axis, start: step, end: step + shape[axis]! }, order: undefined };
  }
  if (layout === 'dense') return { memory: shape, part: undefined, order: undefined };
  const first = layout === 'middle' ? 0 : last - 1;
  const order = axes.map((axis) => (axis === first ? first + 1 : axis === first + 1 ? first : axis));
  return { memory: order.map((axis) => shape[axis]!), part: undefined, order };
}

/**
 * An operand with data: `bytes` fill the input `name`, of which `tensor` is a view; `values` is what the
 * reference computes with.
 */
export interface Placed {
  tensor: Tensor;
  values: NdArray;
  name: string;
  bytes: Uint8Array;
}

/** The operand as a view of an input `name`, without data. */
export function viewInput(graph: Graph, name: string, operand: Operand): Tensor {
  const { memory, part, order } = place(operand);
  let tensor = graph.input(name, operand.dtype, memory);
  if (part !== undefined) tensor = slice(tensor, part.axis, part.start, part.end);
  return order === undefined ? tensor : permute(tensor, order);
}

/**
 * Adds an operand to a graph, with seeded values. Memory beside it is NaN where the dtype has one, so that a
 * kernel that reads it shows.
 */
export async function placeOperand(
  graph: Graph,
  name: string,
  operand: Operand,
  random: Random,
): Promise<Placed> {
  const tensor = viewInput(graph, name, operand);
  const { memory, part, order } = place(operand);
  const { bytes, stored } = await fill(operand, memory, part, random);
  let values = stored;
  if (part !== undefined) values = sliceArray(values, part.axis, part.start, part.end);
  if (order !== undefined) values = permuteArray(values, order);
  return { tensor, values, name, bytes };
}

async function fill(
  operand: Operand,
  memory: Shape,
  part: Placement['part'],
  random: Random,
): Promise<{ bytes: Uint8Array; stored: NdArray }> {
  const { dtype, values = 'normal' } = operand;
  if (isQuantized(dtype)) return quantized(dtype, memory, random);
  const floating = dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';
  let position = 0;
  const stored = build(memory, (index) => {
    const inside = part === undefined || (index[part.axis]! >= part.start && index[part.axis]! < part.end);
    const drawn = floating ? real(values, random, position) : integer(values, random, position);
    const value = roundTo(dtype, drawn);
    position++;
    return inside || !floating ? value : Number.NaN;
  });
  return { bytes: encode(dtype, stored.data), stored };
}

async function quantized(
  dtype: Dtype,
  memory: Shape,
  random: Random,
): Promise<{ bytes: Uint8Array; stored: NdArray }> {
  const columns = memory[memory.length - 1]!;
  const values = () => Float32Array.from({ length: elementCount(memory) }, () => random.normal());
  const bytes =
    randomBlocks(dtype, elementCount(memory), () => random.unit()) ??
    (await native().quantize(values(), ggmlType(dtype), columns, null));
  return { bytes, stored: { shape: memory, data: await dequantize(dtype, bytes, columns) } };
}

/** Quantised bytes as numbers. */
export async function dequantize(dtype: Dtype, bytes: Uint8Array, columns: number): Promise<Float64Array> {
  const wide = new Float32Array((bytes.byteLength / blockBytes(dtype)) * blockSize(dtype));
  await native().dequantize(bytes, ggmlType(dtype), columns, wide);
  return Float64Array.from(wide);
}

function real(values: Values, random: Random, position: number): number {
  if (values instanceof Float64Array) return values[position]!;
  const normal = random.normal();
  if (values === 'wide') return normal * 8;
  if (values === 'ties') return random.integer(-2, 2);
  return values === 'nonzero' ? Math.sign(normal) * (0.5 + Math.abs(normal)) : normal;
}

function integer(values: Values, random: Random, position: number): number {
  if (values instanceof Float64Array) return values[position]!;
  if (values === 'positions') return position * 3;
  return typeof values === 'object' ? random.integer(0, values.below - 1) : random.integer(-100, 100);
}
