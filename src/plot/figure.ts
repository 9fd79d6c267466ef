import { badArgument } from '../errors.js';

/**
 * A plotly figure as data: nothing here draws. Colours of background, text and grid are not part of it; the
 * page that draws it adds them for a light or a dark theme (`figure-html.ts`). Points that belong to a tap
 * carry its full name as `customdata` (a string, or an array whose first entry it is).
 */
export interface Figure {
  /** Kind of the figure, kebab-case. */
  readonly name: string;
  readonly title: string;
  /** What is seen, in one sentence, for those who cannot see it. */
  readonly description: string;
  readonly data: readonly Trace[];
  readonly layout: Layout;
}

/** A trace in plotly's own terms. Numbers are plain arrays; NaN and infinities have become null. */
export interface Trace {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** A layout in plotly's own terms. */
export interface Layout {
  readonly [key: string]: unknown;
}

/**
 * Numbers as JSON can hold them: NaN and infinities become null, which plotly leaves out. Count them with
 * {@link countNonFinite} and say so.
 */
export function plainNumbers(values: ArrayLike<number>): (number | null)[] {
  return Array.from(values, (value) => (Number.isFinite(value) ? value : null));
}

/** How many values are NaN or infinite. */
export function countNonFinite(values: ArrayLike<number>): number {
  let count = 0;
  for (let index = 0; index < values.length; index++) if (!Number.isFinite(values[index])) count++;
  return count;
}

/**
 * The figure as JSON that may stand inside a script element: `<`, `>`, `&` and line separators are escaped.
 * Throws `BAD_ARGUMENT` for a figure without a trace.
 */
export function figureJson(figure: Figure): string {
  if (figure.data.length === 0) throw badArgument('plot', 'at least one trace', 'none', figure.name);
  return scriptJson(figure);
}

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/**
 * JSON that cannot end the script element it stands in, nor open a comment. Typed arrays become plain ones;
 * NaN and infinities become null.
 */
export function scriptJson(value: unknown): string {
  const text = JSON.stringify(value, (_, entry: unknown) =>
    ArrayBuffer.isView(entry) && !(entry instanceof DataView)
      ? plainNumbers(entry as unknown as ArrayLike<number>)
      : entry,
  );
  return text.replace(/[<>&\u2028\u2029]/g, (character) => ESCAPES[character]!);
}
