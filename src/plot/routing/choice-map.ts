import { badArgument } from '../../errors.js';
import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { plainText, titled } from '../log-values.js';
import { NEUTRAL_COLOR, SEQUENTIAL_SCALE } from '../theme.js';
import { tokenAxis } from '../token-map.js';

/** What a router computes for some tokens. */
export interface RouterChoice {
  /** Probabilities, one row a token, and the same with the balancing biases. */
  probabilities: readonly (readonly number[])[];
  biased: readonly (readonly number[])[];
  /** Class of each token that stands for no expert; default: none. */
  skip?: number;
}

/** Options of {@link choiceMap}. */
export interface ChoiceMapOptions {
  title?: string;
  /** What chooses, for the title, e.g. `Block 3`. */
  name?: string;
  tokenTexts?: readonly string[];
}

/**
 * What a router chooses from: the probability with its balancing bias of each class (y) for each token (x) as
 * colours, the choice, which is the largest of a column, marked with a ring, and with a cross the class with
 * the largest probability without the bias, where that is another.
 *
 * @throws `BAD_ARGUMENT` without a token, or for other rows in one than in the other.
 */
export function choiceMap(
  { probabilities, biased, skip }: RouterChoice,
  options: ChoiceMapOptions = {},
): Figure {
  const { name = 'The router', tokenTexts } = options;
  const classes = biased[0]?.length ?? 0;
  const fits = biased.every((row, at) => row.length === classes && probabilities[at]?.length === classes);
  if (classes === 0 || !fits || probabilities.length !== biased.length)
    throw badArgument(
      'choiceMap',
      'as many rows of probabilities as of biased ones, of one length',
      `${probabilities.length} and ${biased.length}`,
    );
  const names = Array.from({ length: classes }, (_, at) => (at === skip ? 'skip' : String(at)));
  const [chosen, likeliest] = [biased.map(largest), probabilities.map(largest)];
  const moved = chosen.flatMap((each, at) => (each === likeliest[at] ? [] : [at]));
  const title =
    options.title ??
    `${name} takes another class than p's largest for ${moved.length} of ${biased.length} tokens`;
  const token = (at: number) =>
    `token ${at}${tokenTexts?.[at] === undefined ? '' : ` (${plainText(tokenTexts[at])})`}`;
  const value = (at: number, of: number) =>
    `${token(at)}, class ${names[of]}<br>p ${formatError(probabilities[at]![of]!)}, p + β ${formatError(biased[at]![of]!)}`;
  const mark = (label: string, places: readonly number[], of: readonly number[], marker: object) => ({
    type: 'scatter',
    mode: 'markers',
    name: label,
    x: places,
    y: places.map((at) => of[at]!),
    marker,
    hovertext: places.map((at) => `${label}<br>${value(at, of[at]!)}`),
    hoverinfo: 'text',
  });
  return {
    name: 'choice-map',
    title,
    description: `Biased probability of ${classes} classes for ${biased.length} tokens, and the class that each takes.`,
    data: [
      {
        type: 'heatmap',
        x: biased.map((_, at) => at),
        y: names.map((_, at) => at),
        z: names.map((_, of) => biased.map((row) => row[of]!)),
        hovertext: names.map((_, of) => biased.map((_, at) => value(at, of))),
        hoverinfo: 'text',
        colorscale: SEQUENTIAL_SCALE,
        colorbar: { title: { text: 'p + β', side: 'right' }, thickness: 16 },
        showlegend: false,
        xgap: 0.5,
        ygap: 0.5,
      },
      mark(
        'taken: largest p + β',
        chosen.map((_, at) => at),
        chosen,
        {
          symbol: 'circle-open',
          size: 11,
          color: '#ffffff',
          line: { width: 2 },
        },
      ),
      ...(moved.length === 0
        ? []
        : [
            mark('largest p, not taken', moved, likeliest, {
              symbol: 'x',
              size: 8,
              color: '#ffffff',
              line: { width: 1, color: '#000000' },
            }),
          ]),
    ],
    layout: {
      title: titled(title, 'the marked class of a column is the one with the largest p + β'),
      xaxis: tokenAxis(
        biased.map((_, at) => at),
        tokenTexts,
      ),
      yaxis: {
        title: { text: 'class' },
        tickvals: names.map((_, at) => at),
        ticktext: names,
        range: [classes - 0.5, -0.5],
        showgrid: false,
        zeroline: false,
      },
      // Marks are white on the map: the legend needs something behind them on paper too.
      legend: {
        orientation: 'h',
        x: 1,
        xanchor: 'right',
        y: 1.02,
        yanchor: 'bottom',
        bgcolor: NEUTRAL_COLOR,
      },
      height: 200 + 26 * classes,
    },
  };
}

function largest(row: readonly number[]): number {
  return row.reduce((best, value, at) => (value > row[best]! ? at : best), 0);
}
