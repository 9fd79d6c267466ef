/** Choices of dtype or form that explain ops at fault: of one kind in some blocks, or in all. */
import type { DumpView } from '../../../dump/dump-view.js';
import type { Family } from '../../../families/family.js';
import { hasRole } from '../../../families/roles.js';
import {
  familyPolicies,
  type Policy,
  type PolicyRule,
  resolvePolicy,
  siteKind,
} from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { flashErrors } from '../../causes/flash-attention.js';
import { tapPlace } from '../../replay/tap-graph.js';
import { storedProducts } from '../dtypes/stored-types.js';
import { sizeOf, worstOf } from '../evidence.js';
import { halfAttention } from '../ggml/half-attention.js';
import { halfSums } from '../ggml/half-sums.js';
import { type LocalOptions, localErrors } from '../local.js';
import { blockWords, choiceSentence, halfAttentionSentence, halfSumsSentence } from '../plain-words.js';
import type { LocatedKind, LocatedOp } from '../report.js';
import type { PolicyRunners } from '../runners.js';
import { choiceFinder, type Hypothesis, MAX_CHOICES } from './hypotheses.js';

/** An own error must fall to a hundredth of its energy for a choice to explain it. */
const EXPLAINS = 0.01;
/**
 * As structures, choices that meet in a span need leave no more than this: roundings in it fall otherwise.
 */
const EXPLAINS_TOGETHER = 0.05;
/** Of the few blocks in which a rounding falls otherwise. */
const MOST_OF_TIES = 0.5;
/** Kinds of op that are explained; one replay serves them all. */
const MAX_KINDS = 64;
/** Blocks of a kind for which a sum that no policy has is recomputed. */
const MAX_SUMS = 64;

/** What explains ops of one kind. */
export interface Explanation {
  /** A clause that names no block, with the errors of the worst of them. */
  sentence: string;
  /** The ops. */
  taps: ReadonlySet<string>;
  /** As a rule; undefined where no policy has it. */
  choice: Hypothesis | undefined;
}

/** Ops of a kind that nothing explains yet. */
interface OpenKind {
  kind: LocatedKind;
  choices: readonly Hypothesis[];
  ops: readonly LocatedOp[];
  /** Choices that explain some of them, but not the worst. */
  seconds: { choice: Hypothesis; left: ReadonlyMap<string, number> }[];
  found: Explanation[];
}

/**
 * Tries whether known choices of dtype or form explain ops at fault: each is recomputed from the tested
 * dump's inputs under `base` with that choice, and where that leaves less than a hundredth of its own error,
 * the choice is named. One replay serves one choice of every kind at once, for each op reads the dump's
 * values. What explains the worst op of a kind explains others of it where their errors fall as much, or to
 * within their limits; the others may have a choice of their own.
 * @returns by kind of op; kinds of which nothing explains an op are absent.
 */
export async function explainChoices(
  { runners, base, holds }: { runners: PolicyRunners; base: Policy; holds: (name: string) => boolean },
  tested: DumpView,
  kinds: readonly LocatedKind[],
  faults: readonly LocatedOp[],
  hooks: Pick<LocalOptions, 'signal' | 'onProgress'>,
): Promise<Map<string, Explanation[]>> {
  const { config } = runners.model!;
  const { family } = architectureOf(config);
  const choicesOf = choiceFinder(config);
  const open = kinds.slice(0, MAX_KINDS).map(
    (kind): OpenKind => ({
      kind,
      choices: choicesOf(kind.inside),
      ops: faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind),
      seconds: [],
      found: [],
    }),
  );
  const triedWith = async (rules: readonly PolicyRule[]) => {
    const policy = {
      name: 'hypothesis',
      description: 'choices under test',
      rules: [...base.rules, ...rules],
    };
    return localErrors(await runners.use(policy), tested, { right: 'computed', holds, ...hooks });
  };
  for (let round = 0; round < MAX_CHOICES; round++) {
    const trying = open.filter(({ choices, ops }) => choices[round] !== undefined && ops.length > 0);
    if (trying.length === 0) break;
    const local = await triedWith(trying.map(({ choices }) => asRule(choices[round]!)));
    for (const entry of trying) {
      const left = new Map(entry.ops.map(({ tap }) => [tap, local.get(tap)!.nmse]));
      entry.seconds.push({ choice: entry.choices[round]!, left });
      takeChoices(entry, family, (tap) => tap === worstOf(entry.ops).tap);
    }
  }
  for (const entry of open) takeChoices(entry, family, () => true);
  for (const preset of portPresets(family)) {
    const spans = open.filter(({ kind, ops }) => kind.inside.length > 1 && ops.length > 0);
    if (spans.length === 0) break;
    const local = await triedWith(preset.rules);
    for (const entry of spans) takeTogether(entry, family, preset, local, config.num_hidden_layers);
  }
  for (const entry of open) await takeSums(entry, { runners, base, tested, family });
  return new Map(open.filter(({ found }) => found.length > 0).map(({ kind, found }) => [kind.kind, found]));
}

