/// <reference lib="dom" />
import { formatCell } from './cell.js';
import type { CellValue, PageTable, TableColumn } from './data.js';
import { makeElement } from './elements.js';

/** What the page does with a table after it is made. */
export interface ShownTable {
  /** Shows only the rows for which `keep` is true (besides the text filter). */
  restrict(keep: (row: CellValue[]) => boolean): void;
  /** Marks a row as the current one, or none. */
  mark(row: CellValue[] | null): void;
}

/** Options of {@link sortableTable}. */
export interface TableOptions {
  /** Accessible name. */
  label: string;
  /** Rows drawn before "show all". */
  limit: number;
  /** Makes the first cell of every row a button. */
  onOpen?: ((row: CellValue[]) => void) | undefined;
}

/**
 * Draws a table whose columns sort and whose rows a text filters, into `host`. Text is set as text, never as
 * HTML.
 */
export function sortableTable(host: HTMLElement, table: PageTable, options: TableOptions): ShownTable {
  const { label, limit, onOpen } = options;
  let keep = (_row: CellValue[]): boolean => true;
  let marked: CellValue[] | null = null;
  let sort: { column: number; descending: boolean } | null = null;
  let showsAll = false;

  const bar = makeElement('div', 'table-bar');
  const field = makeElement('label', '', 'Filter ');
  const filter = makeElement('input');
  filter.type = 'search';
  filter.placeholder = 'words in any column';
  filter.setAttribute('aria-label', `Filter ${label}`);
  field.append(filter);
  const count = makeElement('span', 'count');
  count.setAttribute('role', 'status');
  bar.append(field, count);
  const scroll = makeElement('div', 'table-scroll');
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', label);
  const element = makeElement('table');
  element.setAttribute('aria-label', label);
  const head = makeElement('tr');
  const headers = table.columns.map((column, at) => {
    const cell = makeElement('th', column.kind === 'text' ? '' : 'number');
    cell.scope = 'col';
    cell.title = column.help;
    const button = makeElement('button', '', column.label);
    button.type = 'button';
    button.addEventListener('click', () => {
      // Errors are looked for from the largest on, names from the first.
      const first = column.kind === 'text' ? false : at > 1;
      sort = {
        column: at,
        descending: sort?.column === at ? !sort.descending : first,
      };
      draw();
    });
    cell.append(button);
    head.append(cell);
    return cell;
  });
  const body = makeElement('tbody');
  const top = makeElement('thead');
  top.append(head);
  element.append(top, body);
  scroll.append(element);
  const more = makeElement('button', 'more');
  more.type = 'button';
  more.addEventListener('click', () => {
    showsAll = true;
    draw();
  });
  host.replaceChildren(bar, scroll, more);
  filter.addEventListener('input', draw);

  function rowElement(row: CellValue[]): HTMLTableRowElement {
    const line = makeElement('tr');
    line.classList.toggle('current', row === marked);
    for (const [at, column] of table.columns.entries()) {
      const text = formatCell(row[at]!, column.kind);
      const cell = makeElement('td', column.kind === 'text' ? '' : 'number', at === 0 && onOpen ? '' : text);
      if (at === 0 && onOpen) {
        const button = makeElement('button', 'link', text);
        button.type = 'button';
        button.addEventListener('click', () => onOpen(row));
        cell.append(button);
      }
      if (text === 'above' || text === 'fault' || text === 'broken') cell.classList.add('bad');
      line.append(cell);
    }
    return line;
  }

  function draw(): void {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = table.rows.filter((row) => {
      if (!keep(row)) return false;
      if (words.length === 0) return true;
      const text = row.join(' ').toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (sort !== null) rows.sort(rowOrder(table.columns, sort.column, sort.descending));
    const visible = showsAll ? rows : rows.slice(0, limit);
    body.replaceChildren(...visible.map(rowElement));
    count.textContent = `${rows.length} of ${table.rows.length} rows`;
    more.hidden = visible.length === rows.length;
    more.textContent = `Show all ${rows.length} rows`;
    for (const [at, cell] of headers.entries()) {
      const state = sort?.column !== at ? 'none' : sort.descending ? 'descending' : 'ascending';
      cell.setAttribute('aria-sort', state);
    }
  }

  draw();
  return {
    restrict(condition) {
      keep = condition;
      draw();
    },
    mark(row) {
      marked = row;
      draw();
    },
  };
}

/** Order of rows by a column: nothing goes last in either direction; NaN counts as the largest number. */
export function rowOrder(
  columns: readonly TableColumn[],
  column: number,
  descending: boolean,
): (a: readonly CellValue[], b: readonly CellValue[]) => number {
  const sign = descending ? -1 : 1;
  return (a, b) => {
    const [x, y] = [a[column]!, b[column]!];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    if (columns[column]!.kind === 'text')
      return sign * String(x).localeCompare(String(y), 'en', { numeric: true });
    // Numbers that JSON lacks come as their names.
    const [p, q] = [Number(x), Number(y)];
    if (Number.isNaN(p) || Number.isNaN(q)) return sign * (Number(Number.isNaN(p)) - Number(Number.isNaN(q)));
    return p === q ? 0 : sign * (p < q ? -1 : 1);
  };
}
