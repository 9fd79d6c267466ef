/** What takes a node's error away: tried one after the other, each by computing. */
import { formatFactor } from '../../text-table.js';
import { roundTo } from '../../weights/round.js';
import type { Four } from '../record/recorded-graph.js';
import { nmse } from '../replay/widen.js';

/** A cause in words, and the error that is left with it; null where that cannot be computed. */
export interface Cause {
  words: string;
  left: number | null;
}

interface Case {
  /** What the node gives. */
  reference: ArrayLike<number>;
  /** What was recorded. */
  values: ArrayLike<number>;
  ne: Four;
  limit: number;
  differences: readonly string[];
  asRecorded: () => Promise<number>;
}

/** A cause leaves no more than the limit, or so much less of the error. */
const MUCH_LESS = 100;

/** The first that is one. */
export async function findCause(wrong: Case): Promise<Cause | undefined> {
  const { reference, values, differences, limit } = wrong;
  const before = nmse(reference, values);
  const weights = differences.filter((each) => each.startsWith('weights in '));
  if (weights.length > 0) return { words: weights.join('; '), left: null };
  const explains = (left: number): boolean =>
    left <= limit || (Number.isFinite(before) && left < before / MUCH_LESS);
  if (differences.length > 0) {
    const left = await wrong.asRecorded();
    if (explains(left)) return { words: differences.join('; '), left };
  }
  for (const [words, rounded] of roundings(wrong)) {
    const left = nmse(rounded, values);
    if (explains(left)) return { words, left };
  }
  const factor = scaleOf(reference, values);
  if (factor !== undefined) {
    const left = nmse(
      Float64Array.from({ length: reference.length }, (_, k) => factor * reference[k]!),
      values,
    );
    if (explains(left)) return { words: `${formatFactor(factor, 4)} times what it should be`, left };
  }
  for (const [words, moved] of shifts(wrong)) {
    const left = nmse(moved, values);
    if (explains(left)) return { words, left };
  }
  return undefined;
}

function roundings({ reference, values }: Case): [string, Float32Array][] {
  return (['F16', 'BF16'] as const).flatMap((dtype): [string, Float32Array][] => {
    const own = Float32Array.from(values);
    roundTo(dtype, own);
    if (own.some((value, k) => value !== values[k] && !Number.isNaN(value))) return [];
    const rounded = Float32Array.from(reference);
    roundTo(dtype, rounded);
    return [[`rounded through ${dtype}`, rounded]];
  });
}

/** The factor by which values are off, where there is one. */
function scaleOf(reference: ArrayLike<number>, values: ArrayLike<number>): number | undefined {
  let [product, energy] = [0, 0];
  for (let k = 0; k < reference.length; k++) {
    product += reference[k]! * values[k]!;
    energy += reference[k]! ** 2;
  }
  const factor = product / energy;
  return Number.isFinite(factor) && factor !== 0 ? factor : undefined;
}

/** Rows one place off along an axis; the row at the border stays as it was recorded. */
function shifts({ reference, values, ne }: Case): [string, Float64Array][] {
  const found: [string, Float64Array][] = [];
  const strides = [1, ne[0], ne[0] * ne[1], ne[0] * ne[1] * ne[2]];
  for (const axis of [1, 2, 3])
    for (const by of [1, -1]) {
      if (ne[axis]! < 3) continue;
      const moved = Float64Array.from({ length: reference.length }, (_, k) => {
        const at = Math.floor(k / strides[axis]!) % ne[axis]!;
        const from = at - by;
        return from < 0 || from >= ne[axis]! ? values[k]! : reference[k - by * strides[axis]!]!;
      });
      found.push([`the row ${by === 1 ? 'before' : 'after'} in its place (ne${axis})`, moved]);
    }
  return found;
}
