import { changedExperts } from '../../diff/routing.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { ZayascopeError } from '../../errors.js';
import { formatError } from '../../text-table.js';
import type { Figure, Trace } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR, NEUTRAL_COLOR, SERIES_COLORS } from '../theme.js';
import { tokenName } from '../token-map.js';

/** One choice of a token's experts. */
interface Choice {
  tap: string;
  position: number;
  /** Lead of the reference's last expert taken over the next, in biased probability. */
  margin: number;
  /** Largest error of the token's biased probabilities. */
  error: number;
  flipped: boolean;
}

/**
 * Every choice of a token's experts: by how much the reference's last expert taken leads over the next (x)
 * against the largest error of the token's biased probabilities (y), flipped ones marked: those in which
 * another set of experts is the likeliest. No rounding can flip a choice whose margin is above twice its
 * error: right of the line.
 *
 * @throws `BAD_ARGUMENT` where the dumps share no tap of role `router.probabilities`; `UNPAIRED` where they
 * hold other rows of it.
 */
export async function routingMargins(
  reference: DumpView,
  tested: DumpView,
  options: { title?: string; sequence?: number; tokenTexts?: readonly string[] } = {},
): Promise<Figure> {
  const { title = 'Lead of the best expert, and error of the probabilities', sequence = 0 } = options;
  const choices = await readChoices(reference, tested, sequence);
  const token = tokenName(reference, sequence, options.tokenTexts);
  requireSome(
    'routingMargins',
    'rows of router probabilities (role router.probabilities) in both',
    choices.length,
  );
  const errors = choices.map(({ error }) => error).filter((error) => error > 0 && error < Infinity);
  const ends = [Math.min(...errors), Math.max(...errors)];
  const possible = choices.filter(({ margin, error }) => margin <= 2 * error).length;
  const lost = choices.filter(({ error, margin }) => !Number.isFinite(error - margin)).length;
  const flipped = choices.filter((choice) => choice.flipped).length;
  return {
    name: 'routing-margins',
    title,
    description: `Margin against error of ${choices.length} choices of an expert, both logarithmic: ${possible} could flip, ${flipped} did.`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        name: 'margin = 2 × error',
        x: ends.map((error) => 2 * error),
        y: ends,
        line: { dash: 'dot', color: NEUTRAL_COLOR },
        hoverinfo: 'skip',
      },
      points(
        'same expert',
        token,
        choices.filter((choice) => !choice.flipped),
        {
          size: 5,
          color: SERIES_COLORS[0],
          opacity: 0.6,
        },
      ),
      points(
        'flipped',
        token,
        choices.filter((choice) => choice.flipped),
        {
          size: 11,
          symbol: 'x',
          color: FAULT_COLOR,
        },
      ),
    ],
    layout: {
      title: titled(
        title,
        `${possible} of ${choices.length - lost} choices could flip, ${flipped} did`,
        lost === 0 ? '' : `${lost} of NaN or infinite probabilities, of which nothing can be said`,
      ),
      xaxis: logAxis('margin of the reference (probability)'),
      yaxis: logAxis('largest error of the biased probabilities'),
      ...legendAbove(3),
    },
  };
}

async function readChoices(reference: DumpView, tested: DumpView, sequence: number): Promise<Choice[]> {
  const held = new Set(tested.taps.map(({ name }) => name));
  const choices: Choice[] = [];
  const { roles } = reference;
  const probabilities = new Set(roles?.['router.probabilities']);
  const experts = new Set(roles?.['router.expert']);
  for (const { name, block } of reference.taps) {
    if (!probabilities.has(name) || !held.has(name)) continue;
    const expert = reference.taps.find((tap) => tap.block === block && experts.has(tap.name));
    const taken = expert?.shape[0] ?? 1;
    const [a, b] = [await reference.read(name, { sequence }), await tested.read(name, { sequence })];
    const [left, right] = [toFloat32(a.data, a.dtype), toFloat32(b.data, b.dtype)];
    const [width, others] = [left.length / a.shape[0]!, right.length / b.shape[0]!];
    const fits = width === others || (tested.prefixes.has(name) && others < width);
    if (
      !fits ||
      a.shape[0] !== b.shape[0] ||
      a.position.some((position, row) => position !== b.position[row])
    )
      throw new ZayascopeError(
        'UNPAIRED',
        `routingMargins: expected the same rows in both dumps, got ${a.shape[0]} and ${b.shape[0]} of [${a.shape.slice(1)}] and [${b.shape.slice(1)}] (${name})`,
        { op: 'routingMargins', tensor: name, shapes: [a.shape, b.shape] },
      );
    if (taken >= width) continue; // every expert is taken: nothing can flip
    for (let row = 0; row < a.shape[0]!; row++) {
      const own = left.subarray(row * width, (row + 1) * width);
      const other = right.subarray(row * others, (row + 1) * others);
      const error = other.reduce((most, value, at) => Math.max(most, Math.abs(own[at]! - value)), 0);
      const [mine, theirs] = [ranked(own), ranked(other)];
      choices.push({
        tap: expert?.name ?? name,
        position: a.position[row]!,
        margin: own[mine[taken - 1]!]! - own[mine[taken]!]!,
        error,
        flipped:
          Number.isFinite(error) && changedExperts(mine.slice(0, taken), theirs.slice(0, taken)).length > 0,
      });
    }
  }
  return choices;
}

/** Places of values from the largest to the smallest; the first of equal ones first. */
function ranked(values: Float32Array): number[] {
  return Array.from(values.keys()).sort((a, b) => values[b]! - values[a]!);
}

function points(
  name: string,
  token: (position: number) => string,
  choices: readonly Choice[],
  marker: object,
): Trace {
  return {
    type: 'scatter',
    mode: 'markers',
    name,
    x: choices.map(({ margin }) => margin),
    y: choices.map(({ error }) => error),
    marker,
    customdata: choices.map(({ tap, position, margin, error }) => [
      tap,
      position,
      formatError(margin),
      formatError(error),
      token(position),
    ]),
    hovertemplate: `%{customdata[0]}<br>token %{customdata[1]} (%{customdata[4]})<br>margin %{customdata[2]}, error %{customdata[3]}<extra>${name}</extra>`,
  };
}
