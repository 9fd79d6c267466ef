import type { Family } from '../../families/family.js';
import { formatError } from '../../text-table.js';
import type { LocatedCause } from '../causes/explain.js';
import { tapPlace } from '../replay/tap-graph.js';
import { sizeOf, worstOf } from './evidence.js';
import type { LocalError } from './local.js';
import { blockWords, opWords } from './plain-words.js';
import type { KindPart, LocatedKind, LocatedOp, LocateReport, NonFiniteOrigin } from './report.js';
import type { SpreadAxis } from './spread.js';
import { entriesWords, type WrongEntries } from './where/entries.js';
import { beginWords, type FirstWrong, firstOfAll } from './where/row-errors.js';

/** What {@link locatedKinds} works on. */
export interface KindInput {
  mode: LocateReport['mode'];
  /** Ops at fault, in execution order. */
  faults: readonly LocatedOp[];
  blocks: number;
  /** Whose words are used. */
  family: Family;
  nonFinite: NonFiniteOrigin | null;
  shares: ReadonlyMap<string, number>;
  local: ReadonlyMap<string, LocalError>;
  /** What choices explain, by kind: a clause, and the ops; null: all of the kind. */
  explained: ReadonlyMap<string, readonly { sentence: string; taps: ReadonlySet<string> | null }[]>;
  /** Structures that explain kinds. */
  causes: readonly LocatedCause[];
  /** Ops for which the cause of others of their kind could not be tried. Default: none. */
  unknown?: ReadonlySet<string>;
  /** Where the error of each op begins, and how many forward calls the run has. */
  begins: ReadonlyMap<string, FirstWrong>;
  /** The entries of its axes in which the error of each op lies. */
  within: ReadonlyMap<string, readonly WrongEntries[]>;
  steps: number;
  /** Command line of the next step for an op. */
  next: (tap: string) => string;
}

/**
 * Ops at fault by kind: the origin of NaN or infinity first, then by estimated share of the final error;
 * those whose share is the same (or unknown) by error over limit, and then in execution order. In a dump of
 * another program the first fault comes before those: what follows may be its consequence, where a policy's
 * choices are independent of each other.
 */
export function locatedKinds(input: KindInput): LocatedKind[] {
  const { faults, shares, nonFinite, mode } = input;
  const groups = new Map<string, LocatedOp[]>();
  for (const op of faults) {
    const kind = tapPlace(op.tap).suffix;
    groups.set(kind, [...(groups.get(kind) ?? []), op]);
  }
  const origin = nonFinite === null ? null : tapPlace(nonFinite.tap).suffix;
  const kinds = [...groups].map(([kind, ops]) => ({
    ...describe(kind, ops, input),
    share: mode === 'dumps-alone' ? null : (shares.get(kind) ?? 0),
  }));
  const first = mode === 'policy' || faults.length === 0 ? null : tapPlace(faults[0]!.tap).suffix;
  const rank = ({ kind, share }: LocatedKind) => (kind === origin ? 3 : kind === first ? 2 : (share ?? 0));
  return kinds.sort((a, b) => rank(b) - rank(a) || excess(b) - excess(a) || 0);
}

/** How far a kind's worst error lies above its limit. */
function excess({ largest, limit }: LocatedKind): number {
  return Math.min(1e100, largest) / limit;
}

function describe(kind: string, ops: readonly LocatedOp[], input: KindInput): Omit<LocatedKind, 'share'> {
  // All figures of a kind are those of one op.
  const worst = worstOf(ops);
  const sorted = ops.map(sizeOf).sort((a, b) => a - b);
  const blocks = ops.map(({ block }) => block).filter((block) => block !== null);
  const inside = worst.inside.map((tap) => tapPlace(tap).suffix);
  const local = input.local.get(worst.tap);
  const spread = local?.spread ?? null;
  const begins = firstOfAll(ops.flatMap(({ tap }) => input.begins.get(tap) ?? []));
  const within = input.within.get(worst.tap) ?? [];
  const parts = explainedParts(kind, ops, inside, input);
  const [only] = parts.length === 1 ? parts : [];
  const words = only?.sentence ?? sentenceOf(kind, blocks, worst, local, input);
  return {
    kind,
    name: spanName(inside, input.family),
    inside,
    blocks,
    worst: worst.tap,
    largest: sizeOf(worst),
    median: sorted[(sorted.length - 1) >> 1]!,
    limit: worst.limit ?? 0,
    place: local?.place ?? null,
    spread,
    begins,
    within: [...within],
    cause: only?.cause ?? null,
    parts: only === undefined ? parts : [],
    sentence:
      parts.length > 1
        ? parts.map((part) => partWords(part, input.blocks)).join(' ')
        : `${sentence(words)}${entriesOf(ops, input)}${beginWords(begins, input.steps)}`,
    next: input.next(
      input.nonFinite !== null && kindOf(input.nonFinite.tap) === kind ? input.nonFinite.tap : ops[0]!.tap,
    ),
  };
}

