/** Products, attention, positions and rows. */
import { count, type DoubleNode, dot, eachRow, type Operand, placeOf } from './node-operands.js';

type Evaluate = (node: DoubleNode) => Float64Array | undefined;

/** Matrices are shared by as many neighbours of the right side as there are more of those. */
function mulMat({ src: [a, b], ne }: DoubleNode): Float64Array {
  const out = new Float64Array(count(ne));
  const size = a!.ne[0]!;
  const [perK, perL] = [b!.ne[2]! / a!.ne[2]!, b!.ne[3]! / a!.ne[3]!];
  eachRow(ne, (j, k, l, start) => {
    const matrix = placeOf(a!, 0, 0, Math.floor(k / perK), Math.floor(l / perL));
    const right = placeOf(b!, 0, j, k, l);
    for (let i = 0; i < ne[0]!; i++) out[start + i] = dot(a!.data, matrix + i * size, b!.data, right, size);
  });
  return out;
}

function mulMatId({ src: [experts, b, ids], ne }: DoubleNode): Float64Array {
  const out = new Float64Array(count(ne));
  const size = experts!.ne[0]!;
  eachRow(ne, (used, token, _l, start) => {
    const matrix = placeOf(experts!, 0, 0, ids!.data[placeOf(ids!, used, token, 0, 0)]!, 0);
    const right = placeOf(b!, 0, used, token, 0);
    for (let i = 0; i < ne[0]!; i++)
      out[start + i] = dot(experts!.data, matrix + i * size, b!.data, right, size);
  });
  return out;
}

function getRows({ src: [table, ids], ne }: DoubleNode): Float64Array {
  const out = new Float64Array(count(ne));
  eachRow(ne, (j, k, l, start) => {
    const row = placeOf(table!, 0, ids!.data[placeOf(ids!, j, k, l, 0)]!, k, l);
    for (let i = 0; i < ne[0]!; i++) out[start + i] = table!.data[row + i]!;
  });
  return out;
}

/** Scores to weights, in place. @param sink a score that takes its share and has no value. */
function weigh(scores: Float64Array, sink: number | undefined): void {
  const most = scores.reduce((a, b) => Math.max(a, b), sink ?? Number.NEGATIVE_INFINITY);
  let sum = sink === undefined ? 0 : Math.exp(sink - most);
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.exp(scores[i]! - most);
    sum += scores[i]!;
  }
  for (let i = 0; i < scores.length; i++) scores[i]! /= sum;
}

function softMax({ src: [x, mask, sinks], ne, params }: DoubleNode): Float64Array | undefined {
  if (params.float(1) !== 0) return undefined; // slopes of ALiBi
  const out = new Float64Array(count(ne));
  const scale = params.float(0);
  eachRow(ne, (j, k, l, start) => {
    const row = out.subarray(start, start + ne[0]!);
    for (let i = 0; i < row.length; i++)
      row[i] = x!.data[start + i]! * scale + (mask === undefined ? 0 : mask.data[placeOf(mask, i, j, k, l)]!);
    weigh(row, sinks?.data[k]);
  });
  return out;
}

function flashAttention({
  src: [q, keys, values, mask, sinks],
  ne,
  params,
}: DoubleNode): Float64Array | undefined {
  const [scale, slopes, cap] = [params.float(0), params.float(1), params.float(2)];
  if (slopes !== 0) return undefined;
  const out = new Float64Array(count(ne));
  const [size, tokens, heads, sequences] = q!.ne as [number, number, number, number];
  const seen = keys!.ne[1]!;
  const shared = heads / keys!.ne[2]!;
  const perSequence = sequences / keys!.ne[3]!;
  for (let l = 0; l < sequences; l++)
    for (let head = 0; head < heads; head++)
      for (let token = 0; token < tokens; token++) {
        const [k, m] = [Math.floor(head / shared), Math.floor(l / perSequence)];
        const scores = Float64Array.from({ length: seen }, (_, s) => {
          const raw =
            scale *
            dot(q!.data, placeOf(q!, 0, token, head, l), keys!.data, placeOf(keys!, 0, s, k, m), size);
          const capped = cap === 0 ? raw : cap * Math.tanh(raw / cap);
          return capped + (mask === undefined ? 0 : mask.data[placeOf(mask, s, token, head, l)]!);
        });
        weigh(scores, sinks?.data[head]);
        const start = ((l * tokens + token) * heads + head) * ne[0]!;
        for (let s = 0; s < seen; s++) {
          const from = placeOf(values!, 0, s, k, m);
          if (scores[s] !== 0)
            for (let i = 0; i < ne[0]!; i++) out[start + i]! += scores[s]! * values!.data[from + i]!;
        }
      }
  return out;
}

/** `GGML_ROPE_TYPE_NEOX`: pairs lie half the dimensions apart. */
const HALVES = 2;

function rope({ src: [x, positions, factors], ne, params }: DoubleNode): Float64Array | undefined {
  const [dims, mode] = [params.int(1), params.int(2)];
  const [base, scale, ramp, magnitude] = [5, 6, 7, 8].map((word) => params.float(word)) as [
    number,
    number,
    number,
    number,
  ];
  if ((mode !== 0 && mode !== HALVES) || ramp !== 0) return undefined; // sections of images, YaRN
  if (dims > ne[0]!) return undefined;
  const out = Float64Array.from(x!.data);
  eachRow(ne, (_head, token, _l, start) => {
    for (let pair = 0; pair < dims / 2; pair++) {
      const turn = base ** ((-2 * pair) / dims) / (factors?.data[pair] ?? 1);
      const angle = positions!.data[token]! * turn * scale;
      const [cos, sin] = [Math.cos(angle) * magnitude, Math.sin(angle) * magnitude];
      const first = start + (mode === HALVES ? pair : 2 * pair);
      const second = first + (mode === HALVES ? dims / 2 : 1);
      const [a, b] = [x!.data[first]!, x!.data[second]!];
      out[first] = a * cos - b * sin;
      out[second] = a * sin + b * cos;
    }
  });
  return out;
}

function concat({ src: [a, b], ne, params }: DoubleNode): Float64Array {
  const out = new Float64Array(count(ne));
  const axis = params.int(0);
  const limit = a!.ne[axis]!;
  eachRow(ne, (j, k, l, start) => {
    for (let i = 0; i < ne[0]!; i++) {
      const at: [number, number, number, number] = [i, j, k, l];
      const from: Operand = at[axis]! < limit ? a! : b!;
      if (from === b) at[axis] = at[axis]! - limit;
      out[start + i] = from.data[placeOf(from, ...at)]!;
    }
  });
  return out;
}

/** By ggml's name of the op. */
export const PRODUCT_EVALUATORS: Readonly<Record<string, Evaluate>> = {
  MUL_MAT: mulMat,
  MUL_MAT_ID: mulMatId,
  GET_ROWS: getRows,
  SOFT_MAX: softMax,
  FLASH_ATTN_EXT: flashAttention,
  ROPE: rope,
  CONCAT: concat,
};
