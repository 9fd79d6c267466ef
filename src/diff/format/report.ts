import {
  type Cell,
  formatError,
  formatShare,
  rendered,
  type Style,
  shortSelection,
  styled,
  textTable,
} from '../../text-table.js';
import { limitWords, OUTCOME_STYLES } from '../outcome.js';
import type { DiffReport, NotCaptured, TapReport, Unpaired } from '../report.js';
import { tapDiffering, tapError, tapNonFinite, tapOpen } from '../report.js';
import { unscoredChoices } from '../routing-scores.js';
import { comparedTaps, exceeds } from '../summary.js';
import { orderWords } from '../tap-order.js';
import { diffNonFiniteLines, placeWords, sideCounts } from './non-finite.js';

/** Options of {@link formatReport} and `formatComparison`. */
export interface FormatOptions {
  /** ANSI colours. Default false. */
  color?: boolean;
  /** List every tap under its block, not only the worst one. Default false. */
  verbose?: boolean;
}

/** Unpaired entries and flips shown without `verbose`. */
const FEW = 10;

/**
 * The report for people: verdict, first divergence, what is missing, then a line per block, and with
 * `verbose` one per tap.
 */
export function formatReport(
  report: DiffReport,
  { color = false, verbose = false }: FormatOptions = {},
): string {
  const sections = [
    headLines(report, color),
    unpairedLines(report, color, verbose),
    blockLines(report, color),
    verbose ? tapLines(report, color) : [],
    routingLines(report, verbose),
    logitsLines(report),
  ];
  return rendered(sections);
}

function headLines(report: DiffReport, color: boolean): string[] {
  const { reference, tested, failAbove, outcome, firstDivergence, notes, tapReports, unpaired } = report;
  const compared = comparedTaps(tapReports);
  const lines = [
    `${reference.label} (reference, ${reference.policy}) against ${tested.label} (${tested.policy})`,
  ];
  const counts = `${countOfAll(compared.length, tapReports.length)} taps compared, ${sameWords(report)}, ${unpaired.length} unpaired`;
  lines.push(`${styled(outcome, OUTCOME_STYLES[outcome], color)}  ${limitWords(failAbove)}; ${counts}`);
  for (const line of diffNonFiniteLines(report)) lines.push(styled(line, 'bad', color));
  for (const note of notes) lines.push(styled(`note: ${note}`, 'bad', color));
  if (firstDivergence === null) {
    const isOpen = compared.some(tapOpen);
    const why =
      unpaired.length > 0
        ? 'what has no partner fails'
        : report.unpairedNonFinite.counted > 0
          ? 'what is not finite does not pass'
          : 'a run that did not finish does not pass';
    const fails = outcome === 'FAIL' ? `; ${why}` : '';
    if (compared.length > 0)
      lines.push(
        `${failAbove === null ? (isOpen ? 'the statistics of every compared value are equal; the values may differ' : 'every compared value is identical') : isOpen ? `no ${outcome === 'FAIL' ? 'compared ' : ''}tap is above the threshold by its statistics, which cannot show that it is within` : `no ${outcome === 'FAIL' ? 'compared ' : ''}tap exceeds the threshold`}${fails}`,
      );
  } else {
    const tap = tapReports.find(({ name }) => name === firstDivergence.tap)!;
    const what =
      firstDivergence.criterion === 'threshold' ? 'first above the threshold' : 'first that is not identical';
    lines.push(
      `${what}${orderWords(report.order)}: ${styled(tap.name, 'strong', color)}  ${describeTap(tap)}`,
    );
  }
  return lines;
}

/** How many of the compared values are the same, in the words that their kind allows. */
export function sameWords({ kind, tapReports }: DiffReport): string {
  const compared = comparedTaps(tapReports);
  return kind === 'statistics'
    ? `statistics equal in ${compared.filter((tap) => tap.kind === 'statistics' && tap.equal).length}`
    : `${compared.filter((tap) => tap.identical).length} identical`;
}

/** `324`, or of fewer `3 of 324`. */
function countOfAll(count: number, all: number): string {
  return count === all ? String(all) : `${count} of ${all}`;
}

function describeTap(tap: TapReport): string {
  if (tap.nonFinite !== null && tap.nonFinite.counted > 0)
    return `not finite: ${sideCounts(tap.nonFinite)}${placeWords(tap.nonFinite.first)}`;
  if (tap.kind === 'integer')
    return `${tap.metrics.differing} of ${tap.metrics.elements} entries differ${placeWords(tap.first[0])}`;
  if (tap.kind === 'hash') return `${tap.differing} of ${tap.rows} hashes differ`;
  if (tap.kind === 'statistics') return `NMSE at least ${formatError(tap.nmseAtLeast)}`;
  const { nmse, maxAbs } = tap.metrics;
  const left = tap.nonFinite?.allowed ?? 0;
  if (left > 0 && maxAbs === 0) return `${left} pairs not finite on both sides, the others equal`;
  return `NMSE ${formatError(nmse)}, largest error ${formatError(maxAbs)}${placeWords(tap.worst)}`;
}

function unpairedLines({ unpaired, notCaptured }: DiffReport, color: boolean, verbose: boolean): string[] {
  const shown = verbose ? unpaired : unpaired.slice(0, FEW);
  const lines = shown.map((entry) => `${styled('unpaired', 'bad', color)}  ${describeUnpaired(entry)}`);
  if (shown.length < unpaired.length) lines.push(`... and ${unpaired.length - shown.length} more unpaired`);
  return [...lines, ...notCaptured.map(describeNotCaptured)];
}