/**
 * What explains ops of a kind, in the order of their first blocks, and at the end those that nothing
 * explains; empty where nothing explains any. Of several parts each says where its error lies and begins.
 */
function explainedParts(
  kind: string,
  ops: readonly LocatedOp[],
  inside: readonly string[],
  input: KindInput,
): KindPart[] {
  const { explained, causes, family, unknown } = input;
  const found: (KindPart & { ops: readonly LocatedOp[] })[] = [];
  const left = new Set(ops);
  const add = (sentence: string, cause: number | null, holds: (op: LocatedOp) => boolean): void => {
    const own = ops.filter(holds);
    if (own.length === 0) return;
    for (const op of own) left.delete(op);
    const blocks = own.map(({ block }) => block).filter((block) => block !== null);
    found.push({ blocks, cause, sentence, ops: own });
  };
  for (const { sentence, taps } of explained.get(kind) ?? [])
    add(sentence, null, ({ tap }) => taps?.has(tap) ?? true);
  for (const [index, cause] of causes.entries())
    if (cause.kinds.includes(kind))
      add(causeWords(kind, inside, cause, family), index, ({ tap }) => cause.taps.includes(tap));
  if (found.length === 0) return [];
  found.sort((a, b) => (a.blocks[0] ?? 0) - (b.blocks[0] ?? 0));
  const others = [...left].filter(({ tap }) => unknown?.has(tap) !== true);
  if (others.length > 0)
    add(
      `nothing that was tried explains the error (${formatError(Math.max(...others.map(sizeOf)))}).`,
      null,
      (op) => others.includes(op),
    );
  return found.map(({ ops: own, ...part }) => {
    if (found.length === 1) return part;
    const begins = firstOfAll(own.flatMap(({ tap }) => input.begins.get(tap) ?? []));
    return {
      ...part,
      sentence: `${part.sentence}${entriesOf(own, input)}${beginWords(begins, input.steps)}`,
    };
  });
}

/** Where the error of the worst op lies; its block is named if others' errors lie elsewhere. */
function entriesOf(ops: readonly LocatedOp[], { within }: KindInput): string {
  const worst = worstOf(ops);
  const own = within.get(worst.tap) ?? [];
  const places = (all: readonly WrongEntries[]) => all.map(({ axis, wrong }) => `${axis} ${wrong}`).join();
  // Of one wrong token it cannot be told whether its expert is meant.
  const isOfTokens = own.every(({ axis }) => axis === 'expert' || axis === 'skip class');
  const isSame = ops.every(({ tap }) => {
    const other = within.get(tap) ?? [];
    return places(other) === places(own) || (other.length === 0 && isOfTokens);
  });
  return entriesWords(own, isSame ? undefined : worst.block);
}

/** A cause of structure says itself where it is. */
function partWords({ blocks, cause, sentence: words }: KindPart, total: number): string {
  if (cause !== null || blocks.length === 0) return sentence(words);
  return `In ${blockWords(blocks, total)}: ${words}`;
}

/** The sentence of a cause stands at its first kind; the others point to it. */
function causeWords(kind: string, inside: readonly string[], cause: LocatedCause, family: Family): string {
  const [first] = cause.kinds;
  if (kind !== first) return `it has the same cause as ${opWords(first!, family).name}.`;
  const span = inside.length > 1 ? ` The dumps hold no value between ${spanList(inside, family)}.` : '';
  return cause.sentence + span;
}

