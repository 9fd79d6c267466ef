/** Choices of dtype or form that explain ops at fault: of one kind in some blocks, or in all. */
import type { DumpView } from '../../../dump/dump-view.js';
import type { Family } from '../../../families/family.js';
import { hasRole } from '../../../families/roles.js';
import { type Policy, type PolicyRule, siteKind } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { flashErrors } from '../../causes/flash-attention.js';
import { Budget } from '../../causes/search.js';
import { tapPlace } from '../../replay/tap-graph.js';
import { storedProducts } from '../dtypes/stored-types.js';
import { sizeOf, worstOf } from '../evidence.js';
import { halfAttention } from '../ggml/half-attention.js';
import { halfSums } from '../ggml/half-sums.js';
import { type LocalOptions, localErrors } from '../local.js';
import { blockWords, choiceSentence, halfAttentionSentence, halfSumsSentence } from '../plain-words.js';
import type { LocatedKind, LocatedOp } from '../report.js';
import type { PolicyRunners } from '../runners.js';
import { type ChoiceSet, searchChoices } from './choice-sets.js';
import { choiceFinder, type Hypothesis } from './hypotheses.js';
import { type Errors, shareReplays } from './shared-replays.js';

/** A sum that no policy has explains an own error that it takes to a hundredth of its energy. */
const EXPLAINS = 0.01;
/** Kinds of op that are explained; one replay serves them all. */
const MAX_KINDS = 64;
/** Replays in search of choices, and seconds of wall clock, in all. */
const REPLAYS = 1000;
const SECONDS = 240;
/** Blocks of a kind for which a sum that no policy has is recomputed. */
const MAX_SUMS = 64;

/** What explains ops of one kind. */
export interface Explanation {
  /** A clause that names no block, with the errors of the worst of them. */
  sentence: string;
  /** The ops. */
  taps: ReadonlySet<string>;
  /** As rules; empty where no policy has it. */
  choices: readonly Hypothesis[];
  /** True where more is left of the error than may be. */
  isPart: boolean;
}

/** Ops of a kind that nothing explains yet. */
interface OpenKind {
  kind: LocatedKind;
  choices: readonly Hypothesis[];
  ops: readonly LocatedOp[];
  /** Of a kind what is found in part stands last. */
  found: Explanation[];
}

/**
 * Tries whether known choices of dtype or form explain ops at fault: each is recomputed from the tested
 * dump's inputs under `base` with that choice, and where that leaves less than a hundredth of its own error,
 * the choice is named. Several that meet in an op or its span are named where each of them is needed. What
 * explains the worst op of a kind explains others of it where their errors fall as much, or to within their
 * limits; the others may have a choice of their own.
 * Stops after {@link REPLAYS} replays or {@link SECONDS} seconds, and says so.
 * @returns `found` by kind of op; kinds of which nothing explains an op are absent.
 */
export async function explainChoices(
  { runners, base, holds }: { runners: PolicyRunners; base: Policy; holds: (name: string) => boolean },
  tested: DumpView,
  kinds: readonly LocatedKind[],
  faults: readonly LocatedOp[],
  hooks: Pick<LocalOptions, 'signal' | 'onProgress'>,
): Promise<{ found: Map<string, Explanation[]>; notes: string[] }> {
  const model = runners.model!;
  const { family } = architectureOf(model.config);
  const choicesOf = choiceFinder(model, base);
  const blocks = model.config.num_hidden_layers;
  const open = kinds.slice(0, MAX_KINDS).map(
    (kind): OpenKind => ({
      kind,
      choices: choicesOf(kind.inside),
      ops: faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind),
      found: [],
    }),
  );
  const replay = async (choices: readonly Hypothesis[]): Promise<Errors> => {
    const rules = choices.map(({ sites, set }): PolicyRule => ({ sites, set }));
    const policy = {
      name: 'hypothesis',
      description: 'choices under test',
      rules: [...base.rules, ...rules],
    };
    return localErrors(await runners.use(policy), tested, { right: 'computed', holds, ...hooks });
  };
  const parts = new Map<OpenKind, ChoiceSet[]>();
  const searches = open.map((entry) => ({
    choices: entry.choices,
    search: searchChoices(entry.ops, entry.choices, (set) => {
      if (set.isPart) parts.set(entry, [...(parts.get(entry) ?? []), set]);
      else take(entry, set.ops, choicesSentence(set, entry.kind, family, blocks), set.choices);
    }),
  }));
  const budget = new Budget(REPLAYS, SECONDS, hooks.signal);
  await shareReplays(searches, replay, budget);
  for (const entry of open) await takeSums(entry, { runners, base, tested, family });
  for (const [entry, sets] of parts)
    for (const set of sets) {
      const ops = set.ops.filter((op) => entry.ops.includes(op));
      if (ops.length === 0) continue;
      const words = choicesSentence({ ...set, ops }, entry.kind, family, blocks);
      take(entry, ops, words, set.choices, true);
    }
  const notes = budget.isSpent
    ? [`Choices of dtype and form were tried in ${REPLAYS} replays or ${SECONDS} seconds: not all of them.`]
    : [];
  const explained = open.filter(({ found }) => found.length > 0);
  return { found: new Map(explained.map(({ kind, found }) => [kind.kind, found])), notes };
}

