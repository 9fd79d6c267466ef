import { numberRuns } from '../../number-runs.js';
import { formatError, formatShare, rendered, styled, textTable } from '../../text-table.js';
import { roundingWords } from '../op-words.js';
import type { JudgedNode, RecordingVerdict } from './locate.js';

/** Lines of a table up to here. */
const FEW = 12;
/** Differences of one node up to here. */
const FEW_WORDS = 2;

const SHARE_NOTE =
  '* estimated share of the error of the logits: each error is split between the node and what it reads, taken as uncorrelated';

/** How a verdict is told. */
export interface FormatOptions {
  color?: boolean;
  /** Every node at fault and every kind of rounding. */
  all?: boolean;
  /** The command to go on with from the first node at fault. */
  next?: (node: JudgedNode) => string;
}

/** What was found, as text. */
export function formatLocatedRecording(
  verdict: RecordingVerdict,
  { color = false, all = false, next }: FormatOptions = {},
): string {
  const most = all ? Number.POSITIVE_INFINITY : FEW;
  return rendered([
    headLines(verdict, color, next),
    faultLines(verdict, color, most),
    roundingLines(verdict, color, most),
    shareNote(verdict, color),
  ]);
}

function headLines(verdict: RecordingVerdict, color: boolean, next: FormatOptions['next']): string[] {
  const { nodes, notes, alone, parts, names, device, threads } = verdict;
  const weights = names.model === null ? '' : `, weights of ${names.model}`;
  const faults = faultsOf(verdict);
  const failed = nodes.filter(({ problem }) => problem !== undefined);
  const lines = [
    names.reference === null
      ? `${names.recording}${weights}`
      : `${names.reference} (reference) against ${names.recording} (tested)${weights}`,
    `${nodes.length} nodes run again on ${device}${threads === undefined ? '' : `, ${threads} thread${threads === 1 ? '' : 's'}`}`,
    verdictLine(verdict, color),
    ...notes.map((note) => `note: ${note}`),
  ];
  const [first] = faults;
  if (first !== undefined)
    lines.push(
      `first fault: ${styled(first.name, 'strong', color)} (${first.op}${readerWords(first)}), step ${first.step}${first.block === null ? '' : `, block ${first.block}`}`,
      `  ${errorWords(first)}`,
      ...(first.cause === undefined
        ? first.differences.length === 0
          ? []
          : [`  the graph differs: ${few(first.differences)}`]
        : [`  ${causeWords(first.cause)}`]),
      ...(next === undefined ? [] : [`  next: ${next(first)}`]),
    );
  const bad = nodes.filter(({ allNonFinite }) => allNonFinite > 0);
  if (bad.length > 0)
    lines.push(
      `NaN or infinite: ${bad.length} of ${nodes.length} values, first ${styled(bad[0]!.name, 'strong', color)} (${bad[0]!.op}), step ${bad[0]!.step}, in ${bad[0]!.allNonFinite} places`,
    );
  for (const { name, op, problem } of failed.slice(0, FEW))
    lines.push(`not run: ${name} (${op}): ${problem}`);
  if (parts !== null) lines.push(partsLine(verdict, parts), ...choiceLines(verdict));
  for (const [side, list] of Object.entries(alone))
    if (list.length > 0)
      lines.push(
        `only in the ${side === 'tested' ? 'tested' : "reference's"} graph: ${list.slice(0, FEW).join(', ')}${list.length > FEW ? `, and ${list.length - FEW} more` : ''}`,
      );
  return lines;
}

