import { badArgument, unmet } from '../errors.js';

/**
 * Sizes in the reference's axis order: slowest axis first, as PyTorch prints them; 1 to 4 axes. ggml stores
 * the reverse ({@link toNe}).
 */
export type Shape = readonly number[];

/**
 * ggml's four sizes, fastest axis first, padded with 1. The only place where the axis order is turned round.
 */
export function toNe(shape: Shape): number[] {
  const ne = [...shape].reverse();
  while (ne.length < 4) ne.push(1);
  return ne;
}

/** Number of elements. */
export function elementCount(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** True if both have the same sizes after leading 1s are dropped: what ggml calls the same shape. */
export function sameShape(a: Shape, b: Shape): boolean {
  const aNe = toNe(a);
  return toNe(b).every((size, axis) => size === aNe[axis]);
}

/** True if `b` spreads over `a`: aligned at the last axis, each size of `b` equals that of `a` or is 1. */
export function broadcasts(b: Shape, a: Shape): boolean {
  const aNe = toNe(a);
  return toNe(b).every((size, axis) => size === 1 || size === aNe[axis]);
}

/** `[7, 4096]`, for messages. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Throws `SHAPE_MISMATCH` unless `shape` has 1 to 4 positive integer sizes whose product ggml can index. */
export function checkShape(op: string, shape: Shape, name: string): void {
  const valid =
    shape.length >= 1 && shape.length <= 4 && shape.every((size) => Number.isSafeInteger(size) && size > 0);
  if (!valid || !Number.isSafeInteger(elementCount(shape)))
    throw unmet('SHAPE_MISMATCH', op, '1 to 4 positive sizes', formatShape(shape), {
      where: name,
      tensor: name,
      shapes: [shape],
    });
}

/**
 * Resolves a possibly negative axis (−1 is the last one) of a tensor with `rank` axes; throws `BAD_ARGUMENT`
 * outside of it.
 */
export function resolveAxis(op: string, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(resolved) || resolved < 0 || resolved >= rank)
    throw badArgument(op, `an axis of a tensor with ${rank} axes`, axis);
  return resolved;
}