/** The choices in words, with what they take away, and what the error is without each of them. */
function choicesSentence(
  { choices, ops, tied, left, without, isPart }: ChoiceSet,
  { inside }: LocatedKind,
  family: Family,
  blocks: number,
): string {
  const leftOf = ({ tap }: LocatedOp) => left.get(tap)!.nmse;
  const worst = worstOf(ops.filter((op) => !tied.includes(op)));
  const isExpert = hasRole(family, 'router.expert', worst.tap);
  const fallen = `${isExpert ? 'its share of wrong choices' : 'its error'} falls from ${errorWords(sizeOf(worst))} to ${errorWords(leftOf(worst))}`;
  const rest = isPart
    ? `, more than the limit of ${errorWords(worst.limit ?? 0)}: nothing that was tried explains the rest`
    : '';
  const [only] = choices;
  const words = (choice: Hypothesis) => choiceSentence(siteKind(choice.sites), choice.set, choice.at, family);
  if (without === null) return `${words(only!)}: recomputed so, ${fallen}${rest}.`;
  const each = choices
    .map((choice, index) => ({
      at: inside.indexOf(choice.at),
      words: `${words(choice)} (without that ${errorWords(without[index]!)})`,
    }))
    .sort((a, b) => a.at - b.at);
  const where =
    inside.length > 1 ? ` in ${inside.length} ops between which the dumps hold no value` : ' in this op';
  // A sum in another order sends a rounding inside the span to the other side of a tie, in a block or two.
  const ties =
    tied.length === 0
      ? ''
      : ` What is left in ${blockWords(
          tied.map(({ tap }) => tapPlace(tap).block!),
          blocks,
        )} (${errorWords(leftOf(worstOf(tied)))}) is as much as roundings that fall to the other side of a tie leave.`;
  return `choices meet${where}: ${each.map((one) => one.words).join('; ')}. Recomputed with them, ${fallen}${rest}.${ties}`;
}

function take(
  entry: OpenKind,
  ops: readonly LocatedOp[],
  sentence: string,
  choices: readonly Hypothesis[],
  isPart = false,
): void {
  entry.found.push({ sentence, taps: new Set(ops.map(({ tap }) => tap)), choices, isPart });
  entry.ops = entry.ops.filter((op) => !ops.includes(op));
}

/** What of ggml no policy has: flash attention, and sums in F16. Each op is recomputed by itself. */
async function takeSums(
  entry: OpenKind,
  {
    runners,
    base,
    tested,
    family,
  }: { runners: PolicyRunners; base: Policy; tested: DumpView; family: Family },
): Promise<void> {
  const { kind } = entry;
  const names = family.attention;
  const isProduct = storedProducts(runners.model!.config);
  const part = (['weights', 'output'] as const).find((each) => kind.inside.join() === names?.[each]);
  const isFlash = names !== undefined && kind.inside.join() === `${names.weights},${names.output}`;
  const sentenceOf = async ({ tap }: LocatedOp): Promise<string | null> => {
    const block = tapPlace(tap).block!;
    if (isFlash) {
      const errors = await flashErrors(tested, block, names);
      if (errors === undefined || !(errors.flash < EXPLAINS * errors.exact)) return null;
      const which = errors.isAll ? 'its error' : `the error of the first ${errors.rows} positions`;
      return `flash attention over an F16 cache rounds keys, queries, values and the sum of the weighted values to F16: recomputed so, ${which} falls from ${errorWords(errors.exact)} to ${errorWords(errors.flash)}.`;
    }
    if (part !== undefined) {
      const sums = await halfAttention(tested, block, names!, part, EXPLAINS);
      return sums === null ? null : halfAttentionSentence(kind.kind, sums, family);
    }
    if (kind.inside.length > 1 || !isProduct(tap)) return null;
    const sums = await halfSums(runners.model!, base, tested, tap);
    return sums === null ? null : halfSumsSentence(kind.kind, sums, family);
  };
  if (entry.ops.length === 0) return;
  const worst = worstOf(entry.ops);
  const sentence = await sentenceOf(worst);
  if (sentence === null) return;
  const taken = [worst];
  for (const op of entry.ops.slice(0, MAX_SUMS))
    if (op !== worst && (await sentenceOf(op)) !== null) taken.push(op);
  take(entry, taken, sentence, []);
}

function errorWords(error: number): string {
  return error === 0 ? '0' : error.toExponential(1);
}
