import type { DumpView } from '../dump/dump-view.js';
import type { Trace } from './figure.js';
import { plainText } from './log-values.js';
import { FAULT_COLOR } from './theme.js';

/** What a map by token and block shows of one token in one block. */
export interface TokenCell {
  /** Colour value; null leaves the cell blank. */
  z: number | null;
  tap: string;
  hover: string;
  /** Stands in the cell, while there is room. */
  label?: string;
}

/** Columns up to which labels of cells can be read. */
const MOST_LABELS = 90;

/** A cell that is marked: position (x) and block (y). */
export interface TokenMark {
  x: number;
  y: string;
  tap: string;
  hover: string;
}

/** Marks of one kind; crosses unless `symbol` says otherwise. */
export interface TokenMarks {
  name: string;
  symbol: Readonly<Record<string, unknown>>;
  places: readonly TokenMark[];
}

/** How a token is named in a hover: its text, else its id. */
export function tokenName(
  { manifest }: DumpView,
  sequence: number,
  texts: readonly string[] | undefined,
): (position: number) => string {
  const { tokens } = manifest.sequences[sequence]!;
  return (position) =>
    plainText(texts?.[position] ?? (tokens === undefined ? 'no token' : `id ${tokens[position]}`));
}

/** Positions up to which every token's text stands below its column. */
const MOST_TEXTS = 64;

/**
 * The axis of tokens. Its ends are fixed, so that marks move nothing and maps of the same tokens, one below
 * the other, line up.
 */
export function tokenAxis(
  positions: readonly number[],
  texts?: readonly string[],
): Readonly<Record<string, unknown>> {
  const [first, last] = [positions[0]!, positions.at(-1)!];
  return {
    title: { text: 'token', standoff: 8 },
    range: [first - 0.5, last + 0.5],
    showgrid: false,
    zeroline: false,
    automargin: false,
    ...(texts === undefined || positions.length > MOST_TEXTS
      ? {}
      : {
          tickvals: positions,
          ticktext: positions.map((position) => `${position} ${shown(texts[position])}`),
          tickangle: -90,
          tickfont: { size: 9 },
        }),
  };
}

/** Characters of a token's text that have room below its column. */
const MOST_CHARACTERS = 8;

/** A token's text where blanks would not be seen. */
function shown(text = ''): string {
  const visible = [...text.replaceAll('\n', '⏎').replaceAll(' ', '␣')];
  const cut = visible.length > MOST_CHARACTERS ? [...visible.slice(0, MOST_CHARACTERS - 1), '…'] : visible;
  return plainText(cut.join(''));
}

/** Axes and margins that all maps by token and block have in common, so that their columns line up. */
export function tokenMapLayout(
  positions: readonly number[],
  rows: readonly string[],
  texts?: readonly string[],
): Readonly<Record<string, unknown>> {
  const hasTexts = texts !== undefined && positions.length <= MOST_TEXTS;
  return {
    xaxis: tokenAxis(positions, texts),
    yaxis: {
      title: { text: 'block' },
      type: 'category',
      range: [rows.length - 0.5, -0.5],
      showgrid: false,
      automargin: false,
    },
    margin: { l: 60, r: 110, t: 72, b: hasTexts ? 96 : 56, autoexpand: false },
    height: Math.min(900, (hasTexts ? 220 : 180) + 34 * rows.length),
  };
}

/**
 * The traces of a map: cells by block and position, coloured as `colors` says, and marks over them where
 * there are any.
 */
export function tokenMap(
  positions: readonly number[],
  blocks: readonly string[],
  cells: readonly (readonly TokenCell[])[],
  colors: Readonly<Record<string, unknown>>,
  marks: readonly TokenMarks[],
): Trace[] {
  const map: Trace = {
    type: 'heatmap',
    x: positions,
    y: blocks,
    z: cells.map((row) => row.map(({ z }) => z)),
    customdata: cells.map((row) => row.map(({ tap }) => tap)),
    hovertext: cells.map((row) => row.map(({ hover }) => hover)),
    hoverinfo: 'text',
    hoverongaps: false,
    xgap: positions.length > 200 ? 0 : 0.5,
    ygap: 0.5,
    ...(cells.some((row) => row.some(({ label }) => label !== undefined)) && positions.length <= MOST_LABELS
      ? {
          text: cells.map((row) => row.map(({ label = '' }) => label)),
          texttemplate: '%{text}',
          textfont: { size: 10 },
        }
      : {}),
    ...colors,
  };
  return [map, ...marks.filter(({ places }) => places.length > 0).map(markTrace)];
}

function markTrace({ name, symbol, places }: TokenMarks): Trace {
  return {
    type: 'scatter',
    mode: 'markers',
    name,
    x: places.map(({ x }) => x),
    y: places.map(({ y }) => y),
    marker: { symbol: 'x', color: FAULT_COLOR, ...symbol },
    customdata: places.map(({ tap }) => tap),
    hovertext: places.map(({ hover }) => hover),
    hoverinfo: 'text',
    showlegend: false,
  };
}
