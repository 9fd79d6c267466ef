/**
 * Looks for the structures that explain ops at fault: one search for each kind of op, one line for each
 * cause.
 */
import type { DumpView } from '../../dump/dump-view.js';
import type { Policy } from '../../graph/policy.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import type { LocatedKind, LocatedOp } from '../faults/report.js';
import type { PolicyRunners } from '../faults/runners.js';
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
   * Kinds of op (taps without their block) that it explains, and the blocks in which it was tried and does.
   */
  kinds: string[];
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

interface Cause extends FoundCause {
  kinds: string[];
  blocks: Set<number>;
  /** Ops of its kinds that could not be tried. */
  untried: number;
  ties: FoundCause[];
}

/**
 * Recomputes ops at fault in the ways in which ports go wrong (see `table.ts`), from the tested dump's
 * inputs, and names those that bring an op's error to within its limit. Stops after {@link SEARCHED} kinds,
 * {@link TRIES} computations or {@link SECONDS} seconds.
 */
export async function explainStructures(
  input: StructureInput,
): Promise<{ causes: LocatedCause[]; notes: string[] }> {
  const { runners, base, kinds, faults, onProgress, signal } = input;
  await runners.use(base);
  const budget = new Budget(TRIES, SECONDS, signal);
  const causes: Cause[] = [];
  let searched = 0;
  for (const [index, kind] of kinds.entries()) {
    onProgress?.(index, kinds.length);
    const ops = faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind);
    if (searched >= SEARCHED + causes.length) continue;
    const [worst, found] = await causesOf(input, kind, ops, causes, budget);
    if (worst === undefined || found.length === 0) {
      searched++;
      continue;
    }
    const keys = new Set(found.map(({ key }) => key));
    const families = new Set(found.flatMap(({ family }) => family?.key ?? []));
    let cause = causes.find(({ key }) => keys.has(key));
    if (cause === undefined) {
      cause = causes.find(({ family }) => family !== undefined && families.has(family.key));
      if (cause !== undefined) cause = Object.assign(cause, { says: cause.family!.says });
    }
    if (cause === undefined) {
      const [best, ...ties] = found as [FoundCause, ...FoundCause[]];
      cause = { ...best, kinds: [], blocks: new Set(), untried: 0, ties };
      causes.push(cause);
      searched++;
    }
    cause.kinds.push(kind.kind);
    const { blocks, untried } = await confirmedBlocks(input, kind, ops, worst, cause, budget);
    for (const block of blocks) cause.blocks.add(block);
    cause.untried = Math.max(cause.untried, untried);
  }
  const notes = budget.isSpent
    ? [`Causes of structure were tried in ${TRIES} computations or ${SECONDS} seconds: not all of them.`]
    : [];
  return { causes: causes.map((cause) => asData(cause, runners.model!.config)), notes };
}

function asData(
  { key, kinds, blocks, before, after, ties, ...cause }: Cause,
  config: ModelConfig,
): LocatedCause {
  const sorted = [...blocks].sort((a, b) => a - b);
  return {
    key,
    sentence: causeSentence({ ...cause, kinds, blocks: sorted, before, after, ties }, config),
    kinds,
    blocks: sorted,
    before,
    after,
    ties: ties.map((tie) => tie.key),
  };
}

/** Of the worst op of a kind, or where that cannot be taken out of the dump, of the first that can. */
async function causesOf(
  input: StructureInput,
  kind: LocatedKind,
  ops: readonly LocatedOp[],
  known: readonly Cause[],
  budget: Budget,
): Promise<[op: LocatedOp | undefined, found: FoundCause[]]> {
  const keys = new Set(
    known.flatMap(({ key, family }) => [key, ...(family === undefined ? [] : [family.key])]),
  );
  const worstFirst = ops.toSorted((a, b) => Number(b.tap === kind.worst) - Number(a.tap === kind.worst));
  for (const own of worstFirst.slice(0, OPENED)) {
    const found = await withOp(input, kind, own.tap, (op, computer) =>
      findCauses(op, computer, own.limit ?? 0, keys, budget),
    );
    if (found !== undefined) return [own, found];
  }
  return [undefined, []];
}

/** The blocks of a kind that the cause explains. */
async function confirmedBlocks(
  input: StructureInput,
  kind: LocatedKind,
  ops: readonly LocatedOp[],
  worst: LocatedOp,
  cause: Cause,
  budget: Budget,
): Promise<{ blocks: number[]; untried: number }> {
  const found = worst.block === null ? [] : [worst.block];
  let untried = Math.max(0, ops.length - CONFIRMED);
  for (const { tap, block, limit } of ops.slice(0, CONFIRMED)) {
    if (tap === worst.tap || block === null) continue;
    const own = await withOp(input, kind, tap, (op, computer) =>
      findCauses(
        op,
        computer,
        limit ?? 0,
        new Set([cause.key, ...(cause.family === undefined ? [] : [cause.family.key])]),
        budget,
        true,
      ),
    );
    if (own === undefined) untried++;
    else if (own.length > 0) found.push(block);
  }
  return { blocks: found, untried };
}

async function withOp<T>(
  { runners, base, tested, holds }: StructureInput,
  { begins }: LocatedKind,
  tap: string,
  use: (op: OpenOp, computer: OpComputer) => Promise<T>,
): Promise<T | undefined> {
  const sequence = begins?.sequence ?? 0;
  const length = tested.manifest.sequences[sequence]?.tokens?.length ?? 0;
  const tokens = Math.min(length, MOST_TOKENS);
  if (tokens === 0 || (begins?.position ?? 0) >= tokens) return undefined;
  const model = runners.model!;
  const op = await openOp(tap, {
    model,
    setting: settingOf(base, model.config),
    tested,
    holds,
    sequence,
    tokens,
  });
  if (op === undefined) return undefined;
  using computer = new OpComputer(op, model.backend);
  return await use(op, computer);
}
