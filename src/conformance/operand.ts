import { blockBytes, blockSize, type Dtype, ggmlType, isQuantized } from '../dtype.js';
import { toFloat64 } from '../dump/float.js';
import type { Graph } from '../graph/graph.js';
import { permute, slice } from '../graph/ops-layout.js';
import { elementCount, type Shape } from '../graph/shape.js';
import type { Tensor } from '../graph/tensor.js';
import { normals, uniform } from '../models/zaya/synthetic-values.js';
import { native } from '../native.js';
import { randomBlocks } from './random-blocks.js';

/**
 * How an operand lies in memory: `dense`; `inner`: a part along the last axis of something larger (gaps
 * between rows); `middle`: the first two of three or more axes swapped (contiguous rows); `transposed`: the
 * last two swapped (rows are not contiguous).
 */
export type Layout = 'dense' | 'inner' | 'middle' | 'transposed';

/**
 * What an operand holds. Floats: `normal` (mean 0, variance 1), `nonzero` (magnitudes from 0.5), `positive`,
 * `wide` (times 100), `special` (every third element one of NaN, ±Inf, −0), `mask` (0 up to the diagonal,
 * −Inf beyond, square at the end). Integers: `normal` is −100..100, `positions` 0, 3, 6, .., `{ below }`
 * different indices where there are enough. `elements` are given.
 */
export type Values =
  | 'normal'
  | 'nonzero'
  | 'positive'
  | 'wide'
  | 'special'
  | 'mask'
  | 'positions'
  | { below: number }
  | { elements: Float32Array };

/** An operand of an op under test. Axes slowest first. */
export interface Operand {
  dtype: Dtype;
  shape: Shape;
  layout: Layout;
  values: Values;
}

/** True if an operand of this shape and dtype can lie so. */
export function canLie({ dtype, shape }: Pick<Operand, 'dtype' | 'shape'>, layout: Layout): boolean {
  if (layout === 'middle') return shape.length >= 3;
  if (layout === 'transposed') return shape.length >= 2 && !isQuantized(dtype);
  return layout === 'dense' || shape.length >= 2;
}

/**
 * Adds the operand to a graph as a view of an input `name`, which is the memory that {@link operandMemory}
 * fills.
 */
export function placeOperand(graph: Graph, name: string, operand: Operand): Tensor {
  const { dtype, shape, layout } = operand;
  const input = graph.input(name, dtype, memoryShape(operand));
  if (layout === 'dense') return input;
  if (layout === 'inner') return slice(input, -1, blockSize(dtype), blockSize(dtype) + shape.at(-1)!);
  return permute(input, swapped(shape.length, layout));
}

function memoryShape({ dtype, shape, layout }: Operand): Shape {
  if (layout === 'dense') return shape;
  if (layout === 'inner') return [...shape.slice(0, -1), shape.at(-1)! + 3 * blockSize(dtype)];
  return swapped(shape.length, layout).map((axis) => shape[axis]!);
}

/** The order of axes that swaps two neighbours; it is its own inverse. */
function swapped(rank: number, layout: 'middle' | 'transposed'): number[] {
  const first = layout === 'middle' ? 0 : rank - 2;
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  [axes[first], axes[first + 1]] = [first + 1, first];
  return axes;
}

/** Memory of an operand: its bytes for the device, and the same elements as doubles. */
export interface Memory {
  bytes: Uint8Array;
  elements: Float64Array;
}

/**
 * Seeded contents. Memory beside an `inner` operand is NaN where the dtype has one, so that a kernel that
 * reads it shows.
 */
export async function operandMemory(operand: Operand, seed: number): Promise<Memory> {
  const { dtype, layout } = operand;
  const shape = memoryShape(operand);
  if (dtype === 'I32') {
    const integers = Int32Array.from(integerValues(operand, elementCount(shape), seed));
    return { bytes: new Uint8Array(integers.buffer), elements: Float64Array.from(integers) };
  }
  const columns = shape.at(-1)!;
  const blocks = randomBlocks(dtype, elementCount(shape), uniform(seed));
  if (blocks !== undefined) return { bytes: blocks, elements: await decode(dtype, blocks, columns) };
  const values = floatValues(operand, shape, seed);
  if (layout === 'inner' && !isQuantized(dtype))
    values.forEach((_, at) => {
      const column = at % columns;
      if (column < 1 || column > operand.shape.at(-1)!) values[at] = Number.NaN;
    });
  return encode(dtype, values, columns);
}

/** F32 values in a dtype, and what they became. */
export async function encode(dtype: Dtype, values: Float32Array, columns: number): Promise<Memory> {
  if (dtype === 'F32') {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return { bytes, elements: Float64Array.from(values) };
  }
  const bytes = await native().quantize(values, ggmlType(dtype), columns, null);
  return { bytes, elements: await decode(dtype, bytes, columns) };
}

/** Bytes of a dtype as doubles. */
export async function decode(dtype: Dtype, bytes: Uint8Array, columns: number): Promise<Float64Array> {
  if (isQuantized(dtype)) {
    const wide = new Float32Array((bytes.byteLength / blockBytes(dtype)) * blockSize(dtype));
    await native().dequantize(bytes, ggmlType(dtype), columns, wide);
    return Float64Array.from(wide);
  }
  const { buffer } = bytes.slice(); // aligned
  if (dtype === 'F32') return Float64Array.from(new Float32Array(buffer));
  if (dtype === 'I32') return Float64Array.from(new Int32Array(buffer));
  return toFloat64(new Uint16Array(buffer), dtype as 'F16' | 'BF16');
}

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0];

function floatValues({ values }: Operand, shape: Shape, seed: number): Float32Array {
  if (typeof values === 'object' && 'elements' in values) return values.elements.slice();
  const drawn = normals(elementCount(shape), uniform(seed));
  const [rows, columns] = [shape.at(-2) ?? 1, shape.at(-1)!];
  return drawn.map((value, at) => {
    switch (values) {
      case 'nonzero':
        return Math.sign(value) * (0.5 + Math.abs(value));
      case 'positive':
        return Math.abs(value);
      case 'wide':
        return value * 100;
      case 'special':
        return at % 3 === 0 ? SPECIAL[(at / 3) % SPECIAL.length]! : value;
      case 'mask': {
        const row = Math.floor(at / columns) % rows;
        return (at % columns) - (columns - rows) > row ? Number.NEGATIVE_INFINITY : 0;
      }
      default:
        return value;
    }
  });
}

function integerValues({ values }: Operand, count: number, seed: number): number[] {
  const random = uniform(seed);
  if (values === 'positions') return Array.from({ length: count }, (_, at) => 3 * at);
  if (typeof values !== 'object' || !('below' in values))
    return Array.from({ length: count }, () => Math.floor(random() * 201) - 100);
  // A step that shares no factor with the number of indices visits each before one comes back.
  const { below } = values;
  const start = Math.floor(random() * below);
  const step = [7, 5, 3, 2].find((each) => below % each !== 0) ?? 1;
  return Array.from({ length: count }, (_, at) => (start + at * step) % below);
}
