/** Two runs that are not of the same prompt or the same model: said before any op, and alone. */

import type { FloatTapReport, IntegerTapReport } from '../../diff/report.js';
import { sequenceOrderWords } from '../../diff/sides/sequence-order.js';
import type { DumpView } from '../../dump/dump-view.js';
import { UNKNOWN } from '../../dump/import/foreign.js';
import { tapPlace } from '../replay/tap-graph.js';
import { errorOf } from './evidence.js';
import type { LocalError } from './local.js';
import { label, partialNotes } from './notes.js';
import type { LocateReport } from './report.js';

/** Why the ops of two runs cannot be compared. */
export interface Mismatch {
  kind: 'tokens' | 'weights';
  /** One sentence: which side, and how much. */
  sentence: string;
}

/**
 * Tokens that another dump has at the reference's positions and that are not the reference's; null where all
 * shared ones agree, or the other's are not known.
 */
export function tokenMismatch(reference: DumpView, others: readonly DumpView[]): Mismatch | null {
  for (const other of others) {
    let [shared, differing] = [0, 0];
    let first: string | undefined;
    for (const [sequence, { tokens = [] }] of reference.manifest.sequences.entries()) {
      const theirs = other.manifest.sequences[sequence]?.tokens ?? [];
      for (let position = 0; position < Math.min(tokens.length, theirs.length); position++) {
        shared++;
        if (tokens[position] === theirs[position]) continue;
        differing++;
        const where = sequence === 0 ? '' : ` of sequence ${sequence}`;
        first ??= `position ${position}${where}: token ${tokens[position]} became ${theirs[position]}`;
      }
    }
    if (first === undefined) continue;
    if (tokensUnknown(other))
      return {
        kind: 'tokens',
        sentence: `${label(other)} does not say which tokens it ran: import it with --tokens.`,
      };
    const order = sequenceOrderWords(reference, other);
    if (order !== null) return { kind: 'tokens', sentence: order };
    return {
      kind: 'tokens',
      sentence: `${label(other)} ran another prompt than ${label(reference)}: ${differing} of ${shared} tokens differ, first at ${first}.`,
    };
  }
  return null;
}

/** True of an import that was not given the ids: it has zeros. */
export function tokensUnknown({ manifest }: Pick<DumpView, 'manifest'>): boolean {
  return (
    manifest.producer.importedBy !== undefined &&
    manifest.sequences.every(({ tokens = [] }) => tokens.every((id) => id === 0))
  );
}

/** A dump's own errors, and which of its ops fail. */
export interface WeightEvidence {
  dump: DumpView;
  local: ReadonlyMap<string, LocalError>;
  fails: (error: LocalError) => boolean;
}

/**
 * Shares of the kinds of op with weights that must fail where the identities of the weights differ, and where
 * they are not known.
 */
const SOME = 0.5;
const NEARLY_ALL = 0.9;
/**
 * Energy NMSE that no rounding of weights leaves; where all ops without weights are right, so that nothing is
 * wrong but the weights: that rounding all of them, vectors too, to half precision does not leave.
 */
const LARGE = 1e-2;
const LARGE_ALONE = 1e-5;
/** Share of the kinds of op without weights that may fail for those to count as right. */
const FEW = 0.1;
/** Fewer kinds with weights prove nothing. */
const LEAST_KINDS = 4;

/**
 * Weights other than the model's, which show in every op that has weights. `others`: dumps whose manifest
 * names other weights; `weighted`: values whose ops have weights.
 */
export function weightsMismatch(
  evidence: readonly WeightEvidence[],
  others: readonly Pick<DumpView, 'dir'>[],
  weighted: ReadonlySet<string>,
): Mismatch | null {
  for (const { dump, local, fails } of evidence) {
    const kinds = new Map<string, { fails: boolean; large: boolean }>();
    const rightBlocks = new Map<number, boolean>();
    const large = areOthersRight(local, fails, weighted) ? LARGE_ALONE : LARGE;
    for (const [name, error] of local) {
      if (error.tap.dtype === 'I32' || !weighted.has(name)) continue;
      const { block, suffix } = tapPlace(name);
      const seen = kinds.get(suffix) ?? { fails: false, large: false };
      const isLarge = fails(error) && error.nmse > large && error.nonFinite.dumped === 0;
      if (block !== null) rightBlocks.set(block, (rightBlocks.get(block) ?? true) && !fails(error));
      kinds.set(suffix, { fails: seen.fails || fails(error), large: seen.large || isLarge });
    }
    const count = (wanted: 'fails' | 'large') => [...kinds.values()].filter((each) => each[wanted]).length;
    const isOther = others.some(({ dir }) => dir === dump.dir);
    const isUnknown = dump.manifest.model.weightsSha256 === UNKNOWN;
    const proven = isOther
      ? count('fails') >= SOME * kinds.size
      : // Where a whole block is right the model is the same, and another block's weights are a fault.
        isUnknown &&
        ![...rightBlocks.values()].includes(true) &&
        kinds.size >= LEAST_KINDS &&
        count('large') >= NEARLY_ALL * kinds.size;
    if (kinds.size > 0 && proven)
      return {
        kind: 'weights',
        sentence: `${label(dump)} was made with other weights than the model's: ${count('fails')} of ${kinds.size} kinds of op with weights give other values on the same inputs.`,
      };
  }
  return null;
}

/** True where nearly all kinds of op without weights, and at least {@link LEAST_KINDS}, are right. */
function areOthersRight(
  local: WeightEvidence['local'],
  fails: WeightEvidence['fails'],
  weighted: ReadonlySet<string>,
): boolean {
  const kinds = new Map<string, boolean>();
  for (const [name, error] of local) {
    if (error.tap.dtype === 'I32' || weighted.has(name)) continue;
    const { suffix } = tapPlace(name);
    kinds.set(suffix, (kinds.get(suffix) ?? false) || fails(error));
  }
  const failing = [...kinds.values()].filter(Boolean).length;
  return kinds.size - failing >= LEAST_KINDS && failing <= FEW * kinds.size;
}

/** The report of two runs whose ops cannot be compared. */
export function mismatchReport(
  header: Pick<LocateReport, 'format' | 'version' | 'mode' | 'reference' | 'tested' | 'noise' | 'order'>,
  mismatch: Mismatch,
  reports: readonly (FloatTapReport | IntegerTapReport)[],
  dumps: readonly DumpView[],
): LocateReport {
  // Where no token is the same nothing was compared.
  const last = reports.findLast(({ kind }) => kind === 'float') ?? reports.at(-1);
  return {
    ...header,
    recomputed: null,
    found: true,
    mismatch,
    otherFile: null,
    unjudged: null,
    firstFault: null,
    nonFinite: null,
    unpairedNonFinite: null,
    unfit: [],
    final: {
      tap: last?.name ?? dumps[0]!.taps.at(-1)!.name,
      nmse: last === undefined ? Number.NaN : errorOf(last),
      floorNmse: null,
      noise: null,
    },
    kinds: [],
    causes: [],
    choices: [],
    bisect: null,
    ops: [],
    noiseByTap: null,
    floor: null,
    routing: null,
    notes: partialNotes(dumps),
  };
}
