/** Where a command writes. Results and notices are kept apart, so that results can be piped. */
export interface Terminal {
  /** Writes results (stdout). A line end is added. */
  result(text: string): void;
  /** Writes a part of a result (stdout) at once, as it is: text that appears while it is made. */
  stream(text: string): void;
  /** Writes progress, notices and errors (stderr) as they are, without a line end. */
  notice(text: string): void;
  /** True if results go to a terminal that shows ANSI colours. */
  readonly hasColor: boolean;
  /** True if notices go to a terminal, where a progress bar can be redrawn. */
  readonly isInteractive: boolean;
  /** Width of that terminal in characters; 80 where it is unknown. */
  readonly columns: number;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    result: (text) => void process.stdout.write(`${text}\n`),
    stream: (text) => void process.stdout.write(text),
    notice: (text) => void process.stderr.write(text),
    hasColor: process.stdout.isTTY === true && process.stdout.hasColors(),
    isInteractive: process.stderr.isTTY === true && process.env.TERM !== 'dumb',
    columns: process.stderr.columns ?? 80,
  };
}
