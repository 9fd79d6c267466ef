import type { DiffReport, TapReport } from '../../diff/report.js';
import { tapDiffering, tapDiffers, tapError, tapNonFinite, tapOpen } from '../../diff/report.js';
import { diffNonFiniteLines, sideCounts } from '../../diff/format/non-finite.js';
import type { Outcome } from '../../diff/outcome.js';
import { bothZeroWords, comparedTaps, exceeds } from '../../diff/summary.js';
import { orderWords } from '../../diff/tap-order.js';
import { formatError } from '../../text-table.js';
import type { LocateReport } from '../../locate/faults/report.js';
import { firstBeyondLine, floorRoutingLines } from '../../locate/noise/floor/words.js';
import type { NoiseJudgement } from '../../locate/noise/noise-floor.js';

/** The outcome that stands on top of a report. */
export interface ReportVerdict {
  /** As `zayascope diff` means it. */
  outcome: Outcome;
  /** Outcome, first divergence and worst tap in one sentence. */
  sentence: string;
}

/**
 * Says the outcome of a diff in one sentence, with what the noise floor and `locate` add where they were
 * measured.
 */
export function reportVerdict(
  report: DiffReport,
  judged: NoiseJudgement | null,
  located: LocateReport | null,
): ReportVerdict {
  const { unpaired, outcome, firstDivergence } = report;
  const tapReports = comparedTaps(report.tapReports);
  const parts = [...(report.namesApart === null ? [] : [report.namesApart.replace(/\.$/, '')]), ...unpairedWords(unpaired.length), judgedWords(report), ...diffNonFiniteLines(report)];
  const zeros = bothZeroWords(tapReports);
  if (zeros !== null) parts.push(zeros);
  if (firstDivergence !== null) {
    const what = firstDivergence.criterion === 'threshold' ? 'first above it' : 'first that differs';
    const words = orderWords(report.order);
    parts.push(`${what}${words}: ${describe(tapReports.find(({ name }) => name === firstDivergence.tap)!)}`);
  }
  const worst = worstTap(tapReports);
  if (worst !== null && worst.name !== firstDivergence?.tap) parts.push(`worst: ${describe(worst)}`);
  if (judged !== null) {
    const noise = judged.taps;
    parts.unshift(firstBeyondLine(noise, judged.floor));
    const beyond = noise.filter(({ verdict }) => verdict === 'above noise' || verdict === 'broken').length;
    const lost = noise.filter(({ nonFinite }) => nonFinite.noise > 0).length;
    const without = lost === 0 ? '' : `, which is NaN or infinite in ${lost}: those are judged without it`;
    parts.push(`${beyond} of ${count(noise.length, 'tap')} beyond the noise floor${without}`);
  }
  for (const side of ['reference', 'tested'] as const)
    if (report[side].status === 'partial') parts.push(`the ${side} dump is partial: its producer did not finish`);
  if (located?.firstFault) parts.push(`first op at fault: ${located.firstFault}`);
  const sentences = judged?.floor == null ? [] : floorRoutingLines(judged.floor);
  return { outcome, sentence: [`${parts.join('; ')}.`, ...sentences].join(' ') };
}

/** What makes a report fail comes before what passes. */
function unpairedWords(unpaired: number): string[] {
  return unpaired === 0 ? [] : [`${count(unpaired, 'entry')} could not be paired`];
}

function judgedWords({ tapReports: paired, failAbove, unpaired }: DiffReport): string {
  const tapReports = comparedTaps(paired);
  if (tapReports.length === 0)
    return `nothing was compared: ${count(paired.length, 'tap')} ${paired.length === 1 ? 'has' : 'have'} no row in common`;
  const all = `${unpaired.length === 0 ? 'All' : 'the'} ${count(tapReports.length, 'tap')} ${unpaired.length === 0 ? '' : 'that were compared '}are`;
  if (tapReports.every((tap) => tap.identical)) return `${all} identical`;
  const isOpen = tapReports.some(tapOpen);
  const differ = tapReports.filter(tapDiffers).length;
  if (isOpen && differ === 0)
    return `the statistics of ${all.replace(/^All/, 'all').replace(/ are$/, '')} are equal, which does not show that their values are`;
  if (failAbove === null) {
    return `${differ} of ${count(tapReports.length, 'tap')} ${differ === 1 ? 'differs' : 'differ'}, and no limit was given`;
  }
  const above = tapReports.filter((tap) => exceeds(tap, failAbove)).length;
  if (isOpen && above === 0)
    return `no tap is above energy NMSE ${failAbove} by its statistics, which cannot show that it is within`;
  return above === 0
    ? `${all} within energy NMSE ${failAbove}`
    : `${above} of ${count(tapReports.length, 'tap')} ${above === 1 ? 'is' : 'are'} above energy NMSE ${failAbove}`;
}

/**
 * The tap with the largest error, or without floats the one with most differing entries; null where nothing
 * differs. NaN counts as largest.
 */
function worstTap(taps: readonly TapReport[]): TapReport | null {
  const size = (tap: TapReport): number => {
    const error = tapError(tap);
    return error === null ? 0 : Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
  };
  const largest = (by: (tap: TapReport) => number): TapReport | null =>
    taps.reduce<TapReport | null>(
      (most, tap) => (by(tap) > (most === null ? 0 : by(most)) ? tap : most),
      null,
    );
  return largest(size) ?? largest(tapDiffering);
}

function describe(tap: TapReport): string {
  if (tapNonFinite(tap) > 0) return `${tap.name} (not finite: ${sideCounts(tap.nonFinite!)})`;
  const error = tapError(tap);
  if (error !== null)
    return `${tap.name} (NMSE ${tap.kind === 'statistics' ? 'at least ' : ''}${formatError(error)})`;
  return `${tap.name} (differing: ${count(tapDiffering(tap), tap.kind === 'hash' ? 'hash' : 'entry')})`;
}

const PLURALS = { tap: 'taps', entry: 'entries', hash: 'hashes' } as const;

function count(number: number, what: keyof typeof PLURALS): string {
  return `${number} ${number === 1 ? what : PLURALS[what]}`;
}
