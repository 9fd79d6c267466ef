/**
 * ggml's flash attention on the CPU over an F16 cache, as an explanation. It is one node, for which no choice
 * of a policy stands: keys, queries and values are rounded to F16, and so is the running sum of weighted
 * values after each key (`ggml_compute_forward_flash_attn_ext` in ggml's `ops.cpp`).
 */
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import type { Family } from '../../families/family.js';
import { roundTo } from '../../weights/round.js';

/** Positions that are recomputed: enough to tell, and quick at any width. */
const MAX_ROWS = 64;

/** Rows of a value from position 0 on, F32 [rows, heads, width]. */
export interface HeadRows {
  data: Float32Array;
  rows: number;
  heads: number;
  width: number;
}

/**
 * Energy NMSE of attention's output in a block against the exact one of the dump's own queries, keys and
 * values, and against flash attention of them: over the first `rows` positions of the first sequence
 * (`isAll`: there are no others). undefined
 * where the dump lacks one of them.
 */
export async function flashErrors(
  dump: DumpView,
  block: number,
  names: NonNullable<Family['attention']>,
): Promise<{ exact: number; flash: number; rows: number; isAll: boolean } | undefined> {
  const read = (suffix: string) => headRows(dump, `layers.${block}${suffix}`);
  const [queries, keys, values] = [
    await read(names.queries),
    await read(names.keys),
    await read(names.values),
  ];
  const made = `layers.${block}${names.output}`;
  const output = dump.taps.some(({ name }) => name === made)
    ? await dump.read(made, { sequence: 0 })
    : undefined;
  if (queries === undefined || keys === undefined || values === undefined || output === undefined)
    return undefined;
  const given = toFloat32(output.data, output.dtype);
  const rows = Math.min(MAX_ROWS, queries.rows, keys.rows, values.rows);
  const size = queries.heads * queries.width;
  if (output.shape[0]! < rows || given.length !== output.shape[0]! * size) return undefined;
  const errorOf = (computed: Float32Array): number => {
    let [error, energy] = [0, 0];
    for (const [k, value] of computed.entries()) {
      error += (value - given[k]!) ** 2;
      energy += value ** 2;
    }
    return error === 0 ? 0 : error / energy;
  };
  const halves = [queries, keys, values].map(({ data, ...sizes }) => ({ data: inF16(data), ...sizes }));
  const [q, k, v] = halves as [HeadRows, HeadRows, HeadRows];
  return {
    exact: errorOf(attention(queries, keys, values, rows, () => {})),
    flash: errorOf(attention(q, k, v, rows, (sum) => roundTo('F16', sum))),
    rows,
    isAll: dump.manifest.sequences.length === 1 && rows === queries.rows,
  };
}

/**
 * A value of attention in the first sequence; undefined where the dump lacks it, or some position before its
 * last.
 */
export async function headRows(dump: DumpView, name: string): Promise<HeadRows | undefined> {
  if (!dump.taps.some((tap) => tap.name === name)) return undefined;
  const { data, dtype, shape, position } = await dump.read(name, { sequence: 0 });
  const [rows, heads, width] = shape;
  // Causal attention needs all positions from the first on.
  if (shape.length !== 3 || Array.from(position).some((at, row) => at !== row)) return undefined;
  return { data: toFloat32(data, dtype), rows: rows!, heads: heads!, width: width! };
}

function inF16(values: Float32Array): Float32Array {
  const rounded = values.slice();
  roundTo('F16', rounded);
  return rounded;
}

/**
 * Causal attention of the first `rows` positions, key by key with a running soft-max; `round` is applied to
 * the running sum. F32 [rows, heads, width].
 */
function attention(
  q: HeadRows,
  k: HeadRows,
  v: HeadRows,
  rows: number,
  round: (sum: Float32Array) => void,
): Float32Array {
  const { heads, width } = q;
  const out = new Float32Array(rows * heads * width);
  const scale = 1 / Math.sqrt(width);
  for (let row = 0; row < rows; row++)
    for (let head = 0; head < heads; head++) {
      const own = Math.floor((head * k.heads) / heads);
      const query = q.data.subarray((row * heads + head) * width, (row * heads + head + 1) * width);
      const sum = new Float32Array(width);
      let [largest, weights] = [Number.NEGATIVE_INFINITY, 0];
      for (let at = 0; at <= row; at++) {
        const first = (at * k.heads + own) * width;
        let score = 0;
        for (let c = 0; c < width; c++) score += query[c]! * k.data[first + c]!;
        score *= scale;
        // A larger score than all before it makes those smaller.
        const shrink = score > largest ? Math.exp(largest - score) : 1;
        largest = Math.max(largest, score);
        const weight = Math.exp(score - largest);
        if (shrink !== 1) {
          for (let c = 0; c < width; c++) sum[c]! *= shrink;
          round(sum);
        }
        for (let c = 0; c < width; c++) sum[c]! += weight * v.data[first + c]!;
        round(sum);
        weights = weights * shrink + weight;
      }
      for (let c = 0; c < width; c++) out[(row * heads + head) * width + c] = sum[c]! / weights;
    }
  return out;
}
