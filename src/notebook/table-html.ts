import { escapeHtml } from '../plot/figure-html.js';

/**
 * A number as a table shows it: integers whole, others with four significant digits, very small and very
 * large ones with an exponent.
 */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value !== 'number') return typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString('en-US');
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/**
 * Rows as an HTML table; every text is escaped. Columns are the keys of all rows, in order of appearance; a
 * column of numbers alone stands to the right.
 */
export function tableHtml(rows: readonly object[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cellOf = (row: object, column: string) => (row as Readonly<Record<string, unknown>>)[column];
  const align = columns.map((column) =>
    rows.every((row) => ['number', 'undefined'].includes(typeof (cellOf(row, column) ?? undefined)))
      ? 'right'
      : 'left',
  );
  const cells = (tag: 'td' | 'th', texts: readonly string[]) =>
    texts
      .map((text, index) => `<${tag} style="text-align:${align[index]}">${escapeHtml(text)}</${tag}>`)
      .join('');
  const body = rows.map(
    (row) =>
      `<tr>${cells(
        'td',
        columns.map((column) => cellText(cellOf(row, column))),
      )}</tr>`,
  );
  return `<table><thead><tr>${cells('th', columns)}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody></table>`;
}
