/** The fewest choices that take the errors of ops of one kind away, each of them needed. */
import { siteKind } from '../../../graph/policy.js';
import { sizeOf } from '../evidence.js';
import type { LocatedOp } from '../report.js';
import { type Hypothesis, MAX_CHOICES } from './hypotheses.js';
import { type Errors, ruleKey, type Search } from './shared-replays.js';

/** An own error must fall to a hundredth of its energy for a choice to explain it. */
const EXPLAINS = 0.01;
/**
 * Of choices that meet, roundings on the way fall to the other side of a tie: this share of what the largest
 * of them does.
 */
const TIES = 0.05;
/** The same in the few blocks in which more of them do. */
const MOST_OF_TIES = 0.5;
/** A choice is needed if without it an error is as many times what is left with it. */
const NEEDED = 4;
/** A choice is tried with others if it takes a tenth of the error of an op away. */
const HELPS = 0.9;
const STEPS = 6;
/** Blocks may differ in what explains them: so many times the others are searched again. */
const GROUPS = 3;

/** What was found for some of the ops. */
export interface ChoiceSet {
  choices: readonly Hypothesis[];
  ops: readonly LocatedOp[];
  /** Those among `ops` of which more is left, as roundings that fall otherwise leave. */
  tied: readonly LocatedOp[];
  /** Errors with all of the choices. */
  left: Errors;
  /** The largest error of the ops without each of them; null where there is one. */
  without: readonly number[] | null;
  /** True where it takes nearly all of the error away, and yet more is left than may be. */
  isPart: boolean;
}

/** An op's error and what it may be. */
interface Size {
  own: number;
  limit: number;
}

function sizeAndLimit(op: LocatedOp): Size {
  const own = sizeOf(op);
  // A small error may be at fault for being in all blocks.
  return { own, limit: op.limit !== null && op.limit < own ? op.limit : EXPLAINS * own };
}

/** True for choices that round a value, whose effect depends on the last bits of it. */
function rounds({ sites }: Hypothesis): boolean {
  return !['skip', 'angles', 'eps'].includes(siteKind(sites));
}

/**
 * Searches one choice, and where none explains an op, several that meet in it: those that help are taken
 * together, then each that is not needed is left out again.
 * @param found is given what was found.
 */
export function* searchChoices(
  all: readonly LocatedOp[],
  choices: readonly Hypothesis[],
  found: (set: ChoiceSet) => void,
): Search {
  const sizes = new Map(all.map((op) => [op, sizeAndLimit(op)]));
  const known = new Map<string, Errors>();
  const errorsOf = function* (
    sets: readonly (readonly Hypothesis[])[],
  ): Generator<readonly (readonly Hypothesis[])[], Errors[], readonly Errors[]> {
    const unknown = sets.filter((set) => !known.has(setKey(set)));
    if (unknown.length > 0) {
      const given = yield unknown;
      for (const [index, set] of unknown.entries()) known.set(setKey(set), given[index]!);
    }
    return sets.map((set) => known.get(setKey(set))!);
  };
  const tried = choices.slice(0, MAX_CHOICES);
  let ops = all;
  const take = (set: ChoiceSet): void => {
    found(set);
    ops = ops.filter((op) => !set.ops.includes(op));
  };
  const takeSingles = (counts: (op: LocatedOp) => boolean): void => {
    for (let isFound = true; isFound && ops.length > 0; ) {
      isFound = false;
      for (const choice of tried) {
        const left = known.get(setKey([choice]));
        if (left === undefined) continue;
        const isWithin = (op: LocatedOp) => left.get(op.tap)!.nmse <= sizes.get(op)!.limit;
        const own = ops.filter(
          (op) => left.get(op.tap)!.nmse < EXPLAINS * sizes.get(op)!.own && (rounds(choice) || isWithin(op)),
        );
        if (!own.some(counts)) continue;
        const taken = ops.filter((op) => own.includes(op) || isWithin(op));
        take({ choices: [choice], ops: taken, tied: [], left, without: null, isPart: false });
        isFound = true;
        break;
      }
    }
  };
  // Choices of several groups of blocks may meet in one span: one explanation for all is looked for first.
  const alone: ChoiceSet[] = [];
  try {
    for (const choice of tried) {
      if (ops.length === 0) return;
      yield* errorsOf([[choice]]);
      const worst = ops.reduce((a, b) => (sizes.get(b)!.own > sizes.get(a)!.own ? b : a));
      takeSingles((op) => op === worst);
    }
    for (let group = 0; group < GROUPS && ops.length > 0; group++) {
      const forward = yield* together(ops, tried, sizes, errorsOf);
      const set = forward.length < 2 ? null : yield* fewest(ops, forward, sizes, errorsOf);
      if (set === null || set.isPart) {
        if (set !== null) alone.push(set);
        break;
      }
      take(set);
    }
  } finally {
    // also of a search that was ended
    takeSingles(() => true);
    for (const part of alone) {
      const left = part.ops.filter((op) => ops.includes(op));
      if (left.length > 0) take({ ...part, ops: left });
    }
    takePart(ops, tried, sizes, known, take);
  }
}

