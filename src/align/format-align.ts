import { formatError, rendered, styled, textTable } from '../text-table.js';
import type { AlignPair, AlignResult } from './align.js';
import { layoutWords } from './name-map-of.js';
import { nonFiniteWords } from './non-finite.js';

/** Values without partner that are listed unless all are asked for. */
const FEW = 12;

/** What was paired and what was not, as text. @param all every pair and every value without partner. */
export function formatAlign(
  result: AlignResult,
  { color = false, all = false }: { color?: boolean; all?: boolean } = {},
): string {
  return rendered([
    [...headLines(result, color), ...nonFiniteLines(result, color), ...callLines(result, color)],
    pairLines(result, color, all),
    openLines(result, color, all),
  ]);
}

function headLines({ pairs, counts, open, silent, hasEdges, map }: AlignResult, color: boolean): string[] {
  const worst = pairs.reduce<number>(
    (most, { by, error }) => (by === 'elements' ? Math.max(most, error) : most),
    0,
  );
  const count = (kind: AlignPair['by']) => pairs.filter(({ by }) => by === kind).length;
  const [byTokens, byPlace, byRole] = [count('tokens'), count('neighbours'), count('role')];
  const without = Object.entries(hasEdges).flatMap(([side, has]) => (has ? [] : [side]));
  return [
    `${counts.reference} values of the reference, ${counts.tested} of the tested program, ${counts.tokens} tokens`,
    `${styled(`${pairs.length} paired`, pairs.length > 0 ? 'good' : 'bad', color)}  ${count('elements')} by their elements (error up to ${formatError(worst)})${byTokens > 0 ? `, ${byTokens} by those of most tokens` : ''}${byPlace > 0 ? `, ${byPlace} by their place in both graphs` : ''}${byRole > 0 ? `, ${byRole} as the logits` : ''}; ${map.rules.length} rules`,
    ...(open.length > 0 ? [`${open.length} without a partner that is beyond doubt`] : []),
    ...(silent.reference.length > 0
      ? [
          `${silent.reference.length} of the reference not looked at: ${silent.reference[0]!.name} ${silent.reference[0]!.reason}${silent.reference.length > 1 ? ', ..' : ''}`,
        ]
      : []),
    ...(without.length > 0
      ? [
          `note: the ${without.join(' and the ')} ${without.length > 1 ? 'dumps do' : 'dump does'} not say what went into what: elements alone decide`,
        ]
      : []),
  ];
}

/** What agrees with nothing. */
function nonFiniteLines({ nonFinite }: AlignResult, color: boolean): string[] {
  return (['reference', 'tested'] as const)
    .filter((side) => nonFinite[side].length > 0)
    .map((side) => styled(`NOT FINITE  ${nonFiniteWords(side, nonFinite[side])}`, 'bad', color));
}

/** Decode steps and more sequences: all in a line, and where they differ. */
function callLines({ calls, otherCalls }: AlignResult, color: boolean): string[] {
  const left =
    otherCalls === 0
      ? []
      : [`note: ${otherCalls} further calls of one side have no partner of the same tokens`];
  if (calls.length === 0) return left;
  const tokens = calls.reduce((sum, call) => sum + call.tokens, 0);
  const worst = Math.max(...calls.map(({ error }) => error));
  const wrong = calls.filter(({ differing }) => differing.length > 0);
  const [first] = wrong;
  return [
    ...left,
    `the same in ${calls.length} further call${calls.length === 1 ? '' : 's'} or sequence${calls.length === 1 ? '' : 's'} (${tokens} tokens): ${first === undefined ? `all agree, error up to ${formatError(worst)}` : `${wrong.length} ${styled('differ', 'bad', color)}`}`,
    ...(first === undefined
      ? []
      : [
          `  step ${first.step}, sequence ${first.sequence}: ${first.differing.length} of ${first.compared}, first ${first.differing[0]!.tap} and ${first.differing[0]!.from}, error ${formatError(first.differing[0]!.error)}`,
        ]),
  ];
}

/** Those of which something differs; or all. */
function pairLines({ pairs }: AlignResult, color: boolean, all: boolean): string[] {
  const shown = all ? pairs : pairs.filter(({ by }) => by !== 'elements').slice(0, FEW);
  if (shown.length === 0) return [];
  const row = ({ tap, from, error, nextError, by, layout, prefix }: AlignPair) => [
    tap,
    from,
    formatError(error),
    nextError === undefined ? '' : formatError(nextError),
    by,
    layoutWords(layout, prefix),
  ];
  const head = ['reference', 'tested', 'error', 'next', 'by', 'layout'];
  return [
    all ? 'pairs:' : 'paired though they differ:',
    ...textTable([head, ...shown.map(row)], 'llrrll', color),
  ];
}

function openLines({ open }: AlignResult, color: boolean, all: boolean): string[] {
  if (open.length === 0) return [];
  const shown = all ? open : open.slice(0, FEW);
  const rows = shown.map(({ taps, candidates, reason }) => [
    `${taps[0]}${taps.length > 1 ? ` (and ${taps.length - 1} of the same)` : ''}`,
    candidates.map(({ from, error }) => `${from} ${formatError(error)}`).join(', ') +
      (reason === undefined ? '' : `; ${reason}`),
  ]);
  return [
    'without a partner, and the nearest values of their size:',
    ...textTable(rows, 'll', color),
    ...(open.length > shown.length ? [`and ${open.length - shown.length} more (--all)`] : []),
  ];
}
