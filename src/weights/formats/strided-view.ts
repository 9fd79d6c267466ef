/**
 * Views of a storage, as PyTorch has them: any strides from 0 on, so that elements may lie apart or repeat.
 */

/** Runs of elements that lie side by side, at most; each is read on its own. */
export const MAX_RUNS = 1 << 16;
/** Elements of a view that has more of them than its storage, at most. */
export const MAX_REPEATED = 1 << 26;

/** Sizes and strides of axes, slowest first as the program has them, and the first element. */
export interface StridedTensor {
  shape: readonly number[];
  strides: readonly number[];
  offset: number;
}

/** Where the elements of a view lie in its storage. */
export interface View {
  elements: number;
  /** One more than the last element's place; 0 without elements. */
  end: number;
  /**
   * Elements in order, as far as they lie side by side; undefined where there are more than {@link MAX_RUNS}.
   */
  runs: readonly { first: number; count: number }[] | undefined;
  /** Set where the one run has the axes in another order, slowest first. */
  storedAxes?: readonly number[];
}

/** Plans how a view is read. */
export function viewOf({ shape, strides, offset }: StridedTensor): View {
  const elements = shape.reduce((all, size) => all * size, 1);
  if (elements === 0) return { elements, end: 0, runs: [{ first: offset, count: 0 }] };
  const end = shape.reduce((last, size, axis) => last + (size - 1) * strides[axis]!, offset) + 1;
  const storedAxes = axesByStride(shape, strides);
  if (storedAxes !== undefined) {
    const isPlain = storedAxes.every((axis, place) => axis === place);
    return { elements, end, runs: [{ first: offset, count: elements }], ...(isPlain ? {} : { storedAxes }) };
  }
  const large = shape.map((_, axis) => axis).filter((axis) => shape[axis]! > 1);
  let count = 1;
  while (large.length > 0 && strides[large.at(-1)!] === count) count *= shape[large.pop()!]!;
  if (elements / count > MAX_RUNS) return { elements, end, runs: undefined };
  let firsts = [offset];
  for (const axis of large)
    firsts = firsts.flatMap((first) =>
      Array.from({ length: shape[axis]! }, (_, index) => first + index * strides[axis]!),
    );
  return { elements, end, runs: firsts.map((first) => ({ first, count })) };
}

/** The axes from the slowest to the fastest, if the elements lie side by side; undefined if not. */
function axesByStride(shape: readonly number[], strides: readonly number[]): number[] | undefined {
  const isSmall = (axis: number): boolean => shape[axis]! <= 1;
  const axes = shape.map((_, axis) => axis);
  // Axes of size one have any stride and may stay where they are.
  const large = axes.filter((axis) => !isSmall(axis)).sort((a, b) => strides[b]! - strides[a]!);
  let expected = 1;
  for (const axis of [...large].reverse()) {
    if (strides[axis] !== expected) return undefined;
    expected *= shape[axis]!;
  }
  return axes.map((axis) => (isSmall(axis) ? axis : large.shift()!));
}
