import { printableLine } from './printable.js';

/** A cell: text, or text with an ANSI style around it that takes no room. */
export interface Cell {
  text: string;
  style?: Style;
}

/** What a cell wants to say; how it looks is the terminal's business. */
export type Style = 'good' | 'bad' | 'strong' | 'faint';

const CODES: Record<Style, string> = { good: '32', bad: '31', strong: '1', faint: '2' };

/**
 * Stands for the start of an escape sequence of ours until a text is {@link rendered}: nothing foreign can
 * hold what was drawn in this process.
 */
const MARK = `\ufdd0${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}\ufdd1`;

/** `text` in a style, if there is colour; in a line of a {@link rendered} text. */
export function styled(text: string, style: Style | undefined, color: boolean): string {
  return color && style !== undefined && text !== '' ? `${MARK}${CODES[style]}m${text}${MARK}0m` : text;
}

/**
 * Sections of lines as one text, an empty line between sections; empty sections are left out. All that is
 * foreign in the lines is escaped, so that only our own styles act on a terminal and no text makes up a line.
 */
export function rendered(sections: readonly (readonly string[])[]): string {
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => printableLine(line).replaceAll(MARK, '\u001b[')).join('\n'))
    .join('\n\n');
}

/**
 * Rows in columns two spaces apart; lines of a {@link rendered} text. @param align one letter per column: `l`
 * or `r`.
 */
export function textTable(
  rows: readonly (readonly (string | Cell)[])[],
  align: string,
  color: boolean,
): string[] {
  const cells = rows.map((row) =>
    row.map((cell): Cell => {
      const { text, ...style } = typeof cell === 'string' ? { text: cell } : cell;
      return { text: printableLine(text), ...style };
    }),
  );
  const widths = Array.from(align, (_, column) =>
    Math.max(0, ...cells.map((row) => row[column]?.text.length ?? 0)),
  );
  return cells.map((row) =>
    row
      .map(({ text, style }, column) => {
        const room = ' '.repeat(widths[column]! - text.length);
        const last = column === row.length - 1;
        const shown = styled(text, style, color);
        return align[column] === 'r' ? room + shown : shown + (last ? '' : room);
      })
      .join('  ')
      .trimEnd(),
  );
}

/** An error for people: `0`, `1.2e-7`, `Infinity`; `–` for null. */
export function formatError(value: number | null, digits = 2): string {
  if (value === null) return '–';
  return value === 0 || !Number.isFinite(value) ? String(value) : value.toExponential(digits - 1);
}

/** A share for people, in percent; never rounded to 100 % or 0 %. */
export function formatShare(share: number): string {
  if (share === 0 || share === 1) return `${100 * share} %`;
  const percent = Math.min(99.99, Math.max(0.01, 100 * share));
  return `${percent.toFixed(percent > 99 || percent < 1 ? 2 : 1)} %`;
}

/** A factor for people; never rounded to 1. */
export function formatFactor(factor: number, digits = 5): string {
  for (let more = digits; more < 17; more++) {
    const shown = Number(factor.toPrecision(more));
    if (shown !== 1 || factor === 1) return String(shown);
  }
  return String(factor);
}

/** Characters of a selection that are shown: that of an import lists what it holds. */
const LONGEST_SELECTION = 60;

/** The selection of a dump, cut where it is long. */
export function shortSelection(selection: string): string {
  return selection.length <= LONGEST_SELECTION ? selection : `${selection.slice(0, LONGEST_SELECTION)}...`;
}
