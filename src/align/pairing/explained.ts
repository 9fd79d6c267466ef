/** How much a value may differ by rounding alone. */
import type { Side } from '../classes.js';

/** How much more error than its sources a value may have by rounding alone. */
export const GROWTH = 100;

/** Errors that the types of values and weights explain; products round activations as they round weights. */
function explainedError(types: readonly string[]): number {
  const worst = types.map((type) =>
    type === 'F32' ? 1e-6 : type === 'F16' || type === 'BF16' ? 1e-4 : /^(Q8|Q6|Q5)/.test(type) ? 1e-2 : 0.1,
  );
  return Math.max(1e-6, ...worst);
}

/**
 * The largest error of a tested value that rounding explains, and the values on the way to it.
 * @param isKnown classes at which the way begins. @param before the largest error of those. @param failAbove
 * what the types of values and weights explain, where the user says it.
 */
export function explainedBetween(
  side: Side,
  tested: number,
  isKnown: (id: number) => boolean,
  before: number,
  failAbove?: number,
): { limit: number; between: number[] } {
  const types: string[] = [];
  const seen = new Set<number>();
  const waiting = [tested];
  while (waiting.length > 0) {
    const id = waiting.pop()!;
    if (seen.has(id)) continue;
    seen.add(id);
    const { members, parents } = side.classes[id]!;
    for (const { index, tap } of members) {
      types.push(tap.dtype);
      for (const { type } of side.edges.nodes.get(index)?.weights ?? []) types.push(type);
    }
    for (const parent of parents) if (!isKnown(parent)) waiting.push(parent);
  }
  const floats = types.filter((type) => type !== 'I32' && type !== 'I64');
  return { limit: Math.max(failAbove ?? explainedError(floats), GROWTH * before), between: [...seen] };
}
