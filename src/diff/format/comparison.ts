import { type Cell, formatError, formatShare, rendered, styled, textTable } from '../../text-table.js';
import { OUTCOME_STYLES } from '../outcome.js';
import type { BlockReport, DiffReport } from '../report.js';
import { diffNonFiniteLines } from './non-finite.js';
import type { FormatOptions } from './report.js';

/** One column of a comparison. */
export interface ComparedReport {
  /** Heading, e.g. `bf16-weights vs reference`. */
  title: string;
  report: DiffReport;
}

/**
 * Several diffs side by side: per block, the energy NMSE of the block's last floating tap (what it passes on)
 * and its worst. Blocks are matched by label; `·` stands where a diff has no such block. Differing integers
 * are counted behind a `+`.
 */
export function formatComparison(
  columns: readonly ComparedReport[],
  { color = false }: FormatOptions = {},
): string {
  const labels = orderedLabels(columns.map(({ report }) => report));
  const strong = (text: string): Cell => ({ text, style: 'strong' });
  const head = [strong('block'), ...columns.map(({ title }) => strong(title))];
  const unit = ['', ...columns.map(() => ({ text: 'last / worst NMSE', style: 'faint' }) satisfies Cell)];
  const rows = labels.map((label) => [
    label,
    ...columns.map(({ report }) => cell(report.blocks.find((block) => block.label === label))),
  ]);
  const logits = ['logits', ...columns.map(({ report }) => describeLogits(report))];
  const routing = ['routing', ...columns.map(({ report }) => describeRouting(report))];
  const verdict = ['', ...columns.map(({ report }) => describeVerdict(report))];
  const lines = textTable(
    [head, unit, ...rows, logits, routing, verdict],
    `l${'r'.repeat(columns.length)}`,
    color,
  );
  const special = columns.flatMap(({ title, report }) =>
    diffNonFiniteLines(report).map((line) => styled(`${title}: ${line}`, 'bad', color)),
  );
  const notes = columns.flatMap(({ title, report }) =>
    report.notes.map((note) => styled(`note: ${title}: ${note}`, 'bad', color)),
  );
  return rendered([[...lines, ...special, ...notes]]);
}

/**
 * All labels in execution order: the longest list, since diffs of one model differ by missing blocks only.
 */
function orderedLabels(reports: readonly DiffReport[]): string[] {
  const all = new Set(reports.flatMap(({ blocks }) => blocks.map(({ label }) => label)));
  const place = (label: string): number =>
    label === 'input' ? -1 : /^\d+$/.test(label) ? Number(label) : Number.MAX_VALUE;
  return [...all].sort((a, b) => place(a) - place(b));
}

function cell(block: BlockReport | undefined): string {
  if (block === undefined) return '·';
  const differing = block.differing === 0 ? '' : ` +${block.differing}`;
  return `${formatError(block.last?.nmse ?? null)} / ${formatError(block.worst?.nmse ?? null)}${differing}`;
}

function describeLogits({ logits }: DiffReport): string {
  return logits === null
    ? '·'
    : `KL ${formatError(logits.klMean)}, top-1 ${formatShare(logits.top1Agreement)}`;
}

function describeRouting({ routing }: DiffReport): string {
  return routing === null
    ? '·'
    : `${routing.flipped} of ${routing.choices} flipped${routing.nonFinite === 0 ? '' : `, ${routing.nonFinite} not finite`}`;
}

function describeVerdict({ outcome, unpaired, nonFinite, unpairedNonFinite }: DiffReport): Cell {
  const why = `${unpaired.length > 0 ? `, ${unpaired.length} unpaired` : ''}${nonFinite.counted + unpairedNonFinite.counted > 0 ? ', not finite' : ''}`;
  return { text: `${outcome}${why}`, style: OUTCOME_STYLES[outcome] };
}
