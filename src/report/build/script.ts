import { scriptJson } from '../../plot/figure.js';
import { plainText } from '../../plot/log-values.js';
import {
  DIVERGING_SCALE,
  FAULT_COLOR,
  NEUTRAL_COLOR,
  SEQUENTIAL_SCALE,
  SERIES_COLORS,
} from '../../plot/theme.js';
import { blockFigure } from '../page/block-figure.js';
import { formatCell } from '../page/cell.js';
import type { PageColors } from '../page/colors.js';
import { startPage } from '../page/main.js';
import { showTable } from '../page/table.js';
import { unpackViews } from '../page/tensor.js';
import { tensorFigures } from '../page/tensor-figures.js';

const COLORS: PageColors = {
  reference: SERIES_COLORS[0]!,
  tested: SERIES_COLORS[1]!,
  error: SERIES_COLORS[0]!,
  noise: NEUTRAL_COLOR,
  local: SERIES_COLORS[1]!,
  alarm: FAULT_COLOR,
  diverging: DIVERGING_SCALE,
  sequential: SEQUENTIAL_SCALE,
  errors: SEQUENTIAL_SCALE,
};

/** Source of the report's script: its functions are written as they are compiled, and handed to the one that starts the page. Needs `zayascope` of `pageScript` before it. */
export function reportScript(): string {
  const parts = { formatCell, showTable, unpackViews, tensorFigures, blockFigure, plainText, startPage };
  const sources = Object.entries(parts).map(([name, part]) => `const ${name} = ${part.toString()};`);
  return `{
${sources.join('\n')}
// Plotly stands behind this script.
const loaded = new Promise((resolve) => addEventListener('DOMContentLoaded', resolve));
const draw = (host, figure) => loaded.then(() => zayascope.draw(host, figure));
startPage({ formatCell, showTable, unpackViews, tensorFigures, blockFigure, plainText, colors: ${scriptJson(COLORS)}, draw });
}`;
}
