/**
 * Evaluates a graph in double precision: what its ops would give without any rounding. Casts among floating
 * dtypes leave values alone. For judging results, not for speed.
 */
import { blockBytes, blockSize, type Dtype } from '../dtype.js';
import { ELEMENT_OPS, ROW_OPS } from './float64-ops.js';
import { im2col, mulMat, mulMatId, rope, ssmConv } from './float64-products.js';
import { elementCount, type Shape } from './shape.js';
import type { Tensor } from './tensor.js';

/** A value as memory and the way through it, as ggml holds views. Strides and offset in elements. */
interface Strided {
  data: Float64Array;
  offset: number;
  strides: readonly number[];
}

/** Multiplications beyond which an evaluation takes too long: some ten seconds. */
const MAX_PRODUCTS = 5e9;

/** Elements of one value beyond which it takes too much memory: 2 GiB of doubles. */
const MAX_ELEMENTS = 2 ** 28;

/** True if every op is known, the products are few enough and no value is too large. */
export function canEvaluate(nodes: readonly Tensor[]): boolean {
  const products = nodes
    .filter(({ op }) => op === 'mulMat' || op === 'mulMatId')
    .reduce((sum, { shape, sources }) => sum + elementCount(shape) * sources[0]!.shape.at(-1)!, 0);
  const isSmall = nodes.every(({ shape }) => elementCount(shape) <= MAX_ELEMENTS);
  return isSmall && products <= MAX_PRODUCTS && nodes.every(({ op }) => op === 'input' || op in EVALUATORS);
}

/**
 * Evaluates nodes in order and gives the last one's elements.
 * @param input the elements of a leaf.
 */
export async function evaluateExactly(
  nodes: readonly Tensor[],
  input: (leaf: Tensor) => Promise<Float64Array>,
): Promise<Float64Array> {
  const values = new Map<Tensor, Strided>();
  for (const node of nodes) {
    const sources = node.sources.map((source) => values.get(source)!);
    values.set(
      node,
      node.op === 'input' ? packed(await input(node), node.shape) : EVALUATORS[node.op]!(node, sources),
    );
  }
  const last = nodes[nodes.length - 1]!;
  return read(last, values.get(last)!);
}

type Evaluator = (node: Tensor, sources: readonly Strided[]) => Strided;

/** Elements of the operands in, elements of the result out. */
const of =
  (compute: (node: Tensor, operands: Float64Array[]) => Float64Array): Evaluator =>
  (node, sources) =>
    packed(
      compute(
        node,
        node.sources.map((source, at) => read(source, sources[at]!)),
      ),
      node.shape,
    );

const looksAt = (node: Tensor, source: Strided, offset: number): Strided => ({
  data: source.data,
  offset: source.offset + offset,
  strides: inElements(node),
});

