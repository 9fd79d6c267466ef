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
}

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
