import { basename, resolve } from 'node:path';
import type { DumpView } from '../dump/dump-view.js';
import type { TapOrder } from '../dump/format.js';
import { mapDump } from '../dump/names/mapped-dump.js';
import type { NameMap } from '../dump/names/name-map.js';
import { namesApart } from '../dump/names/names-apart.js';
import { badArgument } from '../errors.js';
import { tapPattern } from '../tap-pattern.js';
import { diffHashes } from './hash-diff.js';
import { sumNonFinite } from './non-finite.js';
import { outcomeOf } from './outcome.js';
import { type Pairing, pairTaps, type TapPair } from './pairing.js';
import { type DiffReport, type NotCaptured, type SideReport, tapOpen } from './report.js';
import { sharedRoles } from './roles.js';
import { modelNotes } from './sides/model-notes.js';
import { samePlaceNotes } from './sides/same-place.js';
import { sequenceOrderWords } from './sides/sequence-order.js';
import { sideBySide, withoutConfigNotes } from './sides/side-by-side.js';
import { diffStatistics } from './statistics-diff.js';
import { bothZeroWords, exceeds, firstDivergence, summariseBlocks } from './summary.js';
import { isKnownOrder, orderPairs } from './tap-order.js';
import { type CompareRules, type Comparison, diffTensors } from './tensor-diff.js';
import { unpairedNonFinite } from './unpaired-non-finite.js';

