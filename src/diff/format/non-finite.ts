import type { NonFiniteCounts, ReportNonFinite } from '../non-finite.js';
import type { DiffReport, ElementPlace } from '../report.js';
import type { UnpairedNonFinite, UnpairedPlace } from '../unpaired-non-finite.js';

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
      `allowed: ${pairs(allowed)} that ${allowed === 1 ? 'is' : 'are'} not finite in the same way on both sides${counted > 0 ? '' : ` (${sideCounts(found)})`}: errors are over the finite ones`,
    );
  if (masked > 0)
    lines.push(
      `masked: ${masked} infinities at the same places of values that are marked as masked count as equal`,
    );
  return lines;
}

/** The sentences of a diff, about pairs and about what has no partner. */
export function diffNonFiniteLines(report: Pick<DiffReport, 'nonFinite' | 'unpairedNonFinite'>): string[] {
  return [...nonFiniteLines(report.nonFinite, 'taps'), ...unpairedNonFiniteLines(report.unpairedNonFinite)];
}

/** The same of values that only the tested dump holds, or of others. @param which says of which. */
export function unpairedNonFiniteLines(found: UnpairedNonFinite, which = ' without a partner'): string[] {
  const { nan, inf, masked, allowed, counted, taps, first } = found;
  const kinds = sideCounts({
    nan: { reference: 0, tested: nan },
    inf: { reference: 0, tested: inf - masked },
  });
  const values = (count: number) => `${count} ${count === 1 ? 'value' : 'values'}`;
  const lines: string[] = [];
  if (counted > 0)
    lines.push(
      `NOT FINITE: ${values(counted)}${which}, in ${taps} ${taps === 1 ? 'tap' : 'taps'} (${kinds}), first ${first!.tap}${unpairedPlaceWords(first!.place)}; no verdict passes over them`,
    );
  if (allowed > 0)
    lines.push(
      `allowed: ${values(allowed)}${which} that ${allowed === 1 ? 'is' : 'are'} not finite (${kinds})`,
    );
  return lines;
}

function unpairedPlaceWords(place: UnpairedPlace | null): string {
  if (place === null) return '';
  const { sequence, position, index, value } = place;
  const at = `${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}`;
  return ` at ${at}${index === null || index.length === 0 ? '' : ` [${index.join(', ')}]`}${value === null ? '' : `: ${value}`}`;
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
