import type { CellValue, PageData } from './data.js';

/** The taps of a page by what they belong to. */
export interface TapGroups {
  /** Index of a tap in the table; undefined for a name that it does not hold. */
  at(tap: string): number | undefined;
  /** Label of the group of the tap at an index: a block's number, `input`, `output` or `no block`. */
  labelOf(at: number): string;
  /** Rows of a group, in order. */
  rowsOf(label: string): CellValue[][];
  /** Rows whose values are not equal on both sides. */
  readonly differing: ReadonlySet<CellValue[]>;
}

/** Groups the taps of a page; those of no block come before the first block or after it. */
export function tapGroups({ taps, blocks }: Pick<PageData, 'taps' | 'blocks'>): TapGroups {
  const { rows, columns } = taps;
  const index = new Map(rows.map((row, at) => [row[0] as string, at]));
  const labels = blocks.rows.map((row) => String(row[0]));
  const firstBlock = rows.findIndex((row) => row[1] !== null);
  const labelOf = (at: number): string => {
    const block = rows[at]![1];
    if (block !== null) return String(block);
    if (labels.includes('no block')) return 'no block';
    return firstBlock === -1 || at < firstBlock ? 'input' : 'output';
  };
  const counted = ['error', 'differing'].map((key) => columns.findIndex((column) => column.key === key));
  const differs = (row: CellValue[]): boolean =>
    counted.map((at) => row[at]).some((value) => value !== undefined && value !== null && value !== 0);
  return {
    at: (tap) => index.get(tap),
    labelOf,
    rowsOf: (label) => rows.filter((_, at) => labelOf(at) === label),
    differing: new Set(rows.filter(differs)),
  };
}

/** What a group is called in a sentence. */
export function groupName(label: string): string {
  return /^\d+$/.test(label) ? `block ${label}` : `the model's ${label}`;
}
