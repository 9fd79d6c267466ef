import { placeWords, unpairedNonFiniteLines } from '../../diff/format/non-finite.js';
import { orderWords } from '../../diff/tap-order.js';
import { type Cell, formatError, formatShare, rendered, styled, textTable } from '../../text-table.js';
import { firstBeyondLine } from '../noise/floor/words.js';
import { blockCount, tapPlace } from '../replay/tap-graph.js';
import { routingLines } from '../routing/format.js';
import type { Mismatch } from './mismatch.js';
import { blockWords } from './plain-words.js';
import type { LocatedKind, LocatedOp, LocateReport } from './report.js';

/** Options of {@link formatLocate}. */
export interface LocateFormatOptions {
  /** ANSI colours. Default false. */
  color?: boolean;
  /** List every op. Default false. */
  verbose?: boolean;
}

/**
 * The report for people: verdict, first fault, ops at fault, choices, drift, routing; with `verbose` every
 * op.
 */
export function formatLocate(
  report: LocateReport,
  { color = false, verbose = false }: LocateFormatOptions = {},
): string {
  if (report.mismatch !== null) return rendered([mismatchLines(report, report.mismatch, color)]);
  if (verbose) return rendered([lines(report, { color, verbose, ops: ALL, nexts: ALL, few: ALL })]);
  const shown = SHORTER.map((each) => () => lines(report, { color, verbose, ...each }));
  for (const attempt of shown.slice(0, -1)) {
    const found = attempt();
    if (found.length <= MAX_LINES) return rendered([found]);
  }
  return rendered([shown.at(-1)!().slice(0, MAX_LINES)]);
}

/** A report fits a screen. */
const MAX_LINES = 40;
const MOST_LISTED = 10;
const ALL = Number.MAX_SAFE_INTEGER;

/** How much of each list is shown. */
interface Lengths {
  /** Kinds of op at fault. */
  ops: number;
  /** Of these, with the command of the next step. */
  nexts: number;
  /** Flips, blocks and (from two on) notes. */
  few: number;
}

interface Shown extends Lengths {
  color: boolean;
  verbose: boolean;
}

/** Ever shorter: first flips and notes, then commands, ops at fault last. */
const SHORTER: readonly Lengths[] = [
  ...downTo(2).map((few) => ({ ops: MOST_LISTED, nexts: MOST_LISTED, few })),
  ...[2, 0].map((few) => ({ ops: MOST_LISTED, nexts: 1, few })),
  ...downTo(1).map((ops) => ({ ops, nexts: 1, few: 0 })),
];

function downTo(least: number): number[] {
  return Array.from({ length: MOST_LISTED - least + 1 }, (_, k) => MOST_LISTED - k);
}

function lines(report: LocateReport, { color, verbose, ops, nexts, few }: Shown): string[] {
  const sections = [
    headLines(report, color, few),
    kindLines(report, color, ops, nexts),
    choiceLines(report, color),
    driftLines(report),
    routingLines(report.routing, color, few),
    verbose ? opLines(report, color) : [],
  ];
  return sections
    .filter((each) => each.length > 0)
    .flatMap((each, index) => (index === 0 ? each : ['', ...each]));
}

function mismatchLines(
  { reference, tested, notes }: LocateReport,
  { kind, sentence }: Mismatch,
  color: boolean,
): string[] {
  return [
    `${reference} (reference) against ${tested}`,
    `${styled(kind === 'tokens' ? 'DIFFERENT TOKENS' : 'DIFFERENT WEIGHTS', 'bad', color)}  ${sentence}`,
    'No op is judged: every value after the first that differs would be off, whatever the program.',
    ...notes.map((note) => `note: ${note}`),
  ];
}