const EVALUATORS: Record<string, Evaluator> = {
  reshape: (node, [source]) => ({ ...source!, strides: packedStrides(node.shape) }),
  view: (node, [source]) =>
    looksAt(node, source!, elementsIn(node.dtype, node.params[node.params.length - 1]!)),
  permute: (node, [source]) => looksAt(node, source!, 0),
  transpose: (node, [source]) => looksAt(node, source!, 0),
  cont: of((_, [x]) => x!),
  cast: of(({ dtype }, [x]) => (dtype === 'I32' ? x!.map(Math.trunc) : x!)),
  copyInto: of((_, [x]) => x!),
  concat: of(concat),
  repeat: of((node, [x]) => spread(x!, node.sources[0]!.shape, node.shape)),
  getRows: of(getRows),
  setRows: of(setRows),
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  ...Object.fromEntries(
    Object.entries(ELEMENT_OPS).map(([op, compute]) => [
      op,
      of(({ params }, [x]) => x!.map((value) => compute(value, params))),
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(ROW_OPS).map(([op, compute]) => [
      op,
      of((node, [x]) => mapRows(x!, node, (row) => compute(row, node.params))),
    ]),
  ),
  softMax: of(softMax),
  mulMat: of(mulMat),
  mulMatId: of(mulMatId),
  im2col: of(im2col),
  ssmConv: of(ssmConv),
  rope: of(rope),
};

function binary(combine: (a: number, b: number) => number): Evaluator {
  return of(({ sources, shape }, [a, b]) => {
    const other = spread(b!, sources[1]!.shape, shape);
    return a!.map((value, at) => combine(value, other[at]!));
  });
}

function packed(data: Float64Array, shape: Shape): Strided {
  return { data, offset: 0, strides: packedStrides(shape) };
}

function packedStrides(shape: Shape): number[] {
  return shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
}

function inElements({ dtype, strides }: Tensor): number[] {
  // The fastest stride of a quantised type is that of a block.
  return strides.map((stride, axis) =>
    axis === strides.length - 1 && blockSize(dtype) > 1 ? 1 : elementsIn(dtype, stride),
  );
}

function elementsIn(dtype: Dtype, bytes: number): number {
  return (bytes / blockBytes(dtype)) * blockSize(dtype);
}

/** Elements in the order of the axes; the memory itself where they lie so. */
function read({ shape }: Tensor, { data, offset, strides }: Strided): Float64Array {
  const isWhole = data.length === elementCount(shape) && strides.join() === packedStrides(shape).join();
  return isWhole ? data : gather(data, offset, shape, strides);
}

function gather(data: Float64Array, offset: number, shape: Shape, strides: readonly number[]): Float64Array {
  const out = new Float64Array(elementCount(shape));
  let at = 0;
  const walk = (axis: number, from: number) => {
    const [size, stride] = [shape[axis]!, strides[axis]!];
    if (axis === shape.length - 1) for (let i = 0; i < size; i++) out[at++] = data[from + i * stride]!;
    else for (let i = 0; i < size; i++) walk(axis + 1, from + i * stride);
  };
  walk(0, offset);
  return out;
}

/** Sizes of 1 (and missing leading ones) repeated to `target`. */
function spread(x: Float64Array, shape: Shape, target: Shape): Float64Array {
  const own = [...new Array<number>(Math.max(0, target.length - shape.length)).fill(1), ...shape].slice(
    -target.length,
  );
  const strides = packedStrides(own).map((stride, axis) => (own[axis] === 1 ? 0 : stride));
  return gather(x, 0, target, strides);
}

function mapRows(
  x: Float64Array,
  { sources }: Tensor,
  compute: (row: Float64Array) => ArrayLike<number>,
): Float64Array {
  const columns = sources[0]!.shape.at(-1)!;
  const rows = Array.from({ length: x.length / columns }, (_, row) =>
    compute(x.subarray(row * columns, (row + 1) * columns)),
  );
  const width = rows[0]!.length;
  const out = new Float64Array(rows.length * width);
  for (const [row, values] of rows.entries()) out.set(values, row * width);
  return out;
}

function concat({ sources, params, shape }: Tensor, [a, b]: Float64Array[]): Float64Array {
  const axis = shape.length - 1 - params[0]!;
  const inner = sources.map((source) => elementCount(source.shape.slice(axis)));
  const out = new Float64Array(elementCount(shape));
  for (let outer = 0, at = 0; at < out.length; outer++)
    for (const [side, data] of [a!, b!].entries()) {
      out.set(data.subarray(outer * inner[side]!, (outer + 1) * inner[side]!), at);
      at += inner[side]!;
    }
  return out;
}

function getRows({ sources }: Tensor, [table, ids]: Float64Array[]): Float64Array {
  const [rows, width] = sources[0]!.shape.slice(-2) as [number, number];
  const perBatch = sources[1]!.shape.at(-1)!;
  const out = new Float64Array(ids!.length * width);
  for (const [at, id] of ids!.entries()) {
    const row = Math.floor(at / perBatch) * rows + id;
    out.set(table!.subarray(row * width, (row + 1) * width), at * width);
  }
  return out;
}

function setRows(_: Tensor, [target, rows, ids]: Float64Array[]): Float64Array {
  const width = rows!.length / ids!.length;
  const out = target!.slice();
  for (const [at, id] of ids!.entries()) out.set(rows!.subarray(at * width, (at + 1) * width), id * width);
  return out;
}

function softMax({ sources, params }: Tensor, [x, mask]: Float64Array[]): Float64Array {
  const { shape } = sources[0]!;
  const added = mask === undefined ? undefined : spread(mask, sources[1]!.shape, shape);
  const scaled = x!.map((value, at) => value * params[0]! + (added?.[at] ?? 0));
  return mapRows(scaled, { sources } as Tensor, (row) => {
    const largest = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
    const powers = row.map((value) => Math.exp(value - largest));
    const sum = powers.reduce((total, value) => total + value, 0);
    return powers.map((value) => value / sum);
  });
}
