import { rendered, textTable } from '../../text-table.js';
import type { RecordingReplay, ReplayedNode } from './replay.js';

/** Nodes that gave other bits or did not run are listed up to here. */
const MOST_LISTED = 20;

/** What a replay found, as text. @param top nodes to list with the largest error of their own. */
export function formatReplay(
  { nodes, unrecorded, device, threads, partial }: RecordingReplay,
  top: number,
): string {
  const compared = nodes.filter(({ isSame }) => isSame !== undefined);
  const other = compared.filter(({ isSame }) => !isSame);
  const failed = nodes.filter(({ problem }) => problem !== undefined);
  const widened = nodes.filter(({ ownError }) => ownError !== undefined);
  const making = widened.filter(({ ownError }) => ownError! > 0).sort((a, b) => b.ownError! - a.ownError!);
  const head = [
    `${nodes.length} nodes on ${device}${threads === undefined ? '' : `, ${threads} thread${threads === 1 ? '' : 's'}`}`,
  ];
  if (partial)
    head.push('PARTIAL: the run did not finish; what is there of it was replayed, which passes nothing');
  const judged = nodes.filter(({ onDevice }) => onDevice !== undefined);
  const beyond = judged.filter(({ onDevice }) => onDevice!.isBeyond);
  if (judged.length > 0)
    head.push(
      beyond.length === 0
        ? `within limits: ${judged.length} of ${judged.length}; ${judged.length - other.length} the same bits`
        : `within limits: ${judged.length - beyond.length} of ${judged.length}, ${beyond.length} BEYOND; ${judged.length - other.length} the same bits`,
    );
  else if (compared.length > 0)
    head.push(
      other.length === 0
        ? `as recorded: ${compared.length} of ${compared.length} the same bits`
        : `as recorded: ${compared.length - other.length} of ${compared.length} the same bits, ${other.length} OTHER`,
    );
  if (widened.length > 0)
    head.push(`operands in F32: ${widened.length - making.length} make no error, ${making.length} do`);
  const inDouble = nodes
    .filter(({ doubleError }) => doubleError !== undefined)
    .sort((a, b) => b.doubleError! - a.doubleError!);
  if (inDouble.length > 0)
    head.push(
      `in double precision: ${inDouble.length} of ${nodes.length} nodes, the largest error ${inDouble[0]!.doubleError!.toExponential(2)}`,
    );
  const [first, ...more] = nodes.filter(({ nonFinite }) => nonFinite > 0);
  if (first !== undefined)
    head.push(
      `NOT FINITE: NaN or infinite values in ${more.length + 1} of ${nodes.length} nodes, first ${first.name} (${first.op}), step ${first.step}: ${first.nonFinite}`,
    );
  if (failed.length > 0) head.push(`not replayed: ${failed.length}`);
  const [left] = unrecorded;
  if (left !== undefined)
    head.push(
      `not recorded: ${unrecorded.length} nodes left out, the first ${left.name} (${left.op}), step ${left.step}: ${left.reason}`,
    );
  return rendered([
    head,
    listed(
      'beyond their limits (NMSE)',
      beyond,
      ({ onDevice }) => onDevice!.error.toExponential(2),
      ({ onDevice }) => `limit ${onDevice!.limit.toExponential(2)}`,
    ),
    listed(
      'other bits',
      judged.length > 0 ? [] : other,
      ({ nmse }) => nmse?.toExponential(2) ?? '',
      () => '',
    ),
    listed(
      'not replayed',
      failed,
      () => '',
      ({ problem }) => problem!,
    ),
    listed(
      'the largest errors that nodes make themselves (NMSE)',
      making.slice(0, top),
      ({ ownError }) => ownError!.toExponential(2),
      ({ widened: types = [] }) => `${types.join(', ')} widened`,
      making.length,
    ),
    listed(
      'the largest errors against double precision (NMSE)',
      inDouble.slice(0, top),
      ({ doubleError }) => doubleError!.toExponential(2),
      () => '',
      inDouble.length,
    ),
  ]);
}

function listed(
  title: string,
  nodes: readonly ReplayedNode[],
  number: (node: ReplayedNode) => string,
  words: (node: ReplayedNode) => string,
  total = nodes.length,
): string[] {
  if (nodes.length === 0) return [];
  const shown = nodes.slice(0, Math.max(MOST_LISTED, total === nodes.length ? MOST_LISTED : nodes.length));
  const rows = shown.map((node) => [
    `  ${number(node)}`,
    node.op,
    node.name,
    `step ${node.step}`,
    words(node),
  ]);
  const rest = total - shown.length;
  return [`${title}:`, ...textTable(rows, 'lllll', false), ...(rest > 0 ? [`  and ${rest} more`] : [])];
}
