import { OP_NAMES } from '../graph/ops.js';
import type { CaseReport, ConformanceReport } from './conformance.js';
import { type ConformanceRow, summarise } from './summarise.js';

/** Headings of {@link conformanceCells}. */
export const CONFORMANCE_COLUMNS = [
  'op',
  'dtype',
  'cases',
  'supported',
  'worst shape',
  'NMSE',
  'tolerance',
  'max ULP',
  'max abs',
  'verdict',
] as const;

/**
 * The table of a report as text, a row for each op and set of dtypes. NMSE, tolerance and shape are those of
 * the case nearest to its tolerance, the other figures the largest of all.
 */
export function conformanceCells(report: ConformanceReport): string[][] {
  return summarise(report).map((row) => [
    row.op,
    row.dtype,
    String(row.cases),
    supported(row),
    row.worst === undefined ? '–' : row.worst.shape,
    row.worst === undefined ? '–' : figure(row.worst.nmse),
    row.worst === undefined ? '–' : figure(row.worst.tolerance),
    row.worst === undefined ? '–' : ulps(row.maxUlp),
    row.worst === undefined ? '–' : figure(row.maxAbs),
    row.findings.length === 0 ? row.verdict : `${row.verdict}: ${row.findings.join('; ')}`,
  ]);
}

function supported({ cases, unsupported }: ConformanceRow): string {
  if (unsupported === 0) return 'yes';
  return unsupported === cases ? 'no' : `${cases - unsupported} of ${cases}`;
}

/** Device and totals in one or more sentences. */
export function conformanceHeading({
  backend,
  device,
  cases,
  lostProcesses,
  pass,
}: ConformanceReport): string[] {
  const count = (verdict: CaseReport['verdict']) => cases.filter((each) => each.verdict === verdict).length;
  const names = new Set(cases.map(({ op }) => op));
  const settings = Object.entries(device.environment).map(([name, value]) => `${name}=${value}`);
  return [
    `${backend}: ${device.name}, ${device.description}${settings.length === 0 ? '' : ` (${settings.join(' ')})`}`,
    `${names.size} of ${OP_NAMES.length} ops, ${cases.length} cases: ${count('pass')} pass, ${count('fail')} fail, ${count('unsupported')} unsupported, ${count('crashed')} crashed`,
    ...(lostProcesses === 0
      ? []
      : [`${lostProcesses} processes were lost; the cases that they had reached ran in fresh ones`]),
    ...specialWords(cases),
    pass ? 'pass' : 'FAIL',
  ];
}

/** NaN and infinities are counted also where they are the subject of a case. */
function specialWords(cases: readonly CaseReport[]): string[] {
  const held = cases.flatMap((each) => ('special' in each && each.special > 0 ? [each.special] : []));
  const sum = held.reduce((total, count) => total + count, 0);
  return held.length === 0
    ? []
    : [`${sum} elements of ${held.length} cases are NaN or infinite on both sides, as they must be there`];
}

/** Cases that failed, a line each: op, dtypes, shape, where it is from, what is wrong. */
export function failureLines({ cases }: ConformanceReport): string[] {
  return cases.flatMap((each) => {
    const where = `${each.op} ${each.dtype}, ${each.shape} (${each.from})`;
    if (each.verdict === 'crashed') return [`${where}: ${each.reason}`];
    if (each.verdict !== 'fail') return [];
    const { nmse, tolerance, finding } = each;
    return [
      `${where}: NMSE ${figure(nmse)}, tolerance ${figure(tolerance)}${finding === undefined ? '' : `; ${finding}`}`,
    ];
  });
}

/** The report in Markdown: totals, table, failures, reasons of the tolerances. */
export function conformanceMarkdown(report: ConformanceReport): string {
  const failures = failureLines(report).map((line) => `- ${line}`);
  const reasons = Object.entries(report.reasons).map(([op, reason]) => [op, reason]);
  return [
    conformanceHeading(report).join('; '),
    markdownTable(CONFORMANCE_COLUMNS, conformanceCells(report)),
    ...(failures.length === 0 ? [] : [failures.join('\n')]),
    markdownTable(['op', 'why the tolerance'], reasons),
  ].join('\n\n');
}

function markdownTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n');
}

function figure(value: number): string {
  return value === 0 || !Number.isFinite(value) ? String(value) : value.toExponential(1);
}

function ulps(value: number): string {
  return value < 1000 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}
