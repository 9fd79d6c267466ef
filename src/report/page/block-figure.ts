import type { Trace } from '../../plot/figure.js';
import { plainText } from '../../plot/log-values.js';
import { NEUTRAL_COLOR, SERIES_COLORS } from '../../plot/theme.js';
import type { CellValue, PageFigure, PageTable } from './data.js';

/**
 * Errors of the taps of one block in execution order, with their noise floor and own error where the table
 * has them.
 */
export function blockFigure(label: string, table: PageTable, rows: readonly CellValue[][]): PageFigure {
  const at = (key: string): number => table.columns.findIndex((column) => column.key === key);
  const names = rows.map((row) => String(row[0]));
  const short = names.map((name) => plainText(name.replace(/^layers\.\d+\.?/, '') || '(block output)'));
  const values = (key: string): (number | null)[] =>
    rows.map((row) => {
      const value = at(key) < 0 ? null : row[at(key)]!;
      return value === null ? null : Number(value);
    });
  const every = ['error', 'noise', 'local'].flatMap((key) => values(key));
  const positive = every.filter((value) => value !== null && value > 0 && Number.isFinite(value)) as number[];
  const floor = positive.length === 0 ? 1e-16 : 10 ** (Math.floor(Math.log10(Math.min(...positive))) - 1);
  const ceiling = positive.length === 0 ? 1 : 10 * Math.max(...positive);
  const series = (key: string, name: string, color: string, symbol: string): Trace[] => {
    const own = values(key);
    if (own.every((value) => value === null)) return [];
    return [
      {
        type: 'scatter',
        mode: 'markers',
        name,
        x: short.map((_, k) => k),
        y: own.map((value) =>
          value === null ? null : value === 0 ? floor : value > 0 && Number.isFinite(value) ? value : ceiling,
        ),
        customdata: names.map((tap, k) => [
          tap,
          own[k] === 0 ? 'exactly 0' : Number.isFinite(own[k]) ? own[k]!.toExponential(2) : String(own[k]),
          short[k],
        ]),
        hovertemplate: `%{customdata[2]}<br>${name} %{customdata[1]}<extra></extra>`,
        marker: { color, symbol, size: 8 },
      },
    ];
  };
  return {
    name: 'block',
    title: '',
    description: `Energy NMSE of every tap of ${label} in execution order.`,
    data: [
      ...series('noise', 'noise floor', NEUTRAL_COLOR, 'line-ew-open'),
      ...series('local', 'own error', SERIES_COLORS[1]!, 'diamond'),
      ...series('error', 'error', SERIES_COLORS[0]!, 'circle'),
    ],
    layout: {
      height: 540,
      margin: { l: 72, r: 24, t: 40, b: 56 },
      xaxis: {
        tickvals: short.map((_, k) => k),
        ticktext: short,
        tickangle: -60,
        automargin: true,
        title: { text: 'tap, in execution order' },
      },
      yaxis: { type: 'log', title: { text: 'energy NMSE' }, exponentformat: 'power' },
      legend: { orientation: 'h', y: 1.1 },
      hovermode: 'closest',
    },
    opens: 'tap',
  };
}
