import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { familyOf } from '../../dump/roles.js';
import { hasRole, roleTap } from '../../families/roles.js';
import { CLOSE } from '../faults/hidden-choices.js';
import type { LocalError } from '../faults/local.js';
import { tapPlace } from '../replay/tap-graph.js';

const PRECISIONS: Partial<Record<string, number>> = { F32: 2 ** -22, F16: 2 ** -10, BF16: 2 ** -7 };

/**
 * Taps of experts whose every difference in a replay is a tie: the two experts' biased probabilities, as the
 * dump holds them, are equal to within their dtype's precision. Another order of the same rounding may then
 * choose either. Where the dump does not hold them, the recomputed ones are closer than what it does not show
 * may turn.
 * @param half true for a program that rounds to half precision.
 */
export async function tiedChoices(
  dump: DumpView,
  local: ReadonlyMap<string, LocalError>,
  half: boolean,
): Promise<Set<string>> {
  const family = familyOf(dump.manifest);
  const tied = new Set<string>();
  for (const [name, { differing, differences, lostLead }] of local) {
    if (lostLead !== null && lostLead <= (half ? CLOSE.half : CLOSE.single)) tied.add(name);
    if (!hasRole(family, 'router.expert', name) || differing === 0 || differing > differences.length)
      continue;
    const probabilities = roleTap(family, 'router.probabilities', tapPlace(name).block!);
    const biased = dump.taps.find((tap) => tap.name === probabilities);
    if (biased === undefined) continue;
    const precision = PRECISIONS[biased.dtype] ?? 0;
    const rows = await dump.rows(biased.name);
    let all = true;
    for (const { sequence, position, reference, tested } of differences) {
      const row = rows.position.findIndex((at, k) => at === position && rows.sequence[k] === sequence);
      const batch = await dump.readRows(biased.name, row, row + 1);
      const values = batch === undefined ? undefined : toFloat32(batch.data, batch.dtype);
      const [a, b] = [values?.[reference] ?? Number.NaN, values?.[tested] ?? Number.NaN];
      all &&= Math.abs(a - b) <= precision * Math.max(Math.abs(a), Math.abs(b));
    }
    if (all) tied.add(name);
  }
  return tied;
}
