/** Where a tested program begins to compute something else than its reference: by pairs and by its graph. */
import type { Alignment } from '../align-dumps.js';
import { ancestors, nearest, type Side } from '../classes.js';
import type { ClassPair } from '../pairing/candidate.js';
import { explainedBetween } from '../pairing/explained.js';

/** A tested value that is not the reference's although all that it is computed from is. */
export interface Origin {
  /** Its class. */
  tested: number;
  /** Tested classes that it is computed from, which agree. */
  inputs: number[];
}

/** All values of a tested program, judged. */
export interface Divergence {
  /** In the order of execution; of one fault several where it enters at several places. */
  origins: Origin[];
  /** Pairs that differ by more than rounding explains, the first in the order of execution, and its limit. */
  first: { pair: ClassPair; limit: number } | undefined;
  /** Classes between what is right and the first pair that differs: the fault is in one of them. */
  region: ReadonlySet<number>;
  /** Classes that agree, and pairs that differ. */
  agreeing: number;
  differing: number;
  /**
   * True where what follows the last agreeing value has no partner, and nothing says whether rounding is the
   * reason.
   */
  isOpen: boolean;
  /** The smallest limit of a pair that was judged; Infinity without one. */
  least: number;
  /** The largest limit, where it is; undefined without any. */
  most: { tested: number; limit: number } | undefined;
}

/**
 * Goes through the tested graph in the order of execution. A value agrees where its pair does; one without
 * partner is taken for right where something that follows from it agrees.
 *
 * @param result class of the logits, where known: without any pair that differs they must be another value.
 * @param failAbove what rounding explains where nothing in front differs; default by the types of values and
 * weights.
 */
export function findDivergence(
  { pairs: named, tested }: Alignment,
  result: ResultPair | undefined,
  failAbove?: number,
): Divergence {
  const pairs = new Map<number, ClassPair>();
  for (const { pair, reference } of named) {
    // Choices turn over where scores are all but the same: what they are made of is judged, and what they
    // give.
    if (reference.isExact && pair.fit.error > 0) continue;
    const known = pairs.get(pair.tested);
    // Of a value and parts of it, the one that differs more.
    if (known === undefined || pair.fit.error > known.fit.error) pairs.set(pair.tested, pair);
  }
  const { agrees, first, differing, least, most } = judgePairs(pairs, tested, failAbove);
  const nothing = {
    origins: [],
    first,
    region: new Set<number>(),
    agreeing: agrees.size,
    differing,
    isOpen: false,
    least,
    most,
  };
  if (first === undefined) {
    if (result === undefined || agrees.has(result.tested)) return nothing;
    // Nothing that follows has a partner: a fault, unless weights are too coarse to say so.
    const { limit } = explainedBetween(tested, result.tested, (id) => agrees.has(id), 0, failAbove);
    if (limit > LOW_PRECISION || !(result.error > limit)) return { ...nothing, isOpen: result.error > limit };
  }
  const end = first?.pair.tested ?? result!.tested;
  const before = new Set([...ancestors(tested, end), end]);
  const isRight = rightClasses(tested, agrees);
  const region = new Set([...before].filter((id) => !isRight.has(id)));
  const origins = [...region]
    .filter((id) => [...tested.classes[id]!.parents].every((parent) => isRight.has(parent)))
    .sort((a, b) => placeOf(a, tested) - placeOf(b, tested))
    .map((id) => ({ tested: id, inputs: [...tested.classes[id]!.parents] }));
  return { ...nothing, origins, region };
}

/** The logits of both sides. */
export interface ResultPair {
  tested: number;
  error: number;
}

/** Errors beyond this are explained by quantised weights only. */
const LOW_PRECISION = 1e-3;

function judgePairs(
  pairs: ReadonlyMap<number, ClassPair>,
  tested: Side,
  failAbove: number | undefined,
): { agrees: Set<number> } & Pick<Divergence, 'first' | 'differing' | 'least' | 'most'> {
  const agrees = new Set<number>();
  let least = Number.POSITIVE_INFINITY;
  let first: Divergence['first'];
  let most: Divergence['most'];
  const order = [...pairs.values()].sort((a, b) => placeOf(a.tested, tested) - placeOf(b.tested, tested));
  for (const pair of order) {
    const sources = nearest(tested, pair.tested, 'parents', (id) => pairs.has(id));
    const before = [...sources].filter((id) => agrees.has(id)).map((id) => pairs.get(id)!.fit.error);
    const isKnown = (id: number) => pairs.has(id);
    const { limit } = explainedBetween(tested, pair.tested, isKnown, Math.max(0, ...before), failAbove);
    least = Math.min(least, limit);
    if (most === undefined || limit > most.limit) most = { tested: pair.tested, limit };
    if (pair.fit.error <= limit) agrees.add(pair.tested);
    else if ([...sources].every((id) => agrees.has(id))) first ??= { pair, limit };
  }
  return { agrees, first, differing: pairs.size - agrees.size, least, most };
}

/** Classes that agree, that an agreeing one follows from, and that are given: positions, masks. */
function rightClasses(tested: Side, agrees: ReadonlySet<number>): Set<number> {
  const right = new Set(agrees);
  for (const id of agrees) for (const before of ancestors(tested, id)) right.add(before);
  for (const { id, parents } of tested.classes) if (parents.size === 0) right.add(id);
  return right;
}

function placeOf(id: number, { classes }: Side): number {
  return classes[id]!.members[0]!.index;
}
