/** Pairs tensors that are the same element by element: as they lie, transposed, in other axes or changed. */
import { CHANGES, type Change, explainedBy, isClear } from './change.js';
import type { WeightPair } from './pairing.js';
import { type Print, printDistance } from './print.js';
import { matrixOf } from './raw-weights.js';

interface Candidate {
  reference: Print;
  turned: boolean;
  change: Change;
  error: number;
}

/** The reference tensor that a tested one is, if one is beyond doubt. */
export function matchWhole(tested: Print, references: readonly Print[]): WeightPair | undefined {
  if (tested.constant !== undefined) return undefined;
  const [best, ...others] = candidatesOf(tested, references).sort((a, b) => a.error - b.error);
  if (best === undefined) return undefined;
  const next = others.find((other) => other.reference !== best.reference)?.error ?? Number.POSITIVE_INFINITY;
  const { tensor } = best.reference;
  if (!isClear(best.error, next, explainedBy(tensor.dtype, tested.tensor.dtype))) return undefined;
  return {
    tested: tested.tensor,
    segments: [
      { reference: tensor, first: 0, count: rowsOf(tensor.shape, best.turned), order: { kind: 'same' } },
    ],
    turned: best.turned ? 'reference' : 'none',
    isReshaped: String(turnedShape(tensor.shape, best.turned)) !== String(tested.tensor.shape),
    change: best.change,
    by: 'content',
  };
}

/** The nearest of all, for what has no partner. */
export function nearestWhole(
  tested: Print,
  references: readonly Print[],
): { name: string; error: number } | undefined {
  const [best] = candidatesOf(tested, references).sort((a, b) => a.error - b.error);
  return best && { name: best.reference.tensor.name, error: best.error };
}

function candidatesOf(tested: Print, references: readonly Print[]): Candidate[] {
  return references.flatMap((reference) => {
    if (reference.count !== tested.count || reference.constant !== undefined) return [];
    const found = CHANGES.map((change) => ({
      reference,
      turned: false,
      change,
      error: printDistance(reference.flat, tested.flat, change),
    }));
    if (reference.turned !== undefined && fitsTurned(reference, tested))
      found.push({
        reference,
        turned: true,
        change: 'none',
        error: printDistance(reference.turned, tested.flat, 'none'),
      });
    // The plainest of several that are equally near.
    return [found.reduce((a, b) => (b.error < a.error ? b : a))];
  });
}

/** Matrices with rows and columns swapped; how they are stacked may be written in other axes. */
function fitsTurned({ tensor }: Print, tested: Print): boolean {
  const [own, other] = [matrixOf(tensor.shape), matrixOf(tested.tensor.shape)];
  return own.columns === other.rows && own.rows === other.columns;
}

function rowsOf(shape: readonly number[], turned: boolean): number {
  const { stack, rows, columns } = matrixOf(shape);
  return stack * (turned ? columns : rows);
}

function turnedShape(shape: readonly number[], turned: boolean): readonly number[] {
  return turned ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape;
}
