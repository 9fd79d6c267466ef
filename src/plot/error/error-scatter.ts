import { elementIndex } from '../../element-index.js';
import { ZayascopeError } from '../../errors.js';
import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { logAxis, logValues, titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { requireCounts, toNumbers, type ViewedTensor } from '../tensor/tensor-slice.js';
import { SERIES_COLORS } from '../theme.js';

/** Pairs drawn at most unless asked otherwise. */
const LIMIT = 20_000;

/**
 * Error against magnitude, element by element, both logarithmic: rounding lies on lines of constant relative
 * error, a shift or a wrong element does not. Large tensors are sampled evenly (every n-th element, n without
 * a factor in common with the last axis, so that all columns are met), the largest error always among them.
 * Pairs without an error or with a zero reference have no place on the axes: they are counted in the title.
 *
 * @throws `SHAPE_MISMATCH` for two shapes; `BAD_ARGUMENT` where no pair has an error, or for a `limit` below
 * 1 (elements drawn; default 20000).
 */
export function errorAgainstMagnitude(
  reference: ViewedTensor,
  tested: ViewedTensor,
  options: { title?: string; limit?: number } = {},
): Figure {
  const [a, b] = pair('errorAgainstMagnitude', reference, tested);
  const name = reference.tap?.name ?? 'tensor';
  const { limit = LIMIT } = options;
  requireCounts('errorAgainstMagnitude', name, { limit });
  const erring: number[] = [];
  let [exact, zero, lost, worst] = [0, 0, 0, -1];
  for (let at = 0; at < a.length; at++) {
    const error = Math.abs(b[at]! - a[at]!);
    if (!Number.isFinite(error)) lost++;
    else if (error === 0) exact++;
    else if (a[at] === 0) zero++;
    else {
      erring.push(at);
      if (worst < 0 || error > Math.abs(b[worst]! - a[worst]!)) worst = at;
    }
  }
  requireSome('errorAgainstMagnitude', 'a pair of elements that differ', erring.length);
  let step = Math.ceil(erring.length / limit);
  while (step > 1 && commonDivisor(step, reference.shape.at(-1) ?? 1) > 1) step++;
  const shown = erring.filter((at, index) => index % step === 0 || at === worst);
  const title = options.title ?? `Error against magnitude: ${name}`;
  const place = (at: number) => elementIndex(at, reference.shape).index.join(', ');
  const x = shown.map((at) => Math.abs(a[at]!));
  const y = shown.map((at) => Math.abs(b[at]! - a[at]!));
  return {
    name: 'error-against-magnitude',
    title,
    description: `Absolute error against magnitude of ${shown.length} elements of ${name}.`,
    data: [
      {
        type: 'scattergl',
        mode: 'markers',
        x,
        y,
        marker: { size: 4, opacity: 0.55, color: SERIES_COLORS[0] },
        customdata: shown.map((at) => [
          name,
          place(at),
          formatError(Math.abs((b[at]! - a[at]!) / a[at]!)),
          b[at]!,
        ]),
        hovertemplate:
          '%{customdata[0]} [%{customdata[1]}]<br>|reference| %{x:.9~g}, tested %{customdata[3]:.9~g}<br>error %{y:.2e}, relative %{customdata[2]}<extra></extra>',
      },
    ],
    layout: {
      title: titled(
        title,
        step > 1
          ? `one in ${step} of ${erring.length} elements that differ`
          : `${erring.length} elements that differ`,
        `${exact} exact`,
        zero > 0 ? `${zero} where the reference is 0` : '',
        lost > 0 ? `${lost} NaN or infinite` : '',
      ),
      xaxis: logAxis('|reference|', logValues([x])),
      yaxis: logAxis('|tested − reference|', logValues([y])),
      showlegend: false,
    },
  };
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** Two tensors of one shape, widened. */
export function pair(
  op: string,
  reference: ViewedTensor,
  tested: ViewedTensor,
): [ArrayLike<number>, ArrayLike<number>] {
  if (reference.shape.join() !== tested.shape.join())
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `${op}: expected two tensors of one shape, got [${reference.shape.join(', ')}] and [${tested.shape.join(', ')}]`,
      { op, shapes: [reference.shape, tested.shape] },
    );
  return [toNumbers(reference), toNumbers(tested)];
}