type Sizes = ReadonlyMap<LocatedOp, Size>;
type Ask = (
  sets: readonly (readonly Hypothesis[])[],
) => Generator<readonly (readonly Hypothesis[])[], Errors[], readonly Errors[]>;

/** Choices that help, with those before them, in the order in which they do. */
function* together(
  ops: readonly LocatedOp[],
  tried: readonly Hypothesis[],
  sizes: Sizes,
  errorsOf: Ask,
): Generator<readonly (readonly Hypothesis[])[], Hypothesis[], readonly Errors[]> {
  let chosen: Hypothesis[] = [];
  let now = new Map(ops.map((op) => [op, sizes.get(op)!.own]));
  const clipped = (op: LocatedOp, error: number) => Math.max(error, sizes.get(op)!.limit, 1e-30);
  /** How many times the errors have fallen, in all, as a logarithm. */
  const gain = (errors: Errors): number =>
    ops.reduce(
      (sum, op) => sum + Math.log(clipped(op, now.get(op)!) / clipped(op, errors.get(op.tap)!.nmse)),
      0,
    );
  for (let step = 0; step < STEPS; step++) {
    const sites = new Set(chosen.map((choice) => choice.sites));
    const rest = tried.filter((choice) => !sites.has(choice.sites));
    if (rest.length === 0 || ops.every((op) => now.get(op)! <= sizes.get(op)!.limit)) break;
    const errors = yield* errorsOf(rest.map((choice) => [...chosen, choice]));
    const helpful = rest
      .map((choice, index) => ({ choice, errors: errors[index]!, gain: gain(errors[index]!) }))
      .filter(
        (each) =>
          each.gain > 0 &&
          ops.some((op) => clipped(op, each.errors.get(op.tap)!.nmse) < HELPS * clipped(op, now.get(op)!)),
      )
      .sort((a, b) => b.gain - a.gain);
    const [best] = helpful;
    if (best === undefined) break;
    const bySite = new Map(helpful.toReversed().map((each) => [each.choice.sites, each.choice]));
    const joint = [
      ...chosen,
      ...helpful.map(({ choice }) => choice).filter((c) => bySite.get(c.sites) === c),
    ];
    const [jointly] = yield* errorsOf([joint]);
    const isJoint = gain(jointly!) >= best.gain;
    chosen = isJoint ? joint : [...chosen, best.choice];
    const after = isJoint ? jointly! : best.errors;
    now = new Map(ops.map((op) => [op, after.get(op.tap)!.nmse]));
  }
  return chosen;
}

/** Of the choices those that are needed; null where they explain no op. */
function* fewest(
  ops: readonly LocatedOp[],
  forward: readonly Hypothesis[],
  sizes: Sizes,
  errorsOf: Ask,
): Generator<readonly (readonly Hypothesis[])[], ChoiceSet | null, readonly Errors[]> {
  let chosen = [...forward];
  for (;;) {
    const judged = yield* judgedSet(ops, chosen, sizes, errorsOf);
    const { needs, left, loo } = judged;
    const least = needs.indexOf(Math.min(...needs));
    if (chosen.length > 1 && needs[least]! < 1) {
      // Mostly all that are not needed can go at once.
      const some = chosen.filter((_, index) => needs[index]! >= 1);
      const [without] = some.length === 0 ? [undefined] : yield* errorsOf([some]);
      const isAsGood = without !== undefined && ops.every((op) => needOf(op, without, judged) < 1);
      chosen = isAsGood ? some : chosen.filter((_, index) => index !== least);
      continue;
    }
    const errorIn = (op: LocatedOp, errors: Errors) => errors.get(op.tap)!.nmse;
    const { explained } = judged;
    const isNearly = (op: LocatedOp) => errorIn(op, left) < EXPLAINS * sizes.get(op)!.own;
    const share = chosen.length === 1 ? EXPLAINS : TIES;
    if (explained.some((op) => errorIn(op, left) < share * sizes.get(op)!.own)) {
      const tied = ops.filter(
        (op) => !explained.includes(op) && errorIn(op, left) < MOST_OF_TIES * judged.rounded(op),
      );
      const isUsual = tied.length > 0 && 2 * tied.length < explained.length;
      const taken = isUsual ? [...explained, ...tied] : explained;
      return {
        choices: chosen,
        ops: taken,
        tied: isUsual ? tied : [],
        left,
        without:
          chosen.length === 1
            ? null
            : loo.map((errors) => Math.max(...taken.map((op) => errorIn(op, errors)))),
        isPart: false,
      };
    }
    const part = ops.filter(isNearly);
    if (part.length === 0) return null;
    const without = loo.map((errors) => Math.max(...part.map((op) => errorIn(op, errors))));
    return {
      choices: chosen,
      ops: part,
      tied: [],
      left,
      without: chosen.length === 1 ? null : without,
      isPart: true,
    };
  }
}

