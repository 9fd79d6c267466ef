import { textTable } from '../text-table.js';

/** One column of {@link table}. */
export interface Column {
  /** Heading; '' for none. */
  title: string;
  /** Default `left`. */
  align?: 'left' | 'right';
}

/** Rows of text in columns two spaces apart, headings first unless all are empty. Nothing is cut. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titles = columns.map(({ title }) => title);
  const lines = titles.some((title) => title !== '') ? [titles, ...rows] : rows;
  const align = columns.map((column) => (column.align === 'right' ? 'r' : 'l')).join('');
  return textTable(lines, align, false).join('\n');
}

/** `name  value` lines: the form of a summary. */
export function fields(entries: readonly (readonly [string, string])[]): string {
  return table([{ title: '' }, { title: '' }], entries);
}