function headLines(report: LocateReport, color: boolean, few: number): string[] {
  const { mode, reference, tested, noise, found, kinds, final, order, firstFault, nonFinite, notes } = report;
  const against = mode === 'policy' ? `policy ${tested}` : tested;
  const floor = noise === null ? '' : `, noise floor ${noise}`;
  const beyond =
    report.noiseByTap === null || report.noiseByTap.length === 0
      ? []
      : [firstBeyondLine(report.noiseByTap, report.floor)];
  const lines = [...beyond, `${reference} (reference) against ${against}${floor}`];
  if (report.otherFile !== null) lines.push(`${styled('WRONG FILE', 'bad', color)}  ${report.otherFile}`);
  if (report.unjudged !== null) lines.push(`${styled('NOT JUDGED', 'strong', color)}  ${report.unjudged}`);
  // Nothing errs by itself, and yet nothing may pass.
  const unjudged = found && kinds.length === 0;
  const isAlone = (report.unpairedNonFinite?.counted ?? 0) > 0;
  const alone = report.unpairedNonFinite === null ? [] : unpairedNonFiniteLines(report.unpairedNonFinite);
  const what = unjudged
    ? 'no verdict passes over NaN or infinity'
    : mode === 'dumps-alone'
      ? 'where errors begin that the inputs do not have'
      : `${kinds.length} ${kinds.length === 1 ? 'kind of op makes' : 'kinds of op make'} more error of ${kinds.length === 1 ? 'its' : 'their'} own than a right one`;
  if (!(unjudged && report.unjudged !== null && nonFinite === null && !isAlone))
    lines.push(
      found
        ? `${styled(unjudged ? 'NOT FINITE' : 'FAULT', 'bad', color)}  ${what}`
        : `${styled('SILENT', 'good', color)}  ${silence(report)}`,
    );
  if (nonFinite !== null)
    lines.push(
      `NaN or infinity arises${orderWords(order)} at ${styled(nonFinite.tap, 'strong', color)}, in ${nonFinite.count} ${nonFinite.count === 1 ? 'value' : 'values'}${placeWords(nonFinite.place)}`,
    );
  else if (firstFault !== null)
    lines.push(`first fault${orderWords(order)}: ${styled(firstFault, 'strong', color)}`);
  for (const line of alone) lines.push(styled(line, 'bad', color));
  lines.push(finalWords(final));
  const noted = notes.slice(0, Math.max(2, few));
  for (const note of noted) lines.push(`note: ${note}`);
  if (notes.length > noted.length)
    lines.push(
      `${notes.length - noted.length} more ${notes.length - noted.length === 1 ? 'note' : 'notes'}: --json`,
    );
  return lines;
}

function silence({ mode, ops }: LocateReport): string {
  const judged = ops.filter(({ verdict }) => verdict !== 'not judged').length;
  return mode === 'dumps-alone'
    ? `no value of ${ops.length} leaves its limit`
    : `none of ${judged} ops makes more error of its own than a right one`;
}

function finalWords({ tap, nmse, floorNmse, noise }: LocateReport['final']): string {
  const beside = [
    ...(floorNmse === null ? [] : [`policy f32: ${formatError(floorNmse)}`]),
    ...(noise === null
      ? []
      : [
          `noise: ${noise.band === null ? formatError(noise.noiseNmse) : `${formatError(noise.band.low)} to ${formatError(noise.band.high)}`}, ratio ${noise.ratio.toFixed(2)}, ${noise.verdict}`,
        ]),
  ];
  return `${tap}: NMSE ${formatError(nmse)}${beside.length === 0 ? '' : ` (${beside.join('; ')})`}`;
}

function kindLines(report: LocateReport, color: boolean, few: number, nexts: number): string[] {
  const { mode, ops, bisect, causes } = report;
  // Kinds of one cause are one line: that of the first of them.
  const kinds = report.kinds.filter(({ kind, cause }) => cause === null || causes[cause]!.kinds[0] === kind);
  if (kinds.length === 0) return [];
  const total = blockCount(ops.map(({ tap }) => tap));
  const alone = mode === 'dumps-alone';
  const header = [
    '',
    'op',
    'blocks',
    alone ? 'largest error' : 'own error',
    'median',
    'limit',
    alone ? '' : 'share*',
  ];
  const rows = kinds
    .slice(0, few)
    .map((kind, index): (string | Cell)[] => [
      String(index + 1),
      { text: kindName(kind), style: 'strong' },
      blockWords(kind.blocks, total).replace(/^blocks? /, ''),
      formatError(kind.largest),
      formatError(kind.median),
      formatError(kind.limit),
      kind.share === null ? '' : formatShare(kind.share),
    ]);
  const lines = textTable([header.map(strong), ...rows], 'rllrrrr', color);
  if (kinds.length > rows.length)
    lines.push(
      `${kinds.length - rows.length} more ${kinds.length - rows.length === 1 ? 'kind' : 'kinds'}${alone ? ', which may follow from these' : ''}: --all`,
    );
  for (const [index, { sentence, next }] of kinds.slice(0, few).entries())
    lines.push(`${index + 1}. ${sentence}`, ...(index < nexts ? [`   next: ${next}`] : []));
  if (bisect !== null)
    lines.push(
      `together: ${bisect} with the reference's tokens finds a smallest set of choices that explains the error`,
    );
  if (!alone)
    lines.push(
      styled(
        '* estimated share of the final error: each error is split between the op and its inputs, taken as uncorrelated',
        'faint',
        color,
      ),
    );
  return lines;
}