function verdictLine(verdict: RecordingVerdict, color: boolean): string {
  const { nodes, missing, partial } = verdict;
  const faults = faultsOf(verdict);
  if (faults.length > 0 || missing.length > 0)
    return `${styled('FAULT', 'bad', color)}  ${[
      ...(faults.length > 0
        ? [`${faults.length} of ${nodes.length} values are not what their inputs give`]
        : []),
      ...(missing.length > 0
        ? [`${missing.length} nodes of the reference's graph are missing, first ${missing[0]}`]
        : []),
    ].join('; ')}`;
  const isHere = nodes.some(({ allNonFinite }) => allNonFinite > 0);
  if (!isHere && nodes.some(({ wholeError }) => wholeError === Number.POSITIVE_INFINITY))
    return `${styled('NOT FINITE', 'bad', color)}  the reference holds NaN or infinite values where the tested recording holds numbers`;
  if (isHere)
    return `${styled('NOT FINITE', 'bad', color)}  every value is what its inputs give, and some are NaN or infinite`;
  if (partial.length > 0)
    return `${styled('NOT JUDGED', 'bad', color)}  ${partial.join(' and ')} ${partial.length === 1 ? 'is partial: its run' : 'are partial: their runs'} did not finish; the ${nodes.length} values that are there are what their inputs give`;
  const failed = nodes.filter(({ problem }) => problem !== undefined);
  return failed.length > 0
    ? `${styled('NOT JUDGED', 'bad', color)}  ${failed.length} of ${nodes.length} nodes could not be run again; the others give what was recorded`
    : `${styled('SILENT', 'good', color)}  every value is what its inputs give`;
}

function partsLine(
  { nodes, names }: RecordingVerdict,
  parts: NonNullable<RecordingVerdict['parts']>,
): string {
  const first = nodes.find(({ id }) => id === parts.first);
  if (first === undefined) return `every value is that of ${names.reference}`;
  const end = parts.logits === null ? '' : `; logits NMSE ${formatError(parts.logits)}`;
  return `first value that is not the reference's: ${first.name} (${first.op}), step ${first.step}, NMSE ${formatError(first.wholeError ?? null)}${end}`;
}

/** Other experts: the error after them is that of a choice, not of arithmetic. */
function choiceLines({ nodes }: RecordingVerdict): string[] {
  const other = nodes.flatMap(({ choices, ...node }) =>
    choices === undefined ? [] : [{ ...node, choices }],
  );
  const [first] = other;
  if (first === undefined) return [];
  const rows = other.reduce((sum, { choices }) => sum + choices.changed, 0);
  return [
    `other choices than the reference's: ${rows} rows in ${other.length} sortings, first ${first.name}, step ${first.step}, row ${first.choices.first}; record --pin runs with the reference's`,
  ];
}

function errorWords({ ownError, limit, place, nonFinite, op }: JudgedNode): string {
  if (nonFinite > 0)
    return `NaN or infinite where its inputs give numbers: ${place ?? `${nonFinite} values`}`;
  if (ownError === null) return 'the graphs differ here';
  if (limit === 0 && ownError === 1)
    return `other indices than its inputs give${place === undefined ? '' : `, ${place}`} (${op.toLowerCase()})`;
  return `own error ${formatError(ownError)}, limit ${formatError(limit)}${place === undefined ? '' : `, ${place}`}`;
}

function few(words: readonly string[]): string {
  const rest = words.length - FEW_WORDS;
  return `${words.slice(0, FEW_WORDS).join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`;
}

function causeWords({ words, left }: NonNullable<JudgedNode['cause']>): string {
  return left === null ? words : `${words}: with it the error is ${formatError(left)}`;
}

function faultsOf({ nodes }: RecordingVerdict): JudgedNode[] {
  return nodes.filter(({ isFault }) => isFault);
}

/** What a node that nobody named is for. */
function readerWords({ readBy, weight }: JudgedNode): string {
  if (weight !== undefined && readBy !== undefined) return ` with ${weight}`;
  return readBy === undefined ? '' : `, read by ${readBy}`;
}

/**
 * The name that a value has in every block; of a node that nobody named, with its weight's or its reader's.
 */
function kindOf({ name, weight, readBy }: Pick<JudgedNode, 'name' | 'weight' | 'readBy'>): string {
  const kind = named(name);
  if (!kind.startsWith('node_*')) return kind;
  if (weight !== undefined) return `${kind} (${weight.replace(/^blk\.\d+\./, '')})`;
  return readBy === undefined ? kind : `${kind} (for ${named(readBy)})`;
}