/** Takes choices that explain an op for which `counts`, with all other ops that they explain. */
function takeChoices(entry: OpenKind, family: Family, counts: (tap: string) => boolean): void {
  for (let isFound = true; isFound && entry.ops.length > 0; ) {
    isFound = false;
    for (const { choice, left } of entry.seconds) {
      const own = entry.ops.filter(({ tap, ...op }) => left.get(tap)! < EXPLAINS * sizeOf(op));
      if (!own.some(({ tap }) => counts(tap))) continue;
      // What falls to within its limit needs no other choice.
      const taken = entry.ops.filter((op) => own.includes(op) || left.get(op.tap)! <= (op.limit ?? 0));
      const worst = worstOf(own);
      const what = hasRole(family, 'router.expert', worst.tap) ? 'its share of wrong choices' : 'its error';
      const words = choiceWords(choice, family);
      const fallen = `recomputed so, ${what} falls from ${errorWords(sizeOf(worst))} to ${errorWords(left.get(worst.tap)!)}.`;
      take(entry, taken, `${words}: ${fallen}`, choice);
      isFound = true;
      break;
    }
  }
}

/** Presets of what ports choose in dtype and form, but for the types of weights. */
function portPresets(family: Family): Policy[] {
  return Object.values(familyPolicies(family)).filter(
    ({ rules }) => rules.length > 1 && !rules.some(({ sites }) => /#(round|weight|parameters)$/.test(sites)),
  );
}

/** Takes ops of a span in which choices of a port meet, of which none explains it alone. */
function takeTogether(
  entry: OpenKind,
  family: Family,
  preset: Policy,
  local: ReadonlyMap<string, { nmse: number }>,
  blocks: number,
): void {
  const setting = resolvePolicy(preset);
  const meet = entry.choices.filter(({ sites, set }) => setting(sites.replace('*', '0')) === set);
  const leftOf = ({ tap }: LocatedOp) => local.get(tap)!.nmse;
  const own = entry.ops.filter((op) => leftOf(op) < EXPLAINS_TOGETHER * sizeOf(op));
  if (meet.length < 2 || own.length === 0) return;
  const worst = worstOf(own);
  const taken = entry.ops.filter((op) => own.includes(op) || leftOf(op) <= (op.limit ?? 0));
  // A sum in another order sends a rounding inside the span to the other side of a tie, in a block or two.
  const tied = entry.ops.filter((op) => !taken.includes(op) && leftOf(op) < MOST_OF_TIES * sizeOf(op));
  const isUsual = tied.length > 0 && 2 * tied.length < taken.length;
  const ties = isUsual
    ? ` What is left in ${blockWords(
        tied.map(({ tap }) => tapPlace(tap).block!),
        blocks,
      )} (${errorWords(leftOf(worstOf(tied)))}) is as much as roundings that fall to the other side of a tie leave.`
    : '';
  const words = [...new Set(meet.map((choice) => choiceWords(choice, family)))].join('; ');
  take(
    entry,
    isUsual ? [...taken, ...tied] : taken,
    `choices meet in ${entry.kind.inside.length} ops between which the dumps hold no value, all of policy ${preset.name}: ${words}. Recomputed with them, its error falls from ${errorWords(sizeOf(worst))} to ${errorWords(leftOf(worst))}.${ties}`,
    undefined,
  );
}

function choiceWords({ sites, set, at }: Hypothesis, family: Family): string {
  return choiceSentence(siteKind(sites), set, at, family);
}

function asRule({ sites, set }: Hypothesis): PolicyRule {
  return { sites, set };
}

function take(
  entry: OpenKind,
  ops: readonly LocatedOp[],
  sentence: string,
  choice: Hypothesis | undefined,
): void {
  entry.found.push({ sentence, taps: new Set(ops.map(({ tap }) => tap)), choice });
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
  take(entry, taken, sentence, undefined);
}

function errorWords(error: number): string {
  return error === 0 ? '0' : error.toExponential(1);
}