function choiceLines({ choices, tested, final, ops }: LocateReport, color: boolean): string[] {
  if (choices.length === 0) return [];
  const total = blockCount(ops.map(({ tap }) => tap));
  const header = [
    'choice alone',
    'set',
    'blocks',
    'shows at',
    'own error',
    'under f32',
    `${final.tap} alone`,
  ];
  const rows = choices.map(({ sites, set, blocks, shows, finalAlone }): string[] => [
    sites.replace(/^layers\.(\d+|\{[^#:]*?\}+)\.?/, ''),
    set,
    blockWords(blocks, total).replace(/^blocks? /, ''),
    shows === null ? 'nowhere' : nameOf(shows.kind),
    shows === null ? '0' : formatError(shows.largest),
    shows === null ? '' : formatError(shows.floor),
    formatError(finalAlone),
  ]);
  const none = choices.filter(({ shows }) => shows === null || shows.largest <= 4 * shows.floor);
  return [
    `each choice of policy ${tested} by itself, all else as in f32:`,
    ...textTable([header.map(strong), ...rows], 'llllrrr', color),
    ...none.map(({ sentence }) => `about zero, as f32 itself: ${sentence}`),
  ];
}

/** Ops that enlarge errors most, and how far values lie from the noise. */
function driftLines({ ops, noiseByTap, mode, recomputed }: LocateReport): string[] {
  const lines: string[] = [];
  const count = (wanted: string) => ops.filter(({ drift }) => drift === wanted).length;
  const held = new Set(noiseByTap?.map(({ tap }) => tap));
  const others = ops.filter(({ tap }) => !held.has(tap)).length;
  const by =
    noiseByTap === null
      ? 'fixed thresholds'
      : `against the noise floor${others === 0 ? '' : ` (${others} of ${ops.length} values by fixed thresholds: choices, states and what it lacks)`}`;
  lines.push(
    `whole run, ${by}: ${count('identical')} values identical, ${count('within noise')} within noise, ${count('above noise')} above noise, ${count('broken')} broken`,
  );
  const kinds = new Map<string, LocatedOp[]>();
  for (const op of ops)
    if (op.amplification !== null && op.verdict !== 'fault' && passesOn(op)) {
      const kind = tapPlace(op.tap).suffix;
      kinds.set(kind, [...(kinds.get(kind) ?? []), op]);
    }
  const ranked = [...kinds]
    .map(([kind, list]) => ({
      kind,
      worst: list.reduce((a, b) => (b.amplification! > a.amplification! ? b : a)),
    }))
    .filter(({ worst }) => worst.amplification! > 2)
    .sort((a, b) => b.worst.amplification! - a.worst.amplification!)
    .slice(0, 3)
    .map(({ worst }) => `${worst.tap} ${worst.amplification!.toFixed(1)}x`);
  if (ranked.length > 0)
    lines.push(
      mode === 'dumps-alone'
        ? `errors grow most at (by a fault or not cannot be said): ${ranked.join(', ')}`
        : recomputed === null
          ? `enlarge the errors of their inputs most (not faults of theirs): ${ranked.join(', ')}`
          : `errors grow most at (by what is stored or rounded otherwise there, or passed on; not faults): ${ranked.join(', ')}`,
    );
  return lines;
}

/** True where nearly all of an error comes from the inputs. */
function passesOn({ tap, local, cumulative, amplification }: LocatedOp): boolean {
  return (local ?? 0) < 0.1 * cumulative && Number.isFinite(amplification) && !tap.endsWith(':margin');
}

function opLines({ ops }: LocateReport, color: boolean): string[] {
  const header = ['op', 'own error', 'limit', 'inherited', 'whole run', 'amplification', 'verdict'];
  const rows = ops.map(
    ({ tap, local, limit, inherited, cumulative, amplification, verdict }): (string | Cell)[] => [
      tap,
      formatError(local),
      formatError(limit),
      formatError(inherited),
      formatError(cumulative),
      amplification === null ? '–' : `${amplification.toPrecision(2)}x`,
      verdict === 'fault' ? { text: verdict, style: 'bad' } : verdict,
    ],
  );
  return textTable([header.map(strong), ...rows], 'lrrrrrl', color);
}

function kindName({ kind, name }: LocatedKind): string {
  return `${nameOf(kind)}: ${name}`;
}

/** A tap without its block as tables name it. */
function nameOf(kind: string): string {
  return kind === '' ? '(block output)' : kind.replace(/^\./, '');
}

function strong(text: string): Cell {
  return { text, style: 'strong' };
}
