/**
 * What the page's script gets: plain data, in one JSON element. Numbers that JSON lacks are the strings
 * "NaN", "Infinity" and "-Infinity".
 */
import type { Figure } from '../../plot/figure.js';

/** A cell: text, a number, or nothing. */
export type CellValue = string | number | null;

/**
 * How a column is shown and sorted: `error` in scientific notation, `share` in percent, `ratio` with three
 * digits, `number` with six.
 */
export type ColumnKind = 'text' | 'number' | 'error' | 'share' | 'ratio';

/** A column of a table. */
export interface TableColumn {
  key: string;
  label: string;
  /** What it means, with its unit. */
  help: string;
  kind: ColumnKind;
}

/** A table that sorts and filters. */
export interface PageTable {
  columns: TableColumn[];
  rows: CellValue[][];
}

/** A figure of the page. */
export interface PageFigure extends Figure {
  /** What a click on a point, which names a tap, opens: the taps of its block, or its tensors. */
  opens: 'block' | 'tap';
}

/** All data of the page but the grids. */
export interface PageData {
  figures: PageFigure[];
  /** One row per tap, in execution order. Its first columns are `tap` and `block`. */
  taps: PageTable;
  blocks: PageTable;
  unpaired: PageTable;
  routing: PageTable;
  logits: PageTable;
  /** Pack that holds the views of each tap of `taps`; null: none. */
  packs: (number | null)[];
  /** Largest energy NMSE allowed; null where nothing is judged. */
  failAbove: number | null;
}
