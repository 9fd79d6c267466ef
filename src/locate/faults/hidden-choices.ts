/**
 * Choices of experts that a dump does not show. Where the router's choice lies inside the span of an op,
 * rounding may send a token elsewhere than it went, which says nothing of the op: tokens whose choice is
 * close are left out of its error.
 */
import { changedExperts } from '../../diff/routing.js';
import type { TensorBatch } from '../../dump/reader.js';
import type { Family } from '../../families/family.js';
import { hasRole, roleTap } from '../../families/roles.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { tapPlace, tapSpan } from '../replay/tap-graph.js';

/** Lead of the best biased probability that rounding to BF16 may turn round, and one that F32 may. */
export const CLOSE = { half: 0.02, single: 1e-4 } as const;
/** Fewer tokens than this share say too little: then only those are left out that F32 may turn. */
const LEAST_SHARE = 0.25;

/** Error and size of each token's row, by how close the choices are that it depends on. */
export class SureTokens {
  readonly #blocks: readonly number[];
  readonly #own: number | null;
  readonly #tokens: { error: number; size: number; lead: number }[] = [];

  /** @param blocks those whose choices lie inside the span of an op of block `own`. */
  constructor(blocks: readonly number[], own: number | null) {
    this.#blocks = blocks;
    this.#own = own;
  }

  /** Adds rows of one sequence. `leads`: by block, the lead of the choice of each row. */
  add(
    right: Float32Array,
    other: Float32Array,
    { shape }: TensorBatch,
    leads: ReadonlyMap<number, Float32Array>,
  ): void {
    const rows = shape[0]!;
    const width = right.length / rows;
    let earlier = Number.POSITIVE_INFINITY;
    for (let row = 0; row < rows; row++) {
      let lead = Number.POSITIVE_INFINITY;
      for (const block of this.#blocks) {
        const own = leads.get(block)?.[row] ?? Number.POSITIVE_INFINITY;
        lead = Math.min(lead, own);
        // Later tokens see what an earlier block made of this one.
        if (block !== this.#own) earlier = Math.min(earlier, own);
      }
      let [error, size] = [0, 0];
      for (let k = row * width; k < (row + 1) * width; k++) {
        // What the right op makes NaN or infinite of the same inputs is no error of this one.
        if (!Number.isFinite(right[k]!) && !Number.isFinite(other[k]!)) continue;
        error += (right[k]! - other[k]!) ** 2;
        size += right[k]! ** 2;
      }
      this.#tokens.push({
        error: Number.isNaN(error) ? Number.POSITIVE_INFINITY : error,
        size,
        lead: Math.min(lead, earlier),
      });
    }
  }

  /** Energy NMSE over the tokens whose choices are sure; null where all are close. */
  nmse(): number | null {
    const half = this.#tokens.filter(({ lead }) => lead > CLOSE.half);
    const sure =
      half.length >= LEAST_SHARE * this.#tokens.length
        ? half
        : this.#tokens.filter(({ lead }) => lead > CLOSE.single);
    if (sure.length === 0) return null;
    const [error, size] = sure.reduce(([a, b], token) => [a + token.error, b + token.size], [0, 0]);
    return error === 0 ? 0 : error / size;
  }
}

/**
 * Blocks whose choices lie inside the span of each value that a replay shows; values without such are absent.
 */
export function hiddenChoices(
  held: ReadonlySet<string>,
  { num_hidden_layers, model_type }: ModelConfig,
  family: Family,
): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const name of held) {
    const inside = tapSpan(name, num_hidden_layers, held, false, model_type).inside.slice(0, -1);
    const choices = inside.filter((each) => hasRole(family, 'router.expert', each));
    if (choices.length > 0)
      found.set(
        name,
        choices.map((each) => tapPlace(each).block!),
      );
  }
  return found;
}

/** The block whose choices' leads a value holds; null for other values. */
export function leadBlock(name: string, family: Family): number | null {
  return hasRole(family, 'router.margin', name) ? tapPlace(name).block : null;
}

/** Choices that a dump shows without the probabilities that they were made by: by value, those. */
export function unseenProbabilities(held: ReadonlySet<string>, family: Family): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of held) {
    const { block } = tapPlace(name);
    if (block === null || !hasRole(family, 'router.expert', name)) continue;
    const probabilities = roleTap(family, 'router.probabilities', block);
    if (probabilities !== undefined && !held.has(probabilities)) found.set(name, probabilities);
  }
  return found;
}

/**
 * By how much the recomputed biased probabilities prefer the recomputed choices to the dump's: the most of
 * all rows, 0 where all are the same.
 * @param probabilities of as many rows.
 */
export function lostLead(right: TensorBatch, other: TensorBatch, probabilities: Float32Array): number {
  const rows = right.shape[0]!;
  const [a, b] = [right, other].map(({ data }) => data as Int32Array) as [Int32Array, Int32Array];
  const [width, classes] = [a.length / rows, probabilities.length / rows];
  let most = 0;
  for (let row = 0; row < rows; row++) {
    const of = (data: Int32Array) => [...data.subarray(row * width, (row + 1) * width)];
    for (const [mine, others] of changedExperts(of(a), of(b))) {
      const lead = probabilities[row * classes + mine]! - probabilities[row * classes + others]!;
      most = Math.max(most, Number.isNaN(lead) ? Number.POSITIVE_INFINITY : Math.abs(lead));
    }
  }
  return most;
}
