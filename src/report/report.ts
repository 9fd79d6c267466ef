import { basename, resolve } from 'node:path';
import { diffDumps } from '../diff/diff.js';
import type { Outcome } from '../diff/outcome.js';
import { pairTaps, type TapPair } from '../diff/pairing.js';
import type { DiffReport } from '../diff/report.js';
import { sideBySide } from '../diff/sides/side-by-side.js';
import type { DumpView } from '../dump/dump-view.js';
import { unmet } from '../errors.js';
import type { LocateReport } from '../locate/faults/report.js';
import { judgeNoise } from '../locate/noise/noise-floor.js';
import { reportFigures } from './build/figures.js';
import { reportHtml } from './build/html.js';
import { manifestFacts, manifestText } from './build/manifests.js';
import { packViews } from './build/pack-views.js';
import { reproduceCommands } from './build/reproduce.js';
import { blockTable, logitsTable, routingTable, tapTable, unpairedTable } from './build/tables.js';
import { fileViews } from './build/tensor-views.js';
import { reportVerdict } from './build/verdict-sentence.js';

/** Options of {@link createReport}. */
export interface ReportOptions {
  /** Heading; default the names of the two dumps. */
  title?: string;
  /** Largest energy NMSE allowed for a floating tap, 0 or more. Default: nothing is judged. */
  failAbove?: number;
  /** As for {@link diffDumps}. Default false. */
  allowNonFinite?: boolean;
  /** The reference's own run in low precision, tier full: every error is shown beside its. */
  noiseFloor?: DumpView;
  /**
   * The map under which the tested dump is seen, as commands of the page spell it. Default: the dump has the
   * tap names.
   */
  mapArgument?: string;
  /** As for {@link diffDumps}. Default: as the dumps say. */
  order?: readonly string[];
  /** The file of that order, as commands of the page spell it. Default: commands name none. */
  orderArgument?: string;
  /** What `locateDumps` found for the same two dumps, and the model it recomputed them with. */
  located?: { report: LocateReport; model: string };
  /** Called with what is being done, and how far it is. */
  onProgress?: (what: 'diff' | 'tensors', done: number, total: number) => void;
}

/** A report as a page. */
export interface Report {
  /** The page: one HTML file that needs nothing else and reads nothing from the network. */
  html: string;
  diff: DiffReport;
  /** As {@link diffDumps} means it. */
  outcome: Outcome;
  sentence: string;
  /** Taps whose tensors the page shows. */
  tensorTaps: number;
}

/**
 * Bytes that one cell of the three grids takes: a byte each, 4/3 of that in base64, of which gzip takes about
 * a tenth.
 */
const CELL_BYTES = 3.7;
/** What the tensors of a report may take, so that a page of 40 blocks x 60 taps stays below 15 MB. */
const TENSOR_BYTES = 7_000_000;
/** Most cells of one grid: beyond it a heat map shows no more. */
const MAX_CELLS = 4096;

/**
 * Compares two dumps and makes a self-contained page of what was found: verdict, linked plots, tables,
 * tensors, manifests, commands. Every name and text of the dumps is escaped, and the page's security policy
 * lets no other script run than its own.
 *
 * Throws `UNPAIRED` for dumps that share no tap; otherwise as {@link diffDumps} and `noiseFloor`.
 */
export async function createReport(
  referenceDump: DumpView,
  testedDump: DumpView,
  options: ReportOptions = {},
): Promise<Report> {
  const [reference, tested] = sideBySide('report', referenceDump, testedDump);
  const { failAbove, allowNonFinite = false, onProgress = () => {} } = options;
  const diff = await diffDumps(reference, tested, {
    allowNonFinite,
    onProgress: (done, total) => onProgress('diff', done, total),
    failAbove,
    order: options.order,
  });
  if (diff.tapReports.length === 0)
    throw unmet(
      'UNPAIRED',
      'report',
      'two dumps that share a tap',
      `none of ${reference.taps.length} and ${tested.taps.length} in common`,
      { where: `${reference.dir}, ${tested.dir}` },
    );
  const judged =
    options.noiseFloor === undefined ? null : await judgeNoise(reference, options.noiseFloor, tested);
  const noise = judged?.taps ?? null;
  const located = options.located?.report ?? null;
  const { packs, packOf } = await packTensors(reference, tested, diff, onProgress);
  const { figures, notes } = await reportFigures({
    reference,
    tested,
    diff,
    noise,
    located,
  });
  const verdict = reportVerdict(diff, judged, located);
  const html = reportHtml({
    title: options.title ?? `${diff.reference.label} against ${diff.tested.label}`,
    ...verdict,
    diff,
    noise: noise === null ? null : { label: basename(resolve(options.noiseFloor!.dir)), taps: noise },
    located,
    notes,
    data: {
      figures,
      taps: tapTable(diff, { noise: byTap(noise), located: byTap(located?.ops ?? null) }),
      blocks: blockTable(diff),
      unpaired: unpairedTable(diff),
      routing: routingTable(diff),
      logits: logitsTable(diff),
      packs: diff.tapReports.map(({ name }) => packOf.get(name) ?? null),
      failAbove: diff.failAbove,
    },
    packs,
    manifests: {
      facts: manifestFacts(reference.manifest, tested.manifest),
      reference: manifestText(reference.manifest),
      tested: manifestText(tested.manifest),
    },
    commands: reproduceCommands({
      reference,
      tested,
      noiseFloor: options.noiseFloor ?? null,
      map: options.mapArgument ?? null,
      order: options.orderArgument ?? null,
      model: options.located?.model ?? null,
      failAbove: diff.failAbove,
      allowNonFinite,
      title: options.title ?? null,
    }),
  });
  return { html, diff, ...verdict, tensorTaps: packOf.size };
}

/** Packs of tensors, one per file, and which of them holds a tap. */
async function packTensors(
  reference: DumpView,
  tested: DumpView,
  { kind, tapReports }: DiffReport,
  onProgress: NonNullable<ReportOptions['onProgress']>,
): Promise<{ packs: string[]; packOf: Map<string, number> }> {
  const packs: string[] = [];
  const packOf = new Map<string, number>();
  if (kind !== 'tensors') return { packs, packOf };
  const cells = Math.min(MAX_CELLS, Math.floor(TENSOR_BYTES / CELL_BYTES / tapReports.length));
  const files = new Map<string, TapPair[]>();
  for (const pair of pairTaps(reference, tested, '**').pairs) {
    const key = `${pair.reference.file} ${pair.tested.file}`;
    files.set(key, [...(files.get(key) ?? []), pair]);
  }
  let done = 0;
  for (const pairs of files.values()) {
    const views = await fileViews(reference, tested, pairs, cells);
    for (const { tap } of views) packOf.set(tap, packs.length);
    if (views.length > 0) packs.push(await packViews(views));
    onProgress('tensors', ++done, files.size);
  }
  return { packs, packOf };
}

function byTap<T extends { tap: string }>(entries: readonly T[] | null): Map<string, T> | null {
  return entries === null ? null : new Map(entries.map((entry) => [entry.tap, entry]));
}
