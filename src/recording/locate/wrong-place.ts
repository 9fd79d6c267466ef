/** Where a value is wrong, if only in few places. */
import type { Four } from '../record/recorded-graph.js';

/** Part of the error that the few places hold. */
const MOST = 0.999;
/** ggml's axes: the fastest is a row's. */
const AXES = ['channel', 'row'];
/** Places are told by number up to here. */
const FEW = 4;

/**
 * @param tokenAxis ggml's axis of which each entry is a token.
 * @returns e.g. `only channel 17 of 256`, or undefined where it is wrong all over.
 */
export function placeOf(
  reference: ArrayLike<number>,
  values: ArrayLike<number>,
  ne: Four,
  limit: number,
  tokenAxis: number | undefined,
): string | undefined {
  const sums = ne.map((size) => new Float64Array(size));
  const energy = ne.map((size) => new Float64Array(size));
  const nonFinite: number[] = [];
  let total = 0;
  for (let k = 0; k < reference.length; k++) {
    const at = [
      k % ne[0],
      Math.floor(k / ne[0]) % ne[1],
      Math.floor(k / (ne[0] * ne[1])) % ne[2],
      Math.floor(k / (ne[0] * ne[1] * ne[2])),
    ];
    const [a, b] = [reference[k]!, values[k]!];
    if (Object.is(a, b)) {
      for (const [axis, index] of at.entries()) if (Number.isFinite(a)) energy[axis]![index]! += a * a;
      continue;
    }
    const error = (a - b) ** 2;
    if (!Number.isFinite(error)) {
      nonFinite.push(k);
      continue;
    }
    total += error;
    for (const [axis, index] of at.entries()) {
      sums[axis]![index]! += error;
      energy[axis]![index]! += a * a;
    }
  }
  if (nonFinite.length > 0) {
    const [k] = nonFinite as [number];
    const rows = new Set(nonFinite.map((each) => Math.floor(each / ne[0])));
    return `${nonFinite.length} of ${reference.length} not finite, first element ${k % ne[0]} of row ${Math.floor(k / ne[0])}${rows.size > 1 ? `, in ${rows.size} rows` : ''}`;
  }
  const words = [0, 1, 2, 3].flatMap((axis) => {
    const size = ne[axis]!;
    const own = sums[axis]!;
    if (size < 2 * FEW) return [];
    const order = [...own.keys()].sort((a, b) => own[b]! - own[a]!);
    let held = 0;
    const few = order.slice(0, FEW).filter((index) => {
      if (held >= MOST * total) return false;
      held += own[index]!;
      return true;
    });
    const rest = order
      .slice(few.length)
      .some((index) => own[index]! > limit * energy[axis]![index]! && own[index]! > 1e-6 * own[order[0]!]!);
    if (held < MOST * total || rest) return [];
    return [
      `${axis === tokenAxis ? 'token' : (AXES[axis] ?? `row of axis ${axis}`)} ${few.sort((a, b) => a - b).join(', ')} of ${size}`,
    ];
  });
  return words.length === 0 ? undefined : `only ${words.join(', ')}`;
}