function named(name: string): string {
  return name
    .replace(/^node_\d+/, 'node_*')
    .replace(/-\d+(?=$|[ #@~(])/, '-*')
    .replace(/_l\d+/, '_l*');
}

interface Group {
  first: JudgedNode;
  nodes: JudgedNode[];
}

function grouped(nodes: readonly JudgedNode[], key: (node: JudgedNode) => string): Group[] {
  const groups = new Map<string, Group>();
  for (const node of nodes) {
    const known = groups.get(key(node));
    if (known === undefined) groups.set(key(node), { first: node, nodes: [node] });
    else known.nodes.push(node);
  }
  return [...groups.values()];
}

function worst(nodes: readonly JudgedNode[]): number {
  return Math.max(...nodes.map(({ ownError }) => ownError ?? 0));
}

function faultLines(verdict: RecordingVerdict, color: boolean, most: number): string[] {
  const faults = faultsOf(verdict);
  if (faults.length < 2) return [];
  const words = ({ cause, differences }: JudgedNode) => cause?.words ?? few(differences);
  const groups = grouped(
    faults,
    (node) => `${node.op} ${kindOf(node)} ${words(node).replaceAll(/\d+/g, '*')}`,
  );
  const rows = groups
    .slice(0, most)
    .map(({ first, nodes }) => [
      `  ${kindOf(first)}`,
      first.op,
      String(nodes.length),
      ranges(nodes.map(({ block }) => block)),
      ranges(nodes.map(({ step }) => step)),
      first.limit === 0 && first.ownError === 1
        ? 'indices'
        : first.ownError === null
          ? ''
          : formatError(worst(nodes)),
      ...shareColumn(verdict, () => formatShare(shareOf(nodes))),
      words(first) || (first.place ?? ''),
    ]);
  return [
    'values at fault, in the order of the graph:',
    ...textTable(
      [
        [
          '  value',
          'op',
          'nodes',
          'blocks',
          'steps',
          'own error',
          ...shareColumn(verdict, () => 'share*'),
          '',
        ],
        ...rows,
      ],
      hasShares(verdict) ? 'llrllrrl' : 'llrllrl',
      color,
    ),
    ...rest(groups.length, most),
  ];
}

/** The column of shares, which there are only with a reference and an error at the end. */
function shareColumn(verdict: RecordingVerdict, cell: () => string): string[] {
  return hasShares(verdict) ? [cell()] : [];
}

function hasShares({ nodes }: RecordingVerdict): boolean {
  return nodes.some(({ share }) => share !== undefined);
}

function shareOf(nodes: readonly JudgedNode[]): number {
  return nodes.reduce((sum, { share = 0 }) => sum + share, 0);
}

function shareNote(verdict: RecordingVerdict, color: boolean): string[] {
  return hasShares(verdict) ? [styled(SHARE_NOTE, 'faint', color)] : [];
}

function roundingLines(verdict: RecordingVerdict, color: boolean, most: number): string[] {
  const { nodes } = verdict;
  const making = nodes.filter(
    ({ isFault, ownError, widened }) => !isFault && widened.length > 0 && (ownError ?? 0) > 0,
  );
  const groups = grouped(making, (node) => roundingWords(node, node.widened)).sort(
    (a, b) => shareOf(b.nodes) - shareOf(a.nodes) || worst(b.nodes) - worst(a.nodes),
  );
  if (groups.length === 0) return [];
  const rows = groups.slice(0, most).map(({ nodes: all }) => {
    const top = all.reduce((a, b) => ((b.ownError ?? 0) > (a.ownError ?? 0) ? b : a));
    return [
      `  ${roundingWords(top, top.widened)}`,
      String(all.length),
      formatError(top.ownError),
      ...shareColumn(verdict, () => formatShare(shareOf(all))),
      top.name,
    ];
  });
  return [
    'what rounds, as its types say (no fault):',
    ...textTable(
      [['  ', 'nodes', 'own error up to', ...shareColumn(verdict, () => 'share*'), 'at'], ...rows],
      hasShares(verdict) ? 'lrrrl' : 'lrrl',
      color,
    ),
    ...rest(groups.length, most),
  ];
}

function rest(count: number, most: number): string[] {
  return count > most ? [`  and ${count - most} more (--all)`] : [];
}

/** `0-3, 5`. */
function ranges(values: readonly (number | null)[]): string {
  const sorted = [...new Set(values.filter((value) => value !== null))].sort((a, b) => a - b);
  return numberRuns(sorted)
    .map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`))
    .join(', ');
}
