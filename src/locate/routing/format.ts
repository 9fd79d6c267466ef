import { unscoredChoices } from '../../diff/routing-scores.js';
import { type Cell, formatError, formatShare, textTable } from '../../text-table.js';
import type { RoutingDrift } from './drift.js';
import type { RoutingFlip } from './flips.js';

/** What a cause is called, where not by its name. */
const CAUSES: Partial<Record<RoutingFlip['cause'], string>> = {
  'no skip class': 'chose the skip class, the port has none',
};

/**
 * How routing drifts, for people; nothing where no expert flipped. @param few flips and blocks shown at most;
 * 0: neither.
 */
export function routingLines(routing: RoutingDrift | null, color: boolean, few: number): string[] {
  if (routing === null) return [];
  const { choices, flipped, flips, blocks, pinned } = routing;
  const unscored = unscoredChoices(routing);
  if (flipped === 0 && unscored === '')
    return [`routing: all ${choices} choices take the reference's expert`];
  if (flipped === 0) return [`routing: 0 of ${choices} choices flipped${unscored}`, ...pinnedLines(pinned)];
  const causes = new Map<string, number>();
  for (const { cause } of flips) causes.set(cause, (causes.get(cause) ?? 0) + 1);
  const listed = [...causes]
    .map(([cause, count]) => `${count} ${CAUSES[cause as RoutingFlip['cause']] ?? cause}`)
    .join(', ');
  const lines = [
    `routing: ${flipped} of ${choices} choices (${formatShare(flipped / choices)}) took another expert: ${listed}${unscored}`,
  ];
  const more = pinnedLines(pinned);
  if (few === 0) return [...lines, ...more];
  const first = [...flips].sort((a, b) => rank(b) - rank(a));
  const shown = few >= flips.length ? flips : first.slice(0, few);
  for (const flip of shown) lines.push(`  ${describe(flip)}`);
  if (flipped > shown.length) lines.push(`  ... and ${flipped - shown.length} more`);
  const from = blocks.findIndex(({ flipped: count }) => count > 0);
  const rest = blocks.slice(from);
  const every = Math.max(1, Math.ceil(rest.length / few));
  const rows = rest
    .filter((_, index) => index % every === 0 || index === rest.length - 1)
    .map((block) => [
      String(block.block),
      String(block.flipped),
      `${block.sameTokens} of ${block.choices}`,
      block.sameTokens === 0 ? '–' : formatError(block.sameNmse),
      formatError(block.flippedNmse),
      block.sameRatio === null ? '–' : block.sameRatio.toFixed(2),
    ]);
  const header = ['block', 'flipped', 'tokens never flipped', 'NMSE', 'NMSE of the others', 'noise ratio'];
  lines.push(
    ...textTable([header.map((text): Cell => ({ text, style: 'strong' })), ...rows], 'rrrrrr', color),
  );
  return [...lines, ...more];
}

function pinnedLines(pinned: RoutingDrift['pinned']): string[] {
  if (pinned === null) return [];
  const { finalNmse, freeNmse, flipped } = pinned;
  return [
    `with routing pinned to the reference's: final NMSE ${formatError(finalNmse)} instead of ${formatError(freeNmse)}; ${flipped} tokens would flip of themselves`,
  ];
}

/** What deserves to be seen first. */
function rank({ cause }: RoutingFlip): number {
  return {
    'wrong choice': 5,
    'no skip class': 4,
    'large error': 3,
    unknown: 2,
    'close call': 1,
    inherited: 0,
  }[cause];
}

function describe({
  block,
  sequence,
  position,
  reference,
  tested,
  margin,
  error,
  cause,
}: RoutingFlip): string {
  const where = `block ${block} ${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}`;
  return `${where}: expert ${reference} became ${tested}, ${CAUSES[cause] ?? cause} (margin ${formatError(margin)}, error of its probabilities ${formatError(error)})`;
}
