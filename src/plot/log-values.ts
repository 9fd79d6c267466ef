import { formatError } from '../text-table.js';

/** Values for a logarithmic axis: plotly has no place for zero there. */
export interface LogValues {
  /** Zeros stand at `floor`; NaN and infinities are null. */
  readonly drawn: (number | null)[];
  /** What each value is, for the hover. */
  readonly text: string[];
  /** A decade below the smallest positive value; where zeros are drawn. */
  readonly floor: number;
  /** Values that are exactly zero, and that are NaN or infinite: neither may go unsaid. */
  readonly zeros: number;
  readonly nonFinite: number;
}

/** Places errors (0 or more) of one or several series on a common logarithmic axis. */
export function logValues(series: readonly (readonly number[])[]): LogValues[] {
  const positive = series.flat().filter((value) => value > 0 && Number.isFinite(value));
  const least = positive.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const floor = Number.isFinite(least) ? 10 ** (Math.floor(Math.log10(least)) - 1) : 1e-16;
  return series.map((values) => ({
    drawn: values.map((value) => (Number.isFinite(value) ? Math.max(value, floor) : null)),
    text: values.map((value) => (value === 0 ? 'exactly 0' : formatError(value))),
    floor,
    zeros: values.filter((value) => value === 0).length,
    nonFinite: values.filter((value) => !Number.isFinite(value)).length,
  }));
}

/** Decades from which only powers of ten are labelled. */
const WIDE_DECADES = 3;

/**
 * A logarithmic axis. @param values what it shows: where they span several decades, only powers of ten are
 * labelled, and at most about `mostTicks`; over one to three also 2 and 5.
 */
export function logAxis(
  title: string,
  values: readonly LogValues[] = [],
  mostTicks = 9,
): Record<string, unknown> {
  const shown = values.flatMap(({ drawn }) => drawn).filter((value) => value !== null);
  const largest = shown.reduce((a, b) => Math.max(a, b), 0);
  const least = shown.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const decades = shown.length === 0 ? 0 : Math.log10(largest / least);
  return {
    title: { text: title, standoff: 10 },
    type: 'log',
    exponentformat: 'power',
    ...(decades < 1 ? {} : { dtick: decades < WIDE_DECADES ? 'D2' : Math.ceil(decades / mostTicks) }),
  };
}

/**
 * A note for a figure's subtitle where values could not be drawn as they are; empty where all could. @param
 * zerosAt where zeros are drawn. @param lostAt and what is not finite.
 */
export function unseen(
  values: readonly LogValues[],
  zerosAt = 'drawn at the low end',
  lostAt = 'not drawn',
): string {
  const zeros = values.reduce((sum, each) => sum + each.zeros, 0);
  const lost = values.reduce((sum, each) => sum + each.nonFinite, 0);
  const parts = [
    ...(zeros > 0 ? [`${zeros} exact ${zeros === 1 ? 'zero' : 'zeros'} ${zerosAt}`] : []),
    ...(lost > 0 ? [`${lost} NaN or infinite ${lostAt}`] : []),
  ];
  return parts.join(', ');
}

/** A title with a smaller second line. */
export function titled(title: string, ...notes: readonly string[]): { text: string } {
  const note = notes.filter((each) => each !== '').join('; ');
  return { text: note === '' ? plainText(title) : `${plainText(title)}<br><sub>${plainText(note)}</sub>` };
}

/** Plotly reads a few tags in its texts: names must not become one. */
export function plainText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
