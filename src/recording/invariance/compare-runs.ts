/** Two recordings of the same tokens in other calls, value by value and position by position. */

import { dtypeKind } from '../../dump/dtypes.js';
import { toFloat64 } from '../../dump/float.js';
import { type DumpGraph, readGraph } from '../../dump/graph-file.js';
import { Dump } from '../../dump/reader.js';
import { unmet } from '../../errors.js';
import { nmse } from '../replay/widen.js';

/** A value at one position that is not the other run's. */
export interface PartingValue {
  tap: string;
  position: number;
  /** Forward step of the tested run. */
  step: number;
  nmse: number;
}

/** Where two runs part. */
export interface Parting {
  /** At the first position that parts, the first value in the order of the graph. */
  first: PartingValue;
  /**
   * The first that parts by more than rounding explains: {@link MUCH}, and {@link JUMP} times the value
   * before.
   */
  beyondRounding: PartingValue | null;
}

/** NMSE that no other order of sums explains, after some blocks of rounding to F16 or to blocks of 8 bits. */
const MUCH = 1e-6;
/** An error that is made here, not passed on: so many times the largest of the values before. */
const JUMP = 100;

/** Logits of a recording by position. @throws `BAD_DUMP` for one without. */
export async function logitsOf(folder: string): Promise<Float32Array> {
  await using dump = await Dump.open(folder);
  const [tap] = dump.manifest.roles?.logits ?? [];
  if (tap === undefined)
    throw unmet('BAD_DUMP', 'invariance', 'logits (result_output)', 'none', { where: folder });
  const { values, columns, rows } = await byPosition(dump, tap);
  const out = new Float32Array(rows.size * columns);
  for (const [position, { at }] of rows)
    out.set(values.subarray(at * columns, (at + 1) * columns), position * columns);
  return out;
}

/** Compares every value that has a row a token. */
export async function firstParting(base: Dump, folder: string): Promise<Parting | null> {
  await using tested = await Dump.open(folder);
  const hidden = scoresBeforeMask(await readGraph(base.dir, new Set(base.taps.map(({ name }) => name))));
  const known = new Map(tested.taps.map((tap) => [tap.name, tap]));
  let first: PartingValue | null = null;
  const positions = new Map<number, PartingValue[]>();
  for (const { name, scope, dtype } of base.taps) {
    const other = known.get(name);
    if (hidden.has(name)) continue;
    if (
      scope !== 'token' ||
      other?.scope !== 'token' ||
      other.dtype !== dtype ||
      dtypeKind(dtype) !== 'float'
    )
      continue;
    const [a, b] = [await byPosition(base, name), await byPosition(tested, name)];
    if (a.columns !== b.columns) continue;
    for (const [position, { at }] of a.rows) {
      const row = b.rows.get(position);
      if (row === undefined) continue;
      const error = nmse(
        a.values.subarray(at * a.columns, (at + 1) * a.columns),
        b.values.subarray(row.at * b.columns, (row.at + 1) * b.columns),
      );
      const list = positions.get(position) ?? [];
      positions.set(position, list);
      list.push({ tap: name, position, step: row.step, nmse: error });
    }
  }
  let beyondRounding: PartingValue | null = null;
  for (const position of [...positions.keys()].sort((x, y) => x - y)) {
    let before = 0;
    for (const value of positions.get(position)!) {
      if (value.nmse > 0) first ??= value;
      if (beyondRounding === null && value.nmse > MUCH && value.nmse > JUMP * before) beyondRounding = value;
      before = Math.max(before, value.nmse);
    }
    if (beyondRounding !== null) break;
  }
  return first === null ? null : { first, beyondRounding };
}

/**
 * Taps of attention scores before their mask: what stands there for keys that a token may not see depends on
 * what has run before, and is never used.
 */
function scoresBeforeMask({ tensors }: DumpGraph): Set<string> {
  const names = new Set<string>();
  for (const { op, src } of tensors) {
    if (op !== 'SOFT_MAX' || src[1] == null) continue;
    for (let id = src[0]; id != null; id = tensors[id]!.src[0]) {
      const node = tensors[id]!;
      if (node.tap !== undefined) names.add(node.tap);
      if (node.op === 'MUL_MAT' || node.op === 'NONE') break;
    }
  }
  return names;
}

interface Rows {
  values: Float64Array;
  columns: number;
  rows: Map<number, { at: number; step: number }>;
}

async function byPosition(dump: Dump, tap: string): Promise<Rows> {
  const { data, dtype } = await dump.read(tap);
  const { position, step } = await dump.rows(tap);
  const values = toFloat64(data, dtype);
  const rows = new Map<number, { at: number; step: number }>();
  for (const [at, each] of position.entries()) rows.set(each, { at, step: step[at]! });
  return { values, columns: values.length / position.length, rows };
}
