import type { AttributionReport, AttributionRow } from '../../locate/bisect/attribution.js';
import { formatError } from '../../text-table.js';
import type { Figure, Trace } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR, NEUTRAL_COLOR, SERIES_COLORS } from '../theme.js';

/** Left: steps. Right: single runs. */
const PANELS = [
  [0, 0.54],
  [0.58, 1],
] as const;
/** Room for title, legend and axis, and for each row. */
const [FRAME_PIXELS, ROW_PIXELS] = [190, 26];

/**
 * Who contributes how much to the final error. Left, on a linear axis, how it grows as groups of sites are
 * switched on one after the other, in the model's order: a step to the left lowers it. Right, on a
 * logarithmic axis, the error with each group alone in the tested dtypes, and with all but it: dashed lines
 * are the error with none and with all. Errors do not simply add up, so the two sides may tell different
 * stories. A click on a group copies the pattern of its sites.
 *
 * @throws `BAD_ARGUMENT` for a report without groups.
 */
export function attributionWaterfall(report: AttributionReport, options: { title?: string } = {}): Figure {
  const { good, bad, rows } = report;
  requireSome('attributionWaterfall', 'a report with groups', rows.length);
  const errors = [good.error, ...rows.map(({ cumulative }) => cumulative)];
  const steps = rows.map((_, at) => finite(errors[at + 1]! - errors[at]!));
  const [alone, repaired, ends] = logValues([
    rows.map((row) => row.alone),
    rows.map((row) => row.repaired),
    [good.error, bad.error],
  ]);
  const groups = rows.map(({ group }) => plainText(group));
  const names = [good, bad].map(({ policy }) => plainText(policy));
  const [first, last] = [`none: ${names[0]}`, `all: ${names[1]}`];
  const dots = (name: string, what: string, values: typeof alone, marker: object): Trace => ({
    type: 'scatter',
    mode: 'markers',
    name,
    x: values!.drawn,
    y: groups,
    xaxis: 'x2',
    marker: { size: 10, ...marker },
    customdata: rows.map(({ pattern }) => pattern),
    hovertext: rows.map((row, at) => hover(row, [`${what} ${values!.text[at]}`])),
    hoverinfo: 'text',
  });
  const title = options.title ?? `What makes ${bad.policy} differ from ${good.policy}`;
  const largest = rows.reduce((a, b) => (b.alone > a.alone ? b : a));
  const lost = steps.filter((step) => step === null).length;
  return {
    name: 'waterfall',
    title,
    description: `Energy NMSE of the logits grows from ${formatError(good.error)} to ${formatError(bad.error)} over ${rows.length} groups of choices; alone, ${largest.group} makes the most, ${formatError(largest.alone)}.`,
    data: [
      {
        type: 'waterfall',
        orientation: 'h',
        name: 'switched on one after the other',
        showlegend: false,
        y: [first, ...groups, last],
        x: [finite(good.error), ...steps, finite(bad.error)],
        measure: ['absolute', ...rows.map(() => 'relative'), 'absolute'],
        increasing: { marker: { color: SERIES_COLORS[1] } },
        decreasing: { marker: { color: SERIES_COLORS[2] } },
        totals: { marker: { color: NEUTRAL_COLOR } },
        connector: { line: { color: NEUTRAL_COLOR, width: 1 } },
        customdata: ['', ...rows.map(({ pattern }) => pattern), ''],
        hovertext: [
          `${first}<br>final error ${formatError(good.error)}`,
          ...rows.map((row, at) =>
            hover(row, [
              `step ${signed(errors[at + 1]! - errors[at]!)}`,
              `final error with all up to here ${formatError(row.cumulative)}`,
            ]),
          ),
          `${last}<br>final error ${formatError(bad.error)}`,
        ],
        hoverinfo: 'text',
      },
      dots('alone in the tested dtype', 'final error with it alone', alone, {
        color: FAULT_COLOR,
        symbol: 'diamond',
      }),
      dots('all but it', 'final error with all but it', repaired, {
        color: SERIES_COLORS[0],
        symbol: 'circle-open',
        line: { width: 2 },
      }),
    ],
    layout: {
      title: titled(
        title,
        `final error ${formatError(good.error)} with none and ${formatError(bad.error)} with all, against the ${report.against}`,
        unseen([alone!, repaired!]),
        lost > 0 ? `${lost} steps from or to NaN or infinity not drawn` : '',
      ),
      xaxis: {
        title: { text: 'energy NMSE of the logits, step by step' },
        domain: PANELS[0],
        exponentformat: 'power',
        nticks: 6,
      },
      xaxis2: {
        ...logAxis('energy NMSE, one run each', [alone!, repaired!, ends!], 4),
        domain: PANELS[1],
        anchor: 'y',
      },
      yaxis: {
        title: { text: `choices, by ${report.by}`, standoff: 12 },
        type: 'category',
        autorange: 'reversed',
        ticksuffix: ' ',
      },
      shapes: ends!.drawn.flatMap((x) => (x === null ? [] : [endLine(x)])),
      annotations: ends!.drawn.flatMap((x, at) =>
        x === null ? [] : [endName(x, at === 0 ? 'none' : 'all')],
      ),
      ...legendAbove(2),
      height: FRAME_PIXELS + ROW_PIXELS * (rows.length + 2),
    },
  };
}

function endLine(x: number) {
  const line = { dash: 'dash', width: 1.5, color: NEUTRAL_COLOR };
  return { type: 'line', xref: 'x2', x0: x, x1: x, yref: 'paper', y0: 0, y1: 1, line };
}

function endName(x: number, text: string) {
  const place = { xref: 'x2', yref: 'paper', y: 0, xanchor: 'left', yanchor: 'bottom', showarrow: false };
  return { ...place, x: Math.log10(x), text, font: { size: 10 } };
}

function hover({ group, pattern, sites }: AttributionRow, lines: readonly string[]): string {
  return [`<b>${plainText(group)}</b>`, ...lines, `${sites} sites: ${plainText(pattern)}`].join('<br>');
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function signed(value: number): string {
  return value > 0 ? `+${formatError(value)}` : formatError(value);
}
