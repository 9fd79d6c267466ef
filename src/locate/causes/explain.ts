/**
 * Looks for the structures that explain ops at fault: one search for each kind of op, one line for each
 * cause.
 */
import type { DumpView } from '../../dump/dump-view.js';
import { type Policy, siteKind } from '../../graph/policy.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { sizeOf, worstOf } from '../faults/evidence.js';
import type { Hypothesis } from '../faults/explain/hypotheses.js';
import { choiceSentence } from '../faults/plain-words.js';
import type { LocatedKind, LocatedOp } from '../faults/report.js';
import type { PolicyRunners } from '../faults/runners.js';
import type { FirstWrong } from '../faults/where/row-errors.js';
import { tapPlace } from '../replay/tap-graph.js';
import { causeSentence } from './cause-words.js';
import { OpComputer } from './compute.js';
import { type OpenOp, openOp } from './open-op.js';
import { Budget, type FoundCause, findCauses } from './search.js';

/** A structural cause of faults. */
export interface LocatedCause {
  /** Equal for the same cause elsewhere, e.g. `transposed self_attn.o_proj.weight`. */
  key: string;
  /** One sentence, with the error before and after. */
  sentence: string;
  /**
   * Kinds of op (taps without their block) that it explains, and the ops and blocks in which it was tried and
   * does.
   */
  kinds: string[];
  taps: string[];
  blocks: number[];
  /**
   * Energy NMSE (of indices: share that differs) of the first op that it explains: as the model computes it,
   * and so.
   */
  before: number;
  after: number;
  /** Keys of other causes that explain the op as well. */
  ties: string[];
}

/** What {@link explainStructures} needs. */
export interface StructureInput {
  runners: PolicyRunners;
  /** Policy under which the tested dump's ops are recomputed. */
  base: Policy;
  tested: DumpView;
  holds: (name: string) => boolean;
  /** Kinds of op at fault, most important first, and their ops. */
  kinds: readonly LocatedKind[];
  faults: readonly LocatedOp[];
  /** Where the error of each op begins. */
  begins: ReadonlyMap<string, FirstWrong>;
  /** Choices that together explain other ops of a kind, which these may have too. Default: none. */
  choices?: ReadonlyMap<string, readonly (readonly Hypothesis[])[]>;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

/** Kinds of op for which the whole table is tried; the causes found are tried for all others. */
const SEARCHED = 6;
/** Ops of one kind that are tried in turn where the dump lacks what an op reads. */
const OPENED = 4;
/** Ops of one kind for which a found cause is confirmed. */
const CONFIRMED = 64;
/** Computations of ops, and seconds of wall clock, in all. */
const TRIES = 6000;
const SECONDS = 60;
/** Positions from the start of a sequence that are computed. */
const MOST_TOKENS = 512;

/** Times that ops of a kind which a cause leaves are looked at again. */
const AGAIN = 2;
/** Of ops of one kind that nothing explains another is tried if its error is this much smaller. */
const OTHER_SIZE = 30;

interface Cause extends FoundCause {
  kinds: string[];
  taps: Set<string>;
  blocks: Set<number>;
  /** Ops of its kinds that could not be tried. */
  untried: number;
  ties: FoundCause[];
  /** What besides is so in the ops that it explains. */
  beside: string | undefined;
}

/** Ops of a kind that are searched together. */
interface Search {
  kind: LocatedKind;
  ops: readonly LocatedOp[];
  /** How often ops of the kind were searched before. */
  before: number;
}

/** What is found of some ops of a kind. */
interface Found {
  worst: LocatedOp;
  causes: FoundCause[];
  /** Policy under which the ops were recomputed, and its choices beside the tested dump's own. */
  policy: Policy;
  beside: readonly Hypothesis[];
}

/**
 * Recomputes ops at fault in the ways in which ports go wrong (see `table.ts`), from the tested dump's
 * inputs, and names those that bring an op's error to within its limit. Stops after {@link SEARCHED} kinds,
 * {@link TRIES} computations or {@link SECONDS} seconds. Ops of a kind that a cause leaves are searched by
 * themselves. @returns also ops for which a cause of their kind could not be tried.
 */
export async function explainStructures(
  input: StructureInput,
): Promise<{ causes: LocatedCause[]; unknown: ReadonlySet<string>; notes: string[] }> {
  const { runners, base, kinds, faults, onProgress, signal } = input;
  await runners.use(base);
  const budget = new Budget(TRIES, SECONDS, signal);
  const causes: Cause[] = [];
  const unknown = new Set<string>();
  let searched = 0;
  const queue = kinds.map((kind): Search => {
    const ops = faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind);
    return { kind, ops, before: 0 };
  });
  for (const [index, search] of queue.entries()) {
    onProgress?.(index, queue.length);
    const { kind, ops, before } = search;
    const again = (left: readonly LocatedOp[]): void => {
      if (left.length > 0 && before < AGAIN)
        queue.push({ kind: { ...kind, worst: worstOf(left).tap }, ops: left, before: before + 1 });
    };
    if (searched >= SEARCHED + causes.length) continue;
    const found = await causesOf(input, search, causes, budget);
    if (found === undefined || found.causes.length === 0) {
      searched++;
      if (found !== undefined) again(ops.filter((op) => OTHER_SIZE * sizeOf(op) < sizeOf(found.worst)));
      continue;
    }
    const keys = new Set(found.causes.map(({ key }) => key));
    const families = new Set(found.causes.flatMap(({ family }) => family?.key ?? []));
    let cause = causes.find(({ key }) => keys.has(key));
    if (cause === undefined) {
      cause = causes.find(({ family }) => family !== undefined && families.has(family.key));
      if (cause !== undefined) cause = Object.assign(cause, { says: cause.family!.says });
    }
    if (cause === undefined) {
      const [best, ...ties] = found.causes as [FoundCause, ...FoundCause[]];
      const beside = besideWords(found.beside, runners.model!.config);
      cause = { ...best, kinds: [], taps: new Set(), blocks: new Set(), untried: 0, ties, beside };
      causes.push(cause);
      searched++;
    }
    if (!cause.kinds.includes(kind.kind)) cause.kinds.push(kind.kind);
    const { explained, untried } = await confirmed(input, search, found, cause, budget);
    for (const { tap, block } of explained) {
      cause.taps.add(tap);
      if (block !== null) cause.blocks.add(block);
    }
    for (const { tap } of untried) unknown.add(tap);
    cause.untried = Math.max(cause.untried, untried.length);
    again(ops.filter((op) => !explained.includes(op) && !untried.includes(op)));
  }
  const notes = budget.isSpent
    ? [`Causes of structure were tried in ${TRIES} computations or ${SECONDS} seconds: not all of them.`]
    : [];
  return { causes: causes.map((cause) => asData(cause, runners.model!.config)), unknown, notes };
}

