import { runCommandLine } from '../../src/cli/command-line.js';
import type { Terminal } from '../../src/cli/terminal.js';

/** What a command line printed and how it ended. */
export interface CommandResult {
  code: number;
  /** Results. */
  stdout: string;
  /** Progress, notices, errors. */
  stderr: string;
}

/** Runs the command line in this process. Not interactive unless asked for. */
export async function runCommand(
  args: readonly string[],
  { isInteractive = false, hasColor = false, columns = 80 } = {},
): Promise<CommandResult> {
  const result: CommandResult = { code: -1, stdout: '', stderr: '' };
  const terminal: Terminal = {
    result(text) {
      result.stdout += `${text}\n`;
    },
    stream(text) {
      result.stdout += text;
    },
    notice(text) {
      result.stderr += text;
    },
    hasColor,
    isInteractive,
    columns,
  };
  result.code = await runCommandLine(args, terminal);
  return result;
}