/** Options of {@link diffDumps}. */
export interface DiffOptions {
  /** Tap pattern (`src/tap-pattern.ts`); default `**`. */
  taps?: string;
  /** Largest energy NMSE allowed for a floating tap, 0 or more. Default: report only. */
  failAbove?: number;
  /**
   * Names and layouts of the tested dump, where they are another program's. Needs a tested dump of tier full.
   * Default: both have the tap names.
   */
  map?: NameMap;
  /**
   * What is not finite in the same way on both sides (the same infinity, or NaN) is left out and counted,
   * instead of failing the diff. Default false.
   */
  allowNonFinite?: boolean;
  /**
   * Names or patterns in the order in which values were computed (`readTapOrder`), where neither dump knows
   * it or it is wrong; it must have every tap that is compared.
   */
  order?: readonly string[];
  /** Called after each file, with how many are done and in all. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Compares two dumps, tap by tap and row by row, streaming; needs no native addon. What the tested side
 * lacks, and rows that either lacks, are listed and make the outcome a failure, unless that side's own
 * selection left them out. Taps of the tested side alone are noted.
 *
 * Dumps of tier full are compared by value. If one holds statistics only, statistics are; if one holds hashes
 * only, hashes are (computed for a dump of tier full). An import without a config is seen in the shapes of
 * the other dump. Throws `BAD_ARGUMENT` for a bad pattern or threshold, for an import in the place of the
 * reference with transformers' own dump as the tested one, and for tiers stats and hash, which have nothing
 * in common; `BAD_DUMP`; `IO`.
 */
export async function diffDumps(
  referenceDump: DumpView,
  testedDump: DumpView,
  options: DiffOptions = {},
): Promise<DiffReport> {
  const { taps = '**', failAbove, map, allowNonFinite = false, order: declared, onProgress } = options;
  if (failAbove !== undefined && !(failAbove >= 0))
    throw badArgument('diffDumps', 'failAbove to be 0 or more', failAbove);
  const named = map === undefined ? testedDump : await mapDump(testedDump, map, referenceDump);
  const [reference, tested] = sideBySide('diff', referenceDump, named);
  const kind = commonKind(reference, tested);
  const pairing = pairTaps(reference, tested, taps);
  const rules = { allowNonFinite, onProgress: onProgress ?? (() => {}) };
  const { pairs, order } = orderPairs(reference, tested, pairing.pairs, declared);
  const comparison = await compare(kind, reference, tested, pairs, rules);
  const { tapReports } = comparison;
  const unpaired = [...pairing.unpaired, ...comparison.unpaired];
  const compared = tapReports.some((tap) => tap.rows > 0);
  const matches = tapPattern(taps);
  const apart = namesApart(reference, tested, pairedNames(pairing), matches);
  const nonFinite = sumNonFinite(tapReports);
  const alone = await unpairedNonFinite(tested, { kind, matches, tapReports, allowNonFinite });
  const zeros = bothZeroWords(tapReports);
  const fails = tapReports.some((tap) => failAbove !== undefined && exceeds(tap, failAbove));
  // What a run that ended early did not come to has no partner.
  const isPartial = [reference, tested].some(({ manifest }) => manifest.status === 'partial');
  // A lower bound of an error cannot pass a limit.
  const isOpen = failAbove !== undefined && tapReports.some(tapOpen);
  const judged = {
    failAbove: failAbove ?? null,
    pass:
      compared &&
      apart === null &&
      unpaired.length === 0 &&
      !fails &&
      nonFinite.counted === 0 &&
      alone.counted === 0 &&
      !isPartial,
  };
  const outcome = outcomeOf(judged, tapReports);
  return {
    format: 'zayascope-diff',
    version: 1,
    kind,
    reference: describeSide(reference),
    tested: describeSide(tested),
    taps,
    ...judged,
    pass: judged.pass && !isOpen,
    outcome: isOpen && outcome === 'PASS' ? 'NOT JUDGED' : outcome,
    namesApart: apart,
    nonFinite,
    unpairedNonFinite: alone,
    order,
    firstDivergence: firstDivergence(tapReports, failAbove),
    notes: [
      ...(apart === null ? [] : [apart]),
      ...samePlaceNotes(reference.dir, tested.dir),
      ...sequenceOrderNotes(reference, tested),
      ...withoutConfigNotes(reference, tested, unpaired),
      ...(await notes(reference, tested, kind)),
      ...orderNotes(order),
      ...onlyTestedNotes(pairing.onlyTested),
      ...apartNotes(comparison),
      ...(zeros === null ? [] : [`${zeros}.`]),
      ...(compared ? [] : ['Nothing was compared.']),
    ],
    unpaired,
    notCaptured: notCaptured(reference, tested, pairing.notCaptured, comparison.notCaptured),
    blocks: summariseBlocks(tapReports, isKnownOrder(order)),
    tapReports,
    logits: comparison.logits,
    routing: comparison.routing,
  };
}

function sequenceOrderNotes(reference: DumpView, tested: DumpView): string[] {
  const words = sequenceOrderWords(reference, tested);
  return words === null ? [] : [words];
}

/** Also of values that do not fit each other. */
function pairedNames({ pairs, unpaired }: Pairing): string[] {
  const misfits = unpaired.flatMap(({ side, tap }) => (side === 'both' && tap !== null ? [tap] : []));
  return [...pairs.map(({ reference }) => reference.name), ...misfits];
}

/** Nothing speaks for or against what only the tested program shows. */
function onlyTestedNotes(taps: readonly string[]): string[] {
  if (taps.length === 0) return [];
  const are = taps.length === 1 ? '1 tap is' : `${taps.length} taps are`;
  return [`${are} in the tested dump only, first ${taps[0]}: not compared.`];
}

function apartNotes({ apart = 0 }: Comparison): string[] {
  if (apart === 0) return [];
  return [
    `The two runs were cut into forward calls differently: ${apart} ${apart === 1 ? 'value' : 'values'} of a state after a call, or in front of one, ${apart === 1 ? 'stands' : 'stand'} where no call of the other run ends or begins.`,
  ];
}

function compare(
  kind: DiffReport['kind'],
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  rules: CompareRules,
): Promise<Comparison> {
  if (kind === 'tensors') return diffTensors(reference, tested, pairs, rules);
  return kind === 'statistics'
    ? diffStatistics(reference, tested, pairs, rules)
    : diffHashes(reference, tested, pairs, rules);
}

function commonKind(reference: DumpView, tested: DumpView): DiffReport['kind'] {
  const tiers = [reference.manifest.tier, tested.manifest.tier];
  if (tiers.includes('stats') && tiers.includes('hash'))
    throw badArgument(
      'diffDumps',
      'tiers that have something in common',
      tiers.join(' and '),
      `${reference.dir}, ${tested.dir}`,
    );
  if (tiers.includes('hash')) return 'hashes';
  return tiers.includes('stats') ? 'statistics' : 'tensors';
}

function describeSide({ dir, manifest }: DumpView): SideReport {
  const { name, dtype, configSha256, weightsSha256 } = manifest.model;
  return {
    label: basename(resolve(dir)),
    tier: manifest.tier,
    status: manifest.status,
    producer: manifest.producer,
    policy: manifest.policy.name,
    backend: manifest.backend.name,
    model: {
      name,
      dtype,
      configSha256,
      weightsSha256,
    },
  };
}

async function notes(reference: DumpView, tested: DumpView, kind: DiffReport['kind']): Promise<string[]> {
  const found = modelNotes(reference.manifest.model, tested.manifest.model);
  for (const [side, dump] of [['reference', reference] as const, ['tested', tested] as const])
    found.push(...dumpNotes(side, dump));
  if (kind === 'tensors' && sharedRoles(reference, tested) === undefined)
    found.push(
      'Neither dump says which taps hold experts and logits (no roles, and no known model type): routing and logits are left out.',
    );
  if (kind === 'statistics')
    found.push(
      'One side holds statistics only: errors are the least that they allow, and may be larger. Equal statistics are no proof of equal values, and pass no limit.',
    );
  if (kind === 'hashes')
    found.push(
      'One side holds hashes only: values are equal or not, without an error. Where both do, it cannot be told whether values are finite.',
    );
  return found;
}

function orderNotes(order: TapOrder): string[] {
  return isKnownOrder(order)
    ? []
    : [
        'The order in which the values were computed is not known: what comes first, and what a block passes on, cannot be told. Taps are listed by name (--order FILE declares an order, here or in zayascope import).',
      ];
}

function dumpNotes(side: string, dump: DumpView): string[] {
  return dump.manifest.status === 'partial'
    ? [`The ${side} dump is partial: its producer did not finish.`]
    : [];
}

function notCaptured(
  reference: DumpView,
  tested: DumpView,
  taps: { reference: number; tested: number },
  rows: { reference: number; tested: number },
): NotCaptured[] {
  const describe = (side: 'reference' | 'tested', { manifest }: DumpView): NotCaptured => ({
    side,
    selection: `taps ${manifest.selection.taps}, positions ${manifest.selection.positions}`,
    taps: taps[side],
    rows: rows[side],
  });
  return [describe('reference', reference), describe('tested', tested)].filter(
    (side) => side.taps + side.rows > 0,
  );
}