function sentenceOf(
  kind: string,
  blocks: readonly number[],
  worst: LocatedOp,
  local: LocalError | undefined,
  { mode, blocks: total, nonFinite, family, within }: KindInput,
): string {
  const inside = worst.inside.map(kindOf);
  const [name, check] = [spanName(inside, family), spanCheck(inside, family)];
  const where = blocks.length === 0 ? '' : ` in ${blockWords(blocks, total)}`;
  if (nonFinite !== null && tapPlace(nonFinite.tap).suffix === kind)
    return `${nonFinite.count} ${nonFinite.count === 1 ? 'value that is NaN or infinite arises' : 'values that are NaN or infinite arise'} in ${name}${where}: its inputs have none.`;
  const isSpan = inside.length > 1;
  if (mode === 'dumps-alone')
    return isSpan
      ? `the values before these ${inside.length} ops${where} pass, the one after them fails: ${spanList(inside, family)}. Check: ${check}.`
      : `${name}${where} fails while its inputs pass. Check: ${check}.`;
  const spread = local?.spread ?? null;
  // Heads and channels say more than columns.
  const hasEntries = (within.get(worst.tap) ?? []).some(
    ({ axis }) => axis !== 'expert' && axis !== 'skip class',
  );
  const columns = spread === null || hasEntries ? '' : axisWords(spread.columns, 'column', 'columns');
  const tokens = spread === null ? '' : axisWords(spread.tokens, 'token position', 'token positions');
  const held = [columns, tokens].filter((words) => words !== '').join(' and ');
  const which = blocks.length > 1 ? ` in block ${worst.block}` : '';
  const concentrated = held === '' ? '' : ` Nearly all of its error${which} is in ${held}.`;
  if (isSpan)
    return `one of ${inside.length} ops${where} goes wrong, for the dumps hold no value between them: ${spanList(inside, family)}. Check: ${check}.${concentrated}`;
  const given = worst.inputs.length === 0 ? 'of the weights alone' : 'of the very inputs that it got';
  // Under f32 the same op is within its limit.
  if (mode === 'policy')
    return `${name}${where} makes another value ${given} than under f32: this is what the policy asks for.${concentrated}`;
  return `${name}${where} goes wrong by itself: the right op makes another value ${given}. Check: ${check}.${concentrated}`;
}

function kindOf(tap: string): string {
  return tapPlace(tap).suffix;
}

/** Ops of a span that are named; all checks of these are joined. */
const NAMED = 8;
/** Checks of a longer span, for which more values are asked. */
const CHECKED = 3;

/** The op in words; of several, from the first to the last. */
function spanName(inside: readonly string[], family: Family): string {
  const last = opWords(inside.at(-1)!, family).name;
  return inside.length === 1 ? last : `${opWords(inside[0]!, family).name} to ${last} (${inside.length} ops)`;
}

function spanList(inside: readonly string[], family: Family): string {
  const names = [...new Set(inside.map((kind) => opWords(kind, family).name))];
  const more = names.length - NAMED;
  // The last op is where the error shows.
  return more <= 0
    ? names.join(', ')
    : `${names.slice(0, NAMED - 1).join(', ')}, ${more} more, ${names.at(-1)}`;
}

function spanCheck(inside: readonly string[], family: Family): string {
  const checks = [...new Set(inside.map((kind) => opWords(kind, family).check))];
  if (inside.length <= NAMED) return checks.join('; ');
  const shown = checks.slice(0, CHECKED).join('; ');
  return `${shown}; and so on: more values in both dumps would tell these ops apart (--json lists them)`;
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Shorter axes are not worth a word; of longer ones, an eighth is few. */
const LEAST_AXIS = 8;

/** Words for an error that lies in few entries of an axis; '' where it is spread. */
function axisWords({ count, size, largest }: SpreadAxis, one: string, many: string): string {
  if (count === 0 || size < LEAST_AXIS || count > size / LEAST_AXIS) return '';
  const listed = largest.slice(0, 4).join(', ');
  return count === 1
    ? `${one} ${listed}`
    : `${count} of ${size} ${many} (${listed}${count > 4 ? ', …' : ''})`;
}
