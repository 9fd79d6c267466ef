import { type Cell, formatError, formatShare, textTable } from '../../text-table.js';
import type { RoutingDrift, RoutingFlip } from './drift.js';

/** Flips and blocks shown without `verbose`. */
const FEW = 10;

/** How routing drifts, for people; nothing where no expert flipped. */
export function routingLines(routing: RoutingDrift | null, color: boolean, verbose: boolean): string[] {
  if (routing === null) return [];
  const { choices, flipped, flips, blocks, pinned } = routing;
  if (flipped === 0) return [`routing: all ${choices} choices take the reference's expert`];
  const causes = new Map<string, number>();
  for (const { cause } of flips) causes.set(cause, (causes.get(cause) ?? 0) + 1);
  const listed = [...causes].map(([cause, count]) => `${count} ${cause}`).join(', ');
  const lines = [
    `routing: ${flipped} of ${choices} choices (${formatShare(flipped / choices)}) took another expert: ${listed}`,
  ];
  const first = [...flips].sort((a, b) => rank(b) - rank(a));
  for (const flip of verbose ? flips : first.slice(0, FEW)) lines.push(`  ${describe(flip)}`);
  if (!verbose && flips.length > FEW) lines.push(`  ... and ${flipped - FEW} more`);
  const from = blocks.findIndex(({ flipped: count }) => count > 0);
  const rest = blocks.slice(from);
  const every = verbose ? 1 : Math.ceil(rest.length / FEW);
  const rows = rest
    .filter((_, index) => index % every === 0 || index === rest.length - 1)
    .map((block) => [
      String(block.block),
      String(block.flipped),
      `${block.sameTokens} of ${block.choices}`,
      formatError(block.sameNmse),
      formatError(block.flippedNmse),
      block.sameRatio === null ? '–' : block.sameRatio.toFixed(2),
    ]);
  const header = ['block', 'flipped', 'tokens never flipped', 'NMSE', 'NMSE of the others', 'noise ratio'];
  lines.push(
    ...textTable([header.map((text): Cell => ({ text, style: 'strong' })), ...rows], 'rrrrrr', color),
  );
  if (pinned !== null)
    lines.push(
      `with routing pinned to the reference's: final NMSE ${formatError(pinned.finalNmse)} instead of ${formatError(pinned.freeNmse)}; ${pinned.flipped} tokens would flip of themselves`,
    );
  return lines;
}

/** What deserves to be seen first. */
function rank({ cause }: RoutingFlip): number {
  return { 'wrong choice': 4, 'large error': 3, unknown: 2, 'close call': 1, inherited: 0 }[cause];
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
  return `${where}: expert ${reference} became ${tested}, ${cause} (margin ${formatError(margin)}, error of its probabilities ${formatError(error)})`;
}
