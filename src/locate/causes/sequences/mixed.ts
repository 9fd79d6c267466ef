/**
 * How the sequences of a batch get into each other: a value that lies in memory in one order of its axes is
 * read in another, as where ggml's convolutions leave [channels, sequences, tokens].
 */

/** Sizes of the axes of one value of all sequences: `channels` of each of `heads`. */
export interface BatchSizes {
  sequences: number;
  tokens: number;
  heads: number;
  channels: number;
}

/** Element `k` of the mixed value is element `from(k)` of the right one, both [s, t, heads, channels]. */
export interface Mixing {
  says: string;
  from: (element: number) => number;
  /** Channels of all heads are one axis, or heads stay where they are. */
  isSimple: boolean;
  /** Elements that stand for all, and where each is from. */
  sample: readonly (readonly [element: number, from: number])[];
}

type Axis = 'h' | 'c' | 's' | 't';

const WORDS: Readonly<Record<Axis, string>> = { h: 'heads', c: 'channels', s: 'sequences', t: 'tokens' };

/**
 * All ways in which one order of the axes can be taken for another so that sequences mix, simple ones first:
 * channels of all heads as one axis, then heads by themselves.
 */
export function mixings(sizes: BatchSizes): Mixing[] {
  const { sequences, tokens, heads, channels } = sizes;
  const whole = { s: sequences, t: tokens, h: 1, c: heads * channels };
  const found = [...ofAxes(['c', 's', 't'], whole, false)];
  if (heads > 1 && channels > 1)
    found.push(...ofAxes(['h', 'c', 's', 't'], { ...whole, h: heads, c: channels }, true));
  // Several orders of axes may move elements alike.
  const seen = new Set<string>();
  return found.filter(({ sample }) => {
    const key = sample.map(([, from]) => from).join();
    return !seen.has(key) && seen.add(key);
  });
}

function* ofAxes(axes: readonly Axis[], size: Record<Axis, number>, hasHeads: boolean): Generator<Mixing> {
  const orders = permutations(axes);
  for (const written of orders)
    for (const read of orders) {
      if (written === read) continue;
      const from = source(written, read, size);
      const each = size.t * size.h * size.c;
      const sample = [...sampled(each * size.s)].map((element) => [element, from(element)] as const);
      if (!sample.some(([to, source]) => Math.floor(to / each) !== Math.floor(source / each))) continue;
      const isEach = hasHeads && written[0] === 'h' && read[0] === 'h';
      const list = (order: readonly Axis[]) =>
        `[${(isEach ? order.slice(1) : order).map((axis) => WORDS[axis]).join(', ')}]`;
      yield {
        says: `${isEach ? 'of each head ' : ''}what lies ${list(written)} in memory is read as ${list(read)}`,
        from,
        isSimple: isEach || !hasHeads,
        sample,
      };
    }
}

function source(written: readonly Axis[], read: readonly Axis[], size: Record<Axis, number>): Mixing['from'] {
  const at: Record<Axis, number> = { h: 0, c: 0, s: 0, t: 0 };
  const own: readonly Axis[] = ['s', 't', 'h', 'c'];
  return (element) => {
    split(element, own, size, at);
    split(joined(at, read, size), written, size, at);
    return joined(at, own, size);
  };
}

/** Places along axes, slowest first, of an element; axes that are not named keep theirs. */
function split(
  element: number,
  order: readonly Axis[],
  size: Record<Axis, number>,
  at: Record<Axis, number>,
): void {
  let left = element;
  for (let k = order.length - 1; k >= 0; k--) {
    const axis = order[k]!;
    at[axis] = left % size[axis];
    left = Math.floor(left / size[axis]);
  }
}

function joined(at: Record<Axis, number>, order: readonly Axis[], size: Record<Axis, number>): number {
  return order.reduce((sum, axis) => sum * size[axis] + at[axis], 0);
}

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]];
  return list.flatMap((first, k) =>
    permutations([...list.slice(0, k), ...list.slice(k + 1)]).map((rest) => [first, ...rest]),
  );
}

const SAMPLED = 509;

/** Elements that stand for all, spread by a step that shares no factor with the usual sizes. */
function* sampled(count: number): Generator<number> {
  const step = Math.max(1, Math.floor(count / SAMPLED)) | 1;
  for (let element = 0; element < count; element += step) yield element;
}

/** A value of all sequences, mixed. */
export function mixedValues({ from }: Mixing, right: Float32Array): Float32Array {
  return right.map((_, k) => right[from(k)]!);
}

/** Energy NMSE of `tested` against `right` mixed, with `added` where each element then stands. */
export function mixedError(
  mixing: Mixing,
  right: Float32Array,
  added: Float32Array | undefined,
  tested: Float32Array,
  most: number,
): number {
  const over = (elements: Iterable<readonly [number, number]>): number => {
    let [error, size] = [0, 0];
    for (const [k, from] of elements) {
      const value = right[from]! + (added?.[k] ?? 0);
      error += (value - tested[k]!) ** 2;
      size += value ** 2;
    }
    return error === 0 ? 0 : error / size;
  };
  // A sample tells what is far off.
  const some = over(mixing.sample);
  return some > 10 * most ? some : over(all(mixing, right.length));
}

function* all({ from }: Mixing, count: number): Generator<readonly [number, number]> {
  for (let element = 0; element < count; element++) yield [element, from(element)];
}
