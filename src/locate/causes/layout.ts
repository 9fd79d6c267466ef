/** How a value's elements lie along its axes, and the orders in which another program may hold them. */
import { axisParts } from './words.js';

/** One axis, or one factor of an axis that joins several: `nq*d` is heads by channels. */
export interface Factor {
  name: string;
  size: number;
}

/** Elements of a value: floats, or indices. */
export type Values = Float32Array | Int32Array;

/**
 * The factors of a value's axes, slowest first. An axis that joins others (`nq*d`, `2F`, see {@link
 * axisParts}) gives several.
 * @param size of a named axis; undefined for one that is not known.
 */
export function factorsOf(
  axes: readonly string[],
  size: (axis: string) => number | undefined,
  shape: readonly number[],
): Factor[] {
  return axes.flatMap((axis, index) => {
    const whole = shape[index]!;
    const parts = axisParts(axis) ?? split(axis);
    const known = parts.map((name) => ({
      name,
      size: /^\d+$/.test(name) ? Number(name) : (size(name) ?? 0),
    }));
    const product = known.reduce((all, part) => all * part.size, 1);
    if (parts.length > 1 && product === whole) return known;
    // One part of unknown size is what the others leave.
    const rest = known.filter((part) => part.size > 0).reduce((all, part) => all * part.size, 1);
    if (known.filter((part) => part.size === 0).length === 1 && whole % rest === 0 && parts.length > 1)
      return known.map((part) => (part.size > 0 ? part : { ...part, size: whole / rest }));
    return [{ name: axis, size: whole }];
  });
}

function split(axis: string): string[] {
  const number = /^(\d+)([A-Za-z]\w*)$/.exec(axis);
  if (number !== null) return [number[1]!, number[2]!];
  return axis.includes('/') || axis.includes('+') ? [axis] : axis.split('*');
}

/** Entries along one factor in another order: entry i of the result is entry `order[i]`. */
export function reordered<T extends Values>(
  values: T,
  factors: readonly Factor[],
  at: number,
  order: readonly number[],
): T {
  const inner = product(factors.slice(at + 1));
  const size = factors[at]!.size;
  const out = values.slice() as T;
  for (let outer = 0; outer < values.length / (size * inner); outer++)
    for (const [entry, from] of order.entries()) {
      const start = (outer * size + from) * inner;
      out.set(values.subarray(start, start + inner) as never, (outer * size + entry) * inner);
    }
  return out;
}

/** Two neighbouring factors of sizes a and b exchanged: what lay [a, b] lies [b, a]. */
export function exchanged<T extends Values>(values: T, a: number, b: number, inner: number): T {
  const out = values.slice() as T;
  const block = a * b * inner;
  for (let start = 0; start < values.length; start += block)
    for (let i = 0; i < a; i++)
      for (let j = 0; j < b; j++) {
        const from = start + (i * b + j) * inner;
        out.set(values.subarray(from, from + inner) as never, start + (j * a + i) * inner);
      }
  return out;
}

/** The order that undoes another. */
export function inverse(order: readonly number[]): number[] {
  const back = new Array<number>(order.length);
  for (const [entry, from] of order.entries()) back[from] = entry;
  return back;
}

/** Numbers from 0, moved on by `by` and around. */
export function rolledOrder(size: number, by: number): number[] {
  return Array.from({ length: size }, (_, entry) => (((entry + by) % size) + size) % size);
}

/** Product of sizes. */
export function product(factors: readonly { size: number }[]): number {
  return factors.reduce((all, { size }) => all * size, 1);
}
