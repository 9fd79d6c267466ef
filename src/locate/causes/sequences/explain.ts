/** Looks for sequences of a batch that get into each other, in ops at fault of a dump of several. */
import { siteKind } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { formatError } from '../../../text-table.js';
import { worstOf } from '../../faults/evidence.js';
import { choicesInside } from '../../faults/explain/hypotheses.js';
import { blockWords, choiceSentence } from '../../faults/plain-words.js';
import type { LocatedKind, LocatedOp } from '../../faults/report.js';
import { tapPlace } from '../../replay/tap-graph.js';
import type { LocatedCause, StructureInput } from '../explain.js';
import { Budget } from '../search.js';
import { valueWords } from '../words.js';
import { errorWith, type FoundWay, LEAVES, type Way, wayOf, wayWords } from './ways.js';

/** Kinds of op that are tried. */
const TRIED = 6;
/** Blocks of a kind that what was found of others leaves are looked at again so many times. */
const AGAIN = 2;
/** A choice of dtype explains the rest where it falls to this share. */
const EXPLAINS = 0.01;
/** Computations of ops with something mixed before their end, and seconds, in all. */
const TRIES = 3000;
const SECONDS = 30;

/**
 * Tries for each kind of op whether the error is that of sequences computed as one, or read in each other's
 * place, and where that leaves something whether a choice of dtype explains the rest. Nothing is tried in
 * dumps of one sequence.
 */
export async function explainSequences(
  input: StructureInput,
): Promise<{ causes: LocatedCause[]; notes: string[] }> {
  const { runners, base, tested, kinds, faults, signal } = input;
  const lengths = tested.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  if (lengths.length < 2 || lengths.includes(0)) return { causes: [], notes: [] };
  await runners.use(base);
  const budget = new Budget(TRIES, SECONDS, signal);
  const causes: LocatedCause[] = [];
  for (const kind of kinds.slice(0, TRIED)) {
    if (tested.tap(kind.worst).dtype === 'I32') continue;
    let ops = faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind);
    for (let search = 0; search <= AGAIN && ops.length > 0; search++) {
      const worst = worstOf(ops);
      const found = await wayOf(input, worst.tap, worst.limit ?? 0, lengths, budget);
      if (found === undefined) break;
      const cause = await causeOf(input, kind, { worst, ops, found }, lengths);
      causes.push(cause);
      ops = ops.filter(({ tap }) => !cause.taps.includes(tap));
    }
  }
  const notes = budget.isSpent
    ? [`Mixed sequences were tried in ${TRIES} computations or ${SECONDS} seconds: not all of them.`]
    : [];
  return { causes, notes };
}

async function causeOf(
  input: StructureInput,
  kind: LocatedKind,
  { worst, ops, found }: { worst: LocatedOp; ops: readonly LocatedOp[]; found: FoundWay },
  lengths: readonly number[],
): Promise<LocatedCause> {
  const { base, runners } = input;
  const { config } = runners.model!;
  const { way, before, after } = found;
  const blocks: number[] = [];
  const taps: string[] = [];
  for (const { tap, block } of ops) {
    if (block === null && tap !== worst.tap) continue;
    const left = tap === worst.tap ? after : await errorWith(input, base, tap, lengths, way);
    if (left === undefined || left > LEAVES * before) continue;
    taps.push(tap);
    if (block !== null) blocks.push(block);
  }
  blocks.sort((a, b) => a - b);
  const isRight = after <= (worst.limit ?? 0);
  const rest = isRight ? undefined : await restOf(input, kind, worst.tap, lengths, way, after);
  const { family } = architectureOf(config);
  const where = blocks.length === 0 ? '' : ` in ${blockWords(blocks, config.num_hidden_layers)}`;
  const left =
    rest === undefined
      ? ''
      : ` What is left: ${choiceSentence(siteKind(rest.sites), rest.set, kind.kind, family)}, with which it falls to ${formatError(rest.error)}.`;
  return {
    key: `sequences ${wayWords(way, worst.tap)}`,
    sentence: `The sequences of the batch are ${placeWords(way, worst.tap)}${where}: ${wayWords(way, worst.tap)}. NMSE ${formatError(before)} as given, ${formatError(after)} so.${left} A batch of one sequence would not show it.`,
    kinds: [kind.kind],
    taps,
    blocks,
    before,
    after: rest?.error ?? after,
    ties: [],
  };
}

/** Where they are mixed. */
function placeWords(way: Way, tap: string): string {
  const name = valueWords(tap);
  if (way === 'as one sequence') return `computed as one in ${name}`;
  const { before } = way;
  if (before === undefined) return `mixed in ${name}`;
  const value = valueWords(before.tap);
  return before.isRead
    ? `mixed where ${name} reads ${value}`
    : `mixed in ${value}, which the dumps do not hold and ${name} is made of,`;
}

/** The choice of dtype that explains what is left. */
async function restOf(
  input: StructureInput,
  { inside }: LocatedKind,
  worst: string,
  lengths: readonly number[],
  way: Way,
  after: number,
): Promise<{ sites: string; set: string; error: number } | undefined> {
  let best: { sites: string; set: string; error: number } | undefined;
  for (const choice of choicesInside(inside, input.runners.model!, input.base)) {
    const policy = { ...input.base, rules: [...input.base.rules, choice] };
    const error = await errorWith(input, policy, worst, lengths, way);
    if (error !== undefined && error < EXPLAINS * after && error < (best?.error ?? after))
      best = { ...choice, error };
  }
  return best;
}
