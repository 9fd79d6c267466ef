import { nonFiniteLines } from '../diff/format/non-finite.js';
import { limitWords, OUTCOME_STYLES } from '../diff/outcome.js';
import { type Cell, formatError, formatShare, rendered, styled, textTable } from '../text-table.js';
import type { WeightDiff, WeightsDiffReport } from './diff-weights.js';
import type { UnpairedTensor } from './pair-tensors.js';

/** Options of {@link formatWeightsDiff}. */
export interface FormatWeightsOptions {
  /** ANSI colours. Default false. */
  color?: boolean;
  /** List every tensor and everything unpaired. Default false: the worst, and the first. */
  verbose?: boolean;
}

/** Lines shown without `verbose`. */
const FEW = 20;

/** The report for people: the verdict, what could not be paired, then the tensors from the worst. */
export function formatWeightsDiff(report: WeightsDiffReport, options: FormatWeightsOptions = {}): string {
  const { color = false, verbose = false } = options;
  const sections = [
    headLines(report, color, verbose),
    unpairedLines(report.unpaired, color, verbose),
    familyLines(report.tensors, color),
    tensorLines(report, color, verbose),
  ];
  return rendered(sections);
}

function headLines(report: WeightsDiffReport, color: boolean, verbose: boolean): string[] {
  const { reference, tested, outcome, failAbove, tensors, unpaired } = report;
  const identical = tensors.filter((tensor) => tensor.identical).length;
  const misplaced = tensors.filter((tensor) => tensor.misplaced).length;
  const notes = tensors.filter(({ note }) => note !== undefined);
  const told = verbose ? notes : notes.slice(0, FEW);
  const verdict = styled(outcome, OUTCOME_STYLES[outcome], color);
  return [
    `${reference.name} (reference, ${reference.layout}) against ${tested.name} (${tested.layout})`,
    `${verdict}  ${limitWords(failAbove)}; ${tensors.length} tensors compared, ${identical} identical, ${unpaired.length} unpaired${misplaced > 0 ? `, ${misplaced} IN ANOTHER'S PLACE` : ''}`,
    ...nonFiniteLines(report.nonFinite, 'tensors').map((line) => styled(line, 'bad', color)),
    ...zeroLines(tensors),
    ...(report.notes ?? []).map((note) => `note: ${note}`),
    ...told.map(({ name, from, note }) => `note: ${from ?? name}: ${note}`),
    ...(told.length < notes.length ? [`... and ${notes.length - told.length} more (--all)`] : []),
  ];
}

/** Models of which nothing was loaded agree, too. */
function zeroLines(tensors: readonly WeightDiff[]): string[] {
  const zero = tensors.filter(({ metrics }) => metrics.bothZero);
  // A few zeros are a model's own, such as biases that were never trained.
  if (zero.length === 0 || 2 * zero.length < tensors.length) return [];
  if (zero.length === tensors.length)
    return [`note: ALL ZERO: every weight of all ${tensors.length} tensors is 0 on both sides`];
  return [
    `note: ${zero.length} of ${tensors.length} tensors 0 throughout on both sides, first ${zero[0]!.name}`,
  ];
}

function unpairedLines(unpaired: readonly UnpairedTensor[], color: boolean, verbose: boolean): string[] {
  const shown = verbose ? unpaired : unpaired.slice(0, FEW);
  const lines = shown.map(({ name, reason }) => `${styled('unpaired', 'bad', color)}  ${name} ${reason}`);
  if (shown.length < unpaired.length) lines.push(`... and ${unpaired.length - shown.length} more unpaired`);
  return lines;
}

/** Paired by content: what each name holds and how, of all blocks in one line. */
function familyLines(tensors: readonly WeightDiff[], color: boolean): string[] {
  const groups = new Map<string, WeightDiff[]>();
  const starred = (name: string) => name.replace(/(?<=\.|^)\d{1,5}(?=\.)/, '*');
  for (const tensor of tensors) {
    const { name, from, layout = '' } = tensor;
    if (from === undefined) continue;
    const key = [starred(from), starred(name), layout.replace(/(?<=\.)\d+(?=\.)/, '*')].join('\n');
    groups.set(key, [...(groups.get(key) ?? []), tensor]);
  }
  if (groups.size === 0) return [];
  const rows = [...groups].map(([key, { length }]) => {
    const [from, name, layout] = key.split('\n') as [string, string, string];
    return [from, name, String(length), layout];
  });
  const head = ['tested', 'holds', 'tensors', 'how'];
  return textTable([head.map((text) => ({ text, style: 'strong' as const })), ...rows], 'llrl', color);
}

function tensorLines({ tensors, failAbove }: WeightsDiffReport, color: boolean, verbose: boolean): string[] {
  const different = tensors.filter(({ identical }) => !identical);
  const shown = verbose ? tensors : different.slice(0, FEW);
  if (shown.length === 0) {
    if (tensors.length === 0) return [];
    const isElsewhere = tensors.some(({ misplaced }) => misplaced);
    return [`every compared value is identical${isElsewhere ? ', but not all are in their place' : ''}`];
  }
  const strong = (text: string): Cell => ({ text, style: 'strong' });
  const isByContent = tensors.some(({ from }) => from !== undefined);
  const metrics = ['NMSE', 'var. NMSE', 'max abs', 'cosine', '<0.1 %', 'same bits'];
  const head = isByContent
    ? ['tested', 'reference', 'layout', 'dtypes', ...metrics.slice(0, 4)]
    : ['tensor', 'dtypes', 'shape', ...metrics];
  const rows = shown.map((tensor) =>
    isByContent ? contentRow(tensor, failAbove) : tensorRow(tensor, failAbove),
  );
  const lines = textTable([head.map(strong), ...rows], isByContent ? 'llllrrrr' : 'lllrrrrrr', color);
  const left = different.length - shown.length;
  if (left > 0) lines.push(`... and ${left} more that differ`);
  return lines;
}

function tensorRow(tensor: WeightDiff, failAbove: number | null): (string | Cell)[] {
  const { name, shape, metrics } = tensor;
  const { withinTenthPercent, bitEqual } = metrics;
  return [
    name,
    dtypesOf(tensor),
    `[${shape.join(', ')}]`,
    ...errorCells(tensor, failAbove),
    formatShare(withinTenthPercent),
    formatShare(bitEqual),
  ];
}

function contentRow(tensor: WeightDiff, failAbove: number | null): (string | Cell)[] {
  const { name, from = '', layout = '' } = tensor;
  return [from, name, layout, dtypesOf(tensor), ...errorCells(tensor, failAbove)];
}

function dtypesOf({ dtypes: { reference, tested } }: WeightDiff): string {
  return reference === tested ? reference : `${reference}/${tested}`;
}

function errorCells({ metrics, nonFinite }: WeightDiff, failAbove: number | null): (string | Cell)[] {
  const { nmse, nmseVariance, maxAbs, cosine } = metrics;
  const exceeds = (nonFinite?.counted ?? 0) > 0 || (failAbove !== null && !(nmse <= failAbove));
  return [
    exceeds ? { text: formatError(nmse), style: 'bad' } : formatError(nmse),
    formatError(nmseVariance),
    formatError(maxAbs),
    cosine.toFixed(6),
  ];
}
