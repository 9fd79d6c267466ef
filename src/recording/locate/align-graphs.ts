/**
 * Which node of one graph is which of another: by name and order, so that one more or less moves no other.
 */
import type { GraphTensor } from '../../dump/graph-file.js';

/** Beyond so many pairs of nodes that differ, only names that occur once are paired. */
const MAX_TABLE = 4_000_000;

/**
 * Pairs nodes of two graphs, in order: first by op and name, then what lies between pairs by op and weight.
 * @returns for each place in `tested` the place in `reference`, or undefined.
 */
export function alignNodes(
  tested: readonly GraphTensor[],
  reference: readonly GraphTensor[],
  nameOfWeight: (side: 'tested' | 'reference', id: number) => string | undefined,
): (number | undefined)[] {
  const pairs = aligned(tested.map(keyOf), reference.map(keyOf));
  const weights = (side: 'tested' | 'reference', { src }: GraphTensor) =>
    src.map((id) => (id === null ? undefined : nameOfWeight(side, id))).filter((name) => name !== undefined);
  let [begin, other] = [0, 0];
  for (let k = 0; k <= tested.length; k++) {
    const at = k === tested.length ? reference.length : pairs[k];
    if (at === undefined) continue;
    if (k > begin && at > other) {
      const gap = aligned(
        tested.slice(begin, k).map((node) => [node.op, ...weights('tested', node)].join(' ')),
        reference.slice(other, at).map((node) => [node.op, ...weights('reference', node)].join(' ')),
      );
      for (const [i, j] of gap.entries()) if (j !== undefined) pairs[begin + i] = other + j;
    }
    [begin, other] = [k + 1, at + 1];
  }
  return pairs;
}

/** Places in `b` of the keys of `a`, in order. */
function aligned(a: readonly string[], b: readonly string[]): (number | undefined)[] {
  const pairs = new Array<number | undefined>(a.length).fill(undefined);
  let first = 0;
  while (first < a.length && first < b.length && a[first] === b[first]) {
    pairs[first] = first;
    first++;
  }
  let [endA, endB] = [a.length, b.length];
  while (endA > first && endB > first && a[endA - 1] === b[endB - 1]) pairs[--endA] = --endB;
  const [restA, restB] = [a.slice(first, endA), b.slice(first, endB)];
  const found =
    restA.length * restB.length <= MAX_TABLE ? longestCommon(restA, restB) : uniqueNames(restA, restB);
  for (const [i, j] of found) pairs[first + i] = first + j;
  return pairs;
}

/** ggml numbers nodes that nobody named; one node more would rename all that follow. */
function keyOf({ op, name }: GraphTensor): string {
  return `${op} ${name.replaceAll(/\b(node|leaf)_\d+/g, '$1')}`;
}

/** Pairs of a longest common subsequence. */
function longestCommon(a: readonly string[], b: readonly string[]): [number, number][] {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; )
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i++;
    else j++;
  return pairs;
}

function uniqueNames(a: readonly string[], b: readonly string[]): [number, number][] {
  const once = (keys: readonly string[]): Map<string, number> => {
    const places = new Map<string, number>();
    const twice = new Set<string>();
    for (const [k, key] of keys.entries()) places.has(key) ? twice.add(key) : places.set(key, k);
    for (const key of twice) places.delete(key);
    return places;
  };
  const places = once(b);
  return [...once(a)].flatMap(([key, i]): [number, number][] => {
    const j = places.get(key);
    return j === undefined ? [] : [[i, j]];
  });
}
