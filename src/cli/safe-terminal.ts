import { printable, printableLine } from '../printable.js';
import type { Terminal } from './terminal.js';

/**
 * A {@link Terminal} through which nothing foreign can act on the user's: all text is escaped on its way
 * (`printable.ts`). What commands print goes through it.
 */
export interface SafeTerminal extends Terminal {
  /**
   * Writes results whose colours are ours: text of `formatReport` and its like, which have escaped all that
   * is foreign.
   */
  styledResult(text: string): void;
  /** Redraws the line of notices in place; '' erases it. */
  status(line: string): void;
}

/** The styles that `text-table.ts` sets. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const STYLES = /(\u001b\[(?:32|31|1|2|0)m)/;

/** Wraps a terminal. */
export function safeTerminal(terminal: Terminal): SafeTerminal {
  const keepStyles = (text: string): string =>
    text
      .split(STYLES)
      .map((part, at) => (at % 2 === 1 ? part : printable(part)))
      .join('');
  return {
    result: (text) => terminal.result(printable(text)),
    styledResult: (text) => terminal.result(terminal.hasColor ? keepStyles(text) : printable(text)),
    stream: (text) => terminal.stream(printable(text)),
    notice: (text) => terminal.notice(printable(text)),
    status: (line) => terminal.notice(`\r\u001b[K${printableLine(line)}`),
    hasColor: terminal.hasColor,
    isInteractive: terminal.isInteractive,
    columns: terminal.columns,
  };
}
