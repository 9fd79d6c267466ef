import { Command, CommanderError } from 'commander';
import { packageVersion } from '../package-version.js';
import { alignCommand } from './commands/align.js';
import { attributeCommand } from './commands/attribute.js';
import { bisectCommand } from './commands/bisect.js';
import { captureCommand } from './commands/capture.js';
import { compareCommand } from './commands/compare.js';
import { conformanceCommand } from './commands/conformance.js';
import { convertCommand } from './commands/convert.js';
import { diffCommand } from './commands/diff.js';
import { diffWeightsCommand } from './commands/diff-weights.js';
import { doctorCommand } from './commands/doctor.js';
import { evaluateCommand } from './commands/evaluate.js';
import { exportCommand } from './commands/export.js';
import { generateCommand } from './commands/generate.js';
import { importCommand } from './commands/import.js';
import { inspectCommand } from './commands/inspect.js';
import { invarianceCommand } from './commands/invariance.js';
import { locateCommand } from './commands/locate.js';
import { noiseFloorCommand } from './commands/noise-floor.js';
import { policyCommand } from './commands/policy.js';
import { portCommand } from './commands/port.js';
import { recordCommand } from './commands/record.js';
import { replayCommand } from './commands/replay.js';
import { reportCommand } from './commands/report.js';
import { reproCommand } from './commands/repro.js';
import { stepCommand } from './commands/step.js';
import { synthCommand } from './commands/synth.js';
import { verifyLogitsCommand } from './commands/verify-logits.js';
import { describeError, errorLine } from './describe-error.js';
import { toJson } from './json.js';
import { type SafeTerminal, safeTerminal } from './safe-terminal.js';
import type { Terminal } from './terminal.js';

/** What a command gets from the command line around it. */
export interface CommandContext {
  readonly terminal: SafeTerminal;
  /** Ends with this exit code instead of 0 once the command has returned. */
  exitWith(code: ExitCode): void;
}

/** 0 pass, 1 differs, 2 misuse or bad input; 128 + signal number after a signal. */
export type ExitCode = 0 | 1 | 2 | 130 | 143;

/**
 * Runs one command line and gives its exit code. Never throws: an error becomes one line with its code, never
 * a stack (and with `--json` a document `{"error": ...}` besides), and 2.
 * @param args without node and script.
 */
export async function runCommandLine(args: readonly string[], output: Terminal): Promise<number> {
  const terminal = safeTerminal(output);
  let exitCode = 0;
  let usesJson = false;
  const context: CommandContext = {
    terminal,
    exitWith(code) {
      exitCode = code;
    },
  };
  const program = new Command('zayascope')
    .description('Debugging and tensor-diff workbench for ZAYA1, Qwen3 and Qwen3-MoE language models.')
    .version(packageVersion(), '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .configureOutput({
      writeOut: (text) => terminal.result(text.trimEnd()),
      writeErr: (text) => terminal.notice(text),
    })
    .configureHelp({ helpWidth: 110 })
    .showHelpAfterError('(--help lists arguments and options)')
    .exitOverride()
    .enablePositionalOptions() // options after `repro run` are those of `run`
    .hook('preAction', (_program, command) => {
      usesJson = command.opts<{ json?: boolean }>().json === true;
    })
    .addHelpText(
      'after',
      '\nExit codes: 0 pass, 1 differs, 2 misuse or bad input.\nResults go to stdout, progress and errors to stderr; --json prints one JSON document.',
    );
  for (const make of COMMANDS) {
    const command = make(context).copyInheritedSettings(program);
    for (const part of command.commands) part.copyInheritedSettings(program);
    program.addCommand(command);
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    report(error, usesJson, terminal);
    return exitCode === 0 ? 2 : exitCode;
  }
}

const COMMANDS: readonly ((context: CommandContext) => Command)[] = [
  captureCommand,
  noiseFloorCommand,
  recordCommand,
  replayCommand,
  invarianceCommand,
  generateCommand,
  evaluateCommand,
  diffCommand,
  alignCommand,
  compareCommand,
  locateCommand,
  portCommand,
  reportCommand,
  verifyLogitsCommand,
  diffWeightsCommand,
  convertCommand,
  synthCommand,
  bisectCommand,
  attributeCommand,
  policyCommand,
  exportCommand,
  reproCommand,
  stepCommand,
  importCommand,
  inspectCommand,
  conformanceCommand,
  doctorCommand,
];

function report(error: unknown, usesJson: boolean, terminal: SafeTerminal): void {
  const described = describeError(error);
  terminal.notice(errorLine(described));
  if (usesJson) terminal.result(toJson({ error: described }));
}