function besideWords(choices: readonly Hypothesis[], config: ModelConfig): string | undefined {
  const { family } = architectureOf(config);
  const words = choices.map(({ sites, set, at }) => choiceSentence(siteKind(sites), set, at, family));
  return words.length === 0 ? undefined : words.join('; ');
}

function asData(
  { key, kinds, taps, blocks, before, after, ties, beside, ...cause }: Cause,
  config: ModelConfig,
): LocatedCause {
  const sorted = [...blocks].sort((a, b) => a - b);
  return {
    key,
    sentence: `${causeSentence({ ...cause, kinds, blocks: sorted, before, after, ties }, config)}${beside === undefined ? '' : ` There too ${beside}.`}`,
    kinds,
    taps: [...taps],
    blocks: sorted,
    before,
    after,
    ties: ties.map((tie) => tie.key),
  };
}

/**
 * Of the worst op, or where that cannot be taken out of the dump, of the first that can: as the tested dump's
 * ops are recomputed, and where that finds nothing with the choices that explain other ops of the kind.
 */
async function causesOf(
  input: StructureInput,
  { kind, ops }: Search,
  known: readonly Cause[],
  budget: Budget,
): Promise<Found | undefined> {
  const keys = new Set(
    known.flatMap(({ key, family }) => [key, ...(family === undefined ? [] : [family.key])]),
  );
  const worstFirst = ops.toSorted((a, b) => Number(b.tap === kind.worst) - Number(a.tap === kind.worst));
  let nothing: Found | undefined;
  const others = (input.choices?.get(kind.kind) ?? []).filter(({ length }) => length > 0);
  for (const beside of [[], ...others]) {
    const policy = withChoices(input.base, beside);
    for (const worst of worstFirst.slice(0, OPENED)) {
      const causes = await withOp(input, policy, worst.tap, (op, computer) =>
        findCauses(op, computer, worst.limit ?? 0, keys, budget),
      );
      if (causes === undefined) continue;
      const found = { worst, causes, policy, beside };
      if (causes.length > 0) return found;
      nothing ??= found;
      break;
    }
  }
  return nothing;
}

function withChoices(base: Policy, choices: readonly Hypothesis[]): Policy {
  return choices.length === 0 ? base : { ...base, rules: [...base.rules, ...choices] };
}

/** The ops of a search that the cause explains, and those for which it could not be tried. */
async function confirmed(
  input: StructureInput,
  { ops }: Search,
  { worst, policy }: Found,
  cause: Cause,
  budget: Budget,
): Promise<{ explained: LocatedOp[]; untried: LocatedOp[] }> {
  const [explained, untried] = [[worst], ops.slice(CONFIRMED)];
  for (const op of ops.slice(0, CONFIRMED)) {
    const { tap, block, limit } = op;
    if (tap === worst.tap || block === null) continue;
    const own = await withOp(input, policy, tap, (opened, computer) =>
      findCauses(
        opened,
        computer,
        limit ?? 0,
        new Set([cause.key, ...(cause.family === undefined ? [] : [cause.family.key])]),
        budget,
        true,
      ),
    );
    if (own === undefined) untried.push(op);
    else if (own.length > 0) explained.push(op);
  }
  return { explained, untried: untried.filter((op) => op !== worst) };
}

async function withOp<T>(
  { runners, tested, holds, begins: beginnings }: StructureInput,
  policy: Policy,
  tap: string,
  use: (op: OpenOp, computer: OpComputer) => Promise<T>,
): Promise<T | undefined> {
  const begins = beginnings.get(tap);
  const sequence = begins?.sequence ?? 0;
  const length = tested.manifest.sequences[sequence]?.tokens?.length ?? 0;
  const tokens = Math.min(length, MOST_TOKENS);
  if (tokens === 0 || (begins?.position ?? 0) >= tokens) return undefined;
  const model = runners.model!;
  const op = await openOp(tap, {
    model,
    setting: settingOf(policy, model.config),
    tested,
    holds,
    sequence,
    tokens,
  });
  if (op === undefined) return undefined;
  using computer = new OpComputer(op, model.backend);
  return await use(op, computer);
}
