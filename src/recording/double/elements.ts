/** Ops on single elements and on rows. */
import { ELEMENT_OPS } from '../../graph/float64-ops.js';
import { count, type DoubleNode, eachRow, placeOf } from './node-operands.js';

type Evaluate = (node: DoubleNode) => Float64Array | undefined;

const gelu = (x: number) => ELEMENT_OPS.gelu!(x, []);
const geluErf = (x: number) => ELEMENT_OPS.geluErf!(x, []);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const silu = (x: number) => x / (1 + Math.exp(-x));
const geluQuick = (x: number) => x * sigmoid(1.702 * x);

/** By `ggml_unary_op`. */
const UNARY: Readonly<Record<number, (x: number) => number>> = {
  0: Math.abs,
  1: Math.sign,
  2: (x) => -x,
  3: (x) => (x > 0 ? 1 : 0),
  4: Math.tanh,
  5: (x) => (x > 0 ? x : Math.expm1(x)),
  6: (x) => Math.max(0, x),
  7: sigmoid,
  8: gelu,
  9: geluQuick,
  10: silu,
  13: Math.exp,
  14: Math.expm1,
  15: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
  16: geluErf,
};

/** By `ggml_glu_op`: what is done to one half before the other multiplies it. */
const GLU: Readonly<Record<number, (x: number) => number>> = {
  0: (x) => Math.max(0, x),
  1: gelu,
  2: silu,
  4: geluErf,
  5: geluQuick,
};

function each(node: DoubleNode, value: (x: number) => number): Float64Array {
  return Float64Array.from(node.src[0]!.data, value);
}

function pair(combine: (a: number, b: number) => number): Evaluate {
  return ({ src: [a, b], ne }) => {
    const out = new Float64Array(count(ne));
    eachRow(ne, (j, k, l, start) => {
      for (let i = 0; i < ne[0]!; i++)
        out[start + i] = combine(a!.data[start + i]!, b!.data[placeOf(b!, i, j, k, l)]!);
    });
    return out;
  };
}

/** Each row by itself: its elements to a factor and what is taken off before. */
function normed(factorOf: (row: Float64Array, eps: number) => [shift: number, factor: number]): Evaluate {
  return ({ src: [x], ne, params }) => {
    const out = Float64Array.from(x!.data);
    eachRow(ne, (_j, _k, _l, start) => {
      const row = out.subarray(start, start + ne[0]!);
      const [shift, factor] = factorOf(row, params.float(0));
      for (let i = 0; i < row.length; i++) row[i] = (row[i]! - shift) * factor;
    });
    return out;
  };
}

function mean(row: Float64Array, power: 1 | 2 = 1): number {
  let sum = 0;
  for (const x of row) sum += x ** power;
  return sum / row.length;
}

function glu({ src: [a, b], ne, params }: DoubleNode): Float64Array | undefined {
  const act = GLU[params.int(0)];
  if (act === undefined) return undefined;
  const width = ne[0]!;
  const out = new Float64Array(count(ne));
  const isSwapped = params.int(1) !== 0;
  const [first, second] = isSwapped ? [width, 0] : [0, width];
  eachRow(ne, (j, k, l, start) => {
    for (let i = 0; i < width; i++) {
      const x = b === undefined ? a!.data[placeOf(a!, first + i, j, k, l)]! : a!.data[start + i]!;
      const gate = b === undefined ? a!.data[placeOf(a!, second + i, j, k, l)]! : b.data[start + i]!;
      out[start + i] = act(x) * gate;
    }
  });
  return out;
}

function sumRows({ src: [x] }: DoubleNode): Float64Array {
  const width = x!.ne[0]!;
  const out = new Float64Array(x!.data.length / width);
  for (let at = 0; at < x!.data.length; at++) out[Math.floor(at / width)]! += x!.data[at]!;
  return out;
}

const same: Evaluate = ({ src: [x] }) => Float64Array.from(x!.data);

/** By ggml's name of the op. */
export const ELEMENT_EVALUATORS: Readonly<Record<string, Evaluate>> = {
  ADD: pair((a, b) => a + b),
  SUB: pair((a, b) => a - b),
  MUL: pair((a, b) => a * b),
  DIV: pair((a, b) => a / b),
  SCALE: (node) => each(node, (x) => x * node.params.float(0) + node.params.float(1)),
  CLAMP: (node) => each(node, (x) => Math.min(Math.max(x, node.params.float(0)), node.params.float(1))),
  SQR: (node) => each(node, (x) => x * x),
  SQRT: (node) => each(node, Math.sqrt),
  UNARY: (node) => {
    const act = UNARY[node.params.int(0)];
    return act && each(node, act);
  },
  GLU: glu,
  RMS_NORM: normed((row, eps) => [0, 1 / Math.sqrt(mean(row, 2) + eps)]),
  NORM: normed((row, eps) => {
    const shift = mean(row);
    const variance = row.reduce((sum, x) => sum + (x - shift) ** 2, 0) / row.length;
    return [shift, 1 / Math.sqrt(variance + eps)];
  }),
  L2_NORM: normed((row, eps) => [0, 1 / Math.max(Math.sqrt(mean(row, 2) * row.length), eps)]),
  SUM_ROWS: sumRows,
  MEAN: (node) => sumRows(node).map((sum) => sum / node.src[0]!.ne[0]!),
  CONT: same,
  CPY: same,
  DUP: same,
  SET_ROWS: same, // of the rows that it writes
};
