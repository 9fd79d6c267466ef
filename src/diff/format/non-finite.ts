import type { NonFiniteCounts, ReportNonFinite } from '../non-finite.js';
import type { ElementPlace } from '../report.js';

/** `reference 3 NaN, tested 3 NaN and 1 infinity`; a side without any is left out. */
export function sideCounts({ nan, inf }: Pick<NonFiniteCounts, 'nan' | 'inf'>): string {
  const sides = (['reference', 'tested'] as const).flatMap((side) => {
    const kinds = [
      ...(nan[side] > 0 ? [`${nan[side]} NaN`] : []),
      ...(inf[side] > 0 ? [`${inf[side]} ${inf[side] === 1 ? 'infinity' : 'infinities'}`] : []),
    ];
    return kinds.length === 0 ? [] : [`${side} ${kinds.join(' and ')}`];
  });
  return sides.join(', ');
}

/**
 * The sentences that a verdict owes its reader about what is not finite: none where everything is. @param
 * what plural noun of the compared, e.g. `taps`.
 */
export function nonFiniteLines(found: ReportNonFinite, what: string): string[] {
  const { masked, allowed, counted, taps, first } = found;
  const lines: string[] = [];
  if (counted > 0)
    lines.push(
      `NOT FINITE: ${pairs(counted)} in ${taps} of the ${what} (${sideCounts(found)}), first ${first!.tap}${placeWords(first!.place)}; no verdict passes over them`,
    );
  if (allowed > 0)
    lines.push(
      `allowed: ${pairs(allowed)} that are not finite in the same way on both sides${counted > 0 ? '' : ` (${sideCounts(found)})`}: errors are over the finite ones`,
    );
  if (masked > 0)
    lines.push(
      `masked: ${masked} infinities at the same places of values that are marked as masked count as equal`,
    );
  return lines;
}

/** ` at position 3 [5]: NaN and 1.5`, or nothing. */
export function placeWords(place: ElementPlace | null | undefined): string {
  if (place === null || place === undefined) return '';
  const { sequence, position, index, reference, tested, exact } = place;
  const where = `${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}${index.length === 0 ? '' : ` [${index.join(', ')}]`}`;
  const [a, b] = toldApart(reference, tested);
  return ` at ${where}: ${exact?.reference ?? a} and ${exact?.tested ?? b}`;
}

/** Both numbers with 6 digits, or with as many as it takes to tell two that differ apart. */
export function toldApart(a: number, b: number): [string, string] {
  for (let digits = 6; ; digits++) {
    const shown = [a, b].map((value) =>
      String(Number.isSafeInteger(value) ? value : Number(value.toPrecision(digits))),
    ) as [string, string];
    if (digits === 17 || shown[0] !== shown[1] || Object.is(a, b)) return shown;
  }
}

function pairs(count: number): string {
  return `${count} ${count === 1 ? 'pair' : 'pairs'}`;
}
