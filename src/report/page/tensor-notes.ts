import type { PackedView } from '../build/pack-views.js';

/** What the maps of a tap show, in words. */
export function viewNote(
  view: Pick<PackedView, 'shape' | 'rows' | 'scope' | 'gridRows' | 'gridColumns'>,
): string {
  const width = view.shape.reduce((product, size) => product * size, 1);
  const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
  const cells =
    view.gridRows < view.rows || view.gridColumns < width
      ? `pooled to ${view.gridRows} × ${view.gridColumns}: a cell shows the element of its rectangle that is largest in magnitude, and the largest difference`
      : 'every element shown';
  return `${counted(view.rows, view.scope)} × ${counted(width, 'element')}, ${cells}. Where the difference is blank, both sides are the same.`;
}

/**
 * Said in place of a histogram of errors. @param notFinite elements sampled that are not finite on one side.
 */
export function noErrorsNote(notFinite: number): string {
  return notFinite === 0
    ? 'Errors: none; both sides are the same in every element sampled.'
    : `Errors: none that is finite; ${notFinite} of the elements sampled are not finite on one side.`;
}

/**
 * The tap that a page's address names, as `#tap=NAME`; undefined for any other, and for one that somebody
 * typed wrong.
 */
export function wantedTap(hash: string): string | undefined {
  const wanted = /^#tap=(.*)$/.exec(hash)?.[1];
  if (wanted === undefined) return undefined;
  try {
    return decodeURIComponent(wanted);
  } catch {
    return undefined;
  }
}
