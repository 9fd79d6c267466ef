import { tapPlace } from '../replay/tap-graph.js';
import type { LocalError } from './local.js';
import { blockWords, opWords } from './plain-words.js';
import type { LocatedKind, LocatedOp, LocateReport, NonFiniteOrigin } from './report.js';
import type { SpreadAxis } from './spread.js';

/** What {@link locatedKinds} works on. */
export interface KindInput {
  mode: LocateReport['mode'];
  /** Ops at fault, in execution order. */
  faults: readonly LocatedOp[];
  blocks: number;
  nonFinite: NonFiniteOrigin | null;
  shares: ReadonlyMap<string, number>;
  local: ReadonlyMap<string, LocalError>;
  /** Sentence of a kind that a choice of the policy explains. */
  explained: ReadonlyMap<string, string>;
  /** Command line of the next step for an op. */
  next: (tap: string) => string;
}

/**
 * Ops at fault by kind: the origin of NaN or infinity first, then by estimated share of the final error; those whose share is the same (or unknown) by error over limit, and then in
 * execution order. In a dump of another program the first fault comes before those: what follows may be its consequence, where a policy's choices are independent of each other.
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
  const size = (op: LocatedOp) => op.local ?? op.cumulative;
  const ratio = (op: LocatedOp) => Math.min(1e100, size(op)) / (op.limit ?? 1);
  const worst = ops.reduce((best, op) => (ratio(op) > ratio(best) ? op : best));
  const sorted = ops.map(size).sort((a, b) => a - b);
  const blocks = ops.map(({ block }) => block).filter((block) => block !== null);
  const { name } = opWords(kind);
  const local = input.local.get(worst.tap);
  const spread = local?.spread ?? null;
  return {
    kind,
    name,
    blocks,
    worst: worst.tap,
    largest: sorted.at(-1)!,
    median: sorted[(sorted.length - 1) >> 1]!,
    limit: worst.limit ?? 0,
    place: local?.place ?? null,
    spread,
    sentence: sentence(input.explained.get(kind) ?? sentenceOf(kind, blocks, worst, local, input)),
    next: input.next(worst.tap),
  };
}

function sentenceOf(
  kind: string,
  blocks: readonly number[],
  worst: LocatedOp,
  local: LocalError | undefined,
  { mode, blocks: total, nonFinite }: KindInput,
): string {
  const { name, check } = opWords(kind);
  const where = blocks.length === 0 ? '' : ` in ${blockWords(blocks, total)}`;
  if (nonFinite !== null && tapPlace(nonFinite.tap).suffix === kind)
    return `${nonFinite.count} ${nonFinite.count === 1 ? 'value that is NaN or infinite arises' : 'values that are NaN or infinite arise'} in ${name}${where}: its inputs have none.`;
  if (mode === 'dumps-alone') return `${name}${where} fails while its inputs pass. Check: ${check}.`;
  const spread = local?.spread ?? null;
  const columns = spread === null ? '' : axisWords(spread.columns, 'column', 'columns');
  const tokens = spread === null ? '' : axisWords(spread.tokens, 'token position', 'token positions');
  const held = [columns, tokens].filter((words) => words !== '').join(' and ');
  const concentrated = held === '' ? '' : ` Nearly all of its error is in ${held}.`;
  const given = worst.inputs.length === 0 ? 'of the weights alone' : 'of the very inputs that it got';
  return `${name}${where} goes wrong by itself: the right op makes another value ${given}. Check: ${check}.${concentrated}`;
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
