/** Choices of experts that say nothing: those made from scores that are not finite. */
import { isExact } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { hasNumbers, toFloat64 } from '../dump/float.js';
import { isMasked, type TapInfo } from '../dump/format.js';
import type { TensorBatch } from '../dump/reader.js';
import type { DumpRoles } from '../dump/roles.js';
import type { RoutingReport } from './routing.js';

/** A token by sequence and position. */
export function tokenKey({ sequence, position }: TensorBatch, row: number): string {
  return `${sequence[row]} ${position[row]}`;
}

/**
 * Tokens of a block whose router had a NaN or an infinity (of values marked as masked: a NaN) in a dump: the
 * largest of such scores is any expert. Read from the tap of role `router.probabilities`, else
 * `router.margin`; none where a dump has neither.
 */
export async function tokensWithoutScores(
  dump: DumpView,
  roles: DumpRoles | undefined,
  block: number,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const tap = scoresOf(dump, roles, block);
  if (tap === undefined) return found;
  const masked = isMasked(tap);
  for await (const batch of dump.stream(tap.name)) {
    const values = toFloat64(batch.data, batch.dtype);
    const rows = batch.position.length;
    const width = values.length / rows;
    for (const [at, value] of values.entries())
      if (masked ? Number.isNaN(value) : !Number.isFinite(value))
        found.add(tokenKey(batch, Math.floor(at / width)));
  }
  return found;
}

function scoresOf(dump: DumpView, roles: DumpRoles | undefined, block: number): TapInfo | undefined {
  for (const role of ['router.probabilities', 'router.margin']) {
    const names = new Set(roles?.[role]);
    const tap = dump.taps.find(
      ({ name, block: own, dtype, scope }) =>
        own === block && scope === 'token' && names.has(name) && !isExact(dtype) && hasNumbers(dtype),
    );
    if (tap !== undefined) return tap;
  }
  return undefined;
}

/** Says of how many choices nothing can be said; nothing where there is none. */
export function unscoredChoices({
  nonFinite,
  firstNonFinite,
}: Pick<RoutingReport, 'nonFinite' | 'firstNonFinite'>): string {
  if (nonFinite === 0) return '';
  const { block, sequence, position } = firstNonFinite!;
  const place = `block ${block} ${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}`;
  return `, ${nonFinite} made from scores that are NaN or infinite (first: ${place})`;
}
