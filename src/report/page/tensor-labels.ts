import { elementIndex } from '../../element-index.js';
import type { UnpackedView } from './tensor.js';

/** What stands for the rows and columns of a view's grids. */
export interface ViewLabels {
  /** A row of the grid: its position in the sequence; with the sequence's number where there are several. */
  token(row: number): string;
  /** First element of the row that a column of the grid shows. */
  columnStart(column: number): number;
  /** All that is known of a cell, a line each. */
  cell(row: number, column: number): string;
}

/** Labels of a view. */
export function viewLabels({ view, rows, reference, tested, difference, marks }: UnpackedView): ViewLabels {
  const { gridRows, gridColumns, shape } = view;
  const width = shape.reduce((product, size) => product * size, 1);
  const several = new Set(rows.sequence).size > 1;
  const [rowStarts, columnStarts] = [starts(gridRows, view.rows), starts(gridColumns, width)];
  const token = (row: number): string =>
    `${several ? `${rows.sequence[row]}:` : ''}${rows.position[row] ?? ''}`;
  const rowText = (row: number): string => {
    const held = rowStarts[row + 1]! - rowStarts[row]!;
    if (held > 1) return `${held} rows from position ${token(row)}`;
    const id = rows.token[row];
    return `position ${token(row)}${id === undefined ? '' : `, token ${id}`}`;
  };
  const columnText = (column: number): string => {
    if (shape.length === 0) return '';
    const [from, end] = [columnStarts[column]!, columnStarts[column + 1]!];
    return end - from === 1
      ? `element ${place(from, shape)}`
      : `elements ${place(from, shape)} to ${place(end - 1, shape)}`;
  };
  return {
    token,
    columnStart: (column) => columnStarts[column]!,
    cell(row, column) {
      const at = row * gridColumns + column;
      const change = difference[at]!;
      return [
        rowText(row),
        columnText(column),
        marks[at] === '' ? '' : `not finite: ${marks[at]}`,
        `reference ${number(reference[at]!)}`,
        `tested ${number(tested[at]!)}`,
        change === 0 ? 'difference exactly 0' : `difference ${number(change)}`,
      ]
        .filter(Boolean)
        .join('<br>');
    },
  };
}

/** Where each of `count` parts of `total` entries begins, and where the last ends. */
function starts(count: number, total: number): number[] {
  return Array.from({ length: count + 1 }, (_, k) => Math.ceil((k * total) / count));
}

/** Index of a flat element in a row of a shape. */
function place(element: number, shape: readonly number[]): string {
  return `[${elementIndex(element, shape).index.join(', ')}]`;
}

function number(value: number): string {
  return Number.isNaN(value) ? '–' : String(Number(value.toPrecision(3)));
}