function describeUnpaired({ tap, file, side, reason, rows, example }: Unpaired): string {
  const where = side === 'both' ? '' : side === 'tested' ? ' in the tested dump' : ' in the reference';
  const count = rows === 0 ? '' : ` (${rows} ${rows === 1 ? 'row' : 'rows'}, first ${example})`;
  return `${tap ?? `rows of ${file}`} ${reason}${where}${count}`;
}

function describeNotCaptured({ side, selection, taps, rows }: NotCaptured): string {
  return `not captured by the ${side} (${shortSelection(selection)}): ${taps} taps, ${rows} rows`;
}

function blockLines({ blocks, kind, failAbove }: DiffReport, color: boolean): string[] {
  if (blocks.length === 0) return [];
  const error = kind === 'statistics' ? 'NMSE at least' : 'NMSE';
  const same = kind === 'statistics' ? 'equal stats' : 'identical';
  const header = ['block', 'taps', same, `worst ${error}`, `last ${error}`, 'differing', 'worst tap'];
  const rows = blocks.map((block): (string | Cell)[] => [
    block.label,
    String(block.taps),
    String(kind === 'statistics' ? block.equalStatistics : block.identicalTaps),
    errorCell(block.worst?.nmse ?? null, failAbove, kind),
    errorCell(block.last?.nmse ?? null, failAbove, kind),
    countCell(block.differing),
    block.worst === null || block.worst.nmse === 0
      ? ''
      : { text: withoutBlock(block.worst.tap, block.block), style: 'faint' },
  ]);
  return textTable([header.map(strong), ...rows], 'lrrrrrl', color);
}

function tapLines({ tapReports, failAbove, kind }: DiffReport, color: boolean): string[] {
  const header = [
    'tap',
    'dtypes',
    kind === 'statistics' ? 'NMSE at least' : 'NMSE',
    'var. NMSE',
    'max abs',
    'cosine',
    '<0.1 %',
    '>1 ULP',
    'same bits',
    '',
  ];
  const rows = tapReports.map((tap): (string | Cell)[] => {
    const { reference, tested } = tap.dtypes;
    const dtypes = reference === tested ? reference : `${reference}/${tested}`;
    const mark: Cell = { text: tapMark(tap, failAbove), style: 'bad' };
    if (tap.kind !== 'float') {
      const error = tapError(tap);
      const shown = error === null ? countCell(tapDiffering(tap)) : errorCell(error, failAbove, tap.kind);
      return [tap.name, dtypes, shown, '', '', '', '', '', tap.identical ? '100 %' : '', mark];
    }
    const { nmse, nmseVariance, maxAbs, cosine, withinTenthPercent, bitEqual } = tap.metrics;
    return [
      tap.name,
      dtypes,
      errorCell(nmse, failAbove, tap.kind),
      formatError(nmseVariance),
      formatError(maxAbs),
      cosine.toFixed(6),
      formatShare(withinTenthPercent),
      `${formatShare(tap.ulp.shareOverOne)} ${tap.ulp.dtype}`,
      formatShare(bitEqual),
      mark,
    ];
  });
  return textTable([header.map(strong), ...rows], 'llrrrrrrrl', color);
}

function tapMark(tap: TapReport, failAbove: number | null): string {
  if (tapNonFinite(tap) > 0) return 'not finite';
  return failAbove !== null && exceeds(tap, failAbove) ? 'above' : '';
}

function routingLines({ routing }: DiffReport, verbose: boolean): string[] {
  if (routing === null) return [];
  const { choices, same, flipped, flips } = routing;
  const lines = [
    `routing: ${formatShare(same)} of ${choices} choices take the same expert, ${flipped} flipped${unscoredChoices(routing)}`,
  ];
  const shown = verbose ? flips : flips.slice(0, FEW);
  for (const { block, sequence, position, reference, tested, margin, marginIsLeast } of shown)
    lines.push(
      `  block ${block} ${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}: expert ${reference} became ${tested}, margin of the reference ${marginIsLeast ? 'at least ' : ''}${formatError(margin)}`,
    );
  if (shown.length < flipped) lines.push(`  ... and ${flipped - shown.length} more`);
  return lines;
}

function logitsLines({ logits }: DiffReport): string[] {
  if (logits === null) return [];
  const { tokens, klMean, klMax, top1Agreement, topAgreement, nonFinite } = logits;
  const least = tokens.reduce(
    (most, { margin }) => Math.min(most, margin.reference),
    Number.POSITIVE_INFINITY,
  );
  const lost = nonFinite === 0 ? '' : ` (${nonFinite} with NaN or +Infinity: no likeliest token, KL is NaN)`;
  return [
    `logits: ${tokens.length} tokens${lost}, KL mean ${formatError(klMean)} max ${formatError(klMax)} nats, top-1 agrees for ${formatShare(top1Agreement)}, top-10 for ${formatShare(topAgreement)}, least top-1 margin ${formatError(least)}`,
  ];
}

function errorCell(
  error: number | null,
  failAbove: number | null,
  kind: DiffReport['kind'] | TapReport['kind'],
): Cell {
  // A lower bound within the limit says nothing good.
  const within = kind === 'statistics' ? undefined : 'good';
  const style: Style | undefined =
    failAbove === null || error === null ? undefined : error <= failAbove ? within : 'bad';
  return style === undefined ? { text: formatError(error) } : { text: formatError(error), style };
}

function countCell(count: number): Cell {
  return count === 0 ? { text: '0', style: 'faint' } : { text: String(count), style: 'bad' };
}

function strong(text: string): Cell {
  return { text, style: 'strong' };
}

/** A tap's name without the block that its row names already. */
function withoutBlock(tap: string, block: number | null): string {
  const prefix = `layers.${block}`;
  if (!tap.startsWith(prefix)) return tap;
  const rest = tap.slice(prefix.length);
  return rest === '' ? '(block output)' : rest.replace(/^\./, '');
}