/** A set of choices, and what becomes of the errors without each of them. */
interface Judged {
  sizes: Sizes;
  left: Errors;
  loo: readonly Errors[];
  /** What the largest rounding among them does to an op. */
  rounded: (op: LocatedOp) => number;
  /** What may be left of an op's error. */
  floor: (op: LocatedOp) => number;
  explained: readonly LocatedOp[];
  /** By choice, as {@link needOf}: the most of all ops. */
  needs: readonly number[];
}

function* judgedSet(
  ops: readonly LocatedOp[],
  chosen: readonly Hypothesis[],
  sizes: Sizes,
  errorsOf: Ask,
): Generator<readonly (readonly Hypothesis[])[], Judged, readonly Errors[]> {
  const others = chosen.map((each) => chosen.filter((choice) => choice !== each));
  const isAlone = chosen.length === 1;
  const [left, ...rest] = yield* errorsOf(isAlone ? [chosen] : [chosen, ...others]);
  const loo = isAlone ? [new Map(ops.map((op) => [op.tap, { nmse: sizes.get(op)!.own }]))] : rest;
  const errorIn = (op: LocatedOp, errors: Errors) => errors.get(op.tap)!.nmse;
  const rounded = (op: LocatedOp) =>
    Math.max(0, ...chosen.map((choice, index) => (rounds(choice) ? errorIn(op, loo[index]!) : 0)));
  const floor = (op: LocatedOp) =>
    Math.max(sizes.get(op)!.limit, (isAlone ? EXPLAINS : TIES) * Math.min(rounded(op), sizes.get(op)!.own));
  const explained = ops.filter((op) => errorIn(op, left!) <= floor(op));
  const judged = { sizes, left: left!, loo, rounded, floor, explained, needs: [] };
  const over = explained.length > 0 ? explained : ops;
  const needs = loo.map((errors) => Math.max(...over.map((op) => needOf(op, errors, judged))));
  return { ...judged, needs };
}

/** At least 1 where the error is more than ties leave, and than chance makes of what is left. */
function needOf(op: LocatedOp, errors: Errors, { left, floor, sizes }: Judged): number {
  const error = errors.get(op.tap)!.nmse;
  const may = Math.max(sizes.get(op)!.limit, left.get(op.tap)!.nmse, 1e-30);
  return Math.min(error / (NEEDED * may), error / Math.max(floor(op), 1e-30));
}

/** One choice that takes nearly all of the errors away, though more is left than may be. */
function takePart(
  ops: readonly LocatedOp[],
  tried: readonly Hypothesis[],
  sizes: Sizes,
  known: ReadonlyMap<string, Errors>,
  take: (set: ChoiceSet) => void,
): void {
  let best: ChoiceSet | undefined;
  for (const choice of tried) {
    const left = known.get(setKey([choice]));
    const part = ops.filter(
      (op) => left !== undefined && left.get(op.tap)!.nmse < EXPLAINS * sizes.get(op)!.own,
    );
    if (part.length > (best?.ops.length ?? 0))
      best = { choices: [choice], ops: part, tied: [], left: left!, without: null, isPart: true };
  }
  if (best !== undefined) take(best);
}

function setKey(set: readonly Hypothesis[]): string {
  return set.map(ruleKey).sort().join('\n');
}
