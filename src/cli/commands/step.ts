import { Command, Option } from 'commander';
import { badArgument } from '../../errors.js';
import { FAMILIES } from '../../families/families.js';
import type { StepStop } from '../../locate/step/step.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { openRun } from '../options/open-run.js';
import { addRunOptions, type RunOptions } from '../options/run.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from '../options/tokens-or-prompt.js';
import { fields } from '../table.js';

export interface StepOptions extends TokenOptions, RunOptions {
  model?: string;
  break?: string;
  until?: 'nan';
  print: Statistic | 'all';
  json?: boolean;
}

export const STATISTICS = ['min', 'max', 'mean', 'rms', 'absmax', 'nan', 'inf'] as const;
type Statistic = (typeof STATISTICS)[number];

/** Elements printed. */
export const FIRST = 8;

/** `zayascope step`: runs up to a value and prints it. */
export function stepCommand(context: CommandContext): Command {
  const command = new Command('step')
    .description('Runs a prompt up to a value and prints its statistics and first elements.')
    .argument('[recording]', 'a recording (zayascope record) in place of a model: its nodes, nothing runs')
    .option('--model <folder>', 'model folder or GGUF file');
  return addRunOptions(addTokenOptions(command))
    .option(
      '--break <globs>',
      'stop at the first value of these names, of a recording also at a node by its number (default: run to the end)',
    )
    .addOption(
      new Option('--until <condition>', 'stop at the first value with a NaN or an infinity').choices(['nan']),
    )
    .addOption(
      new Option('--print <statistic>', 'print only this number, for scripts')
        .choices(['all', ...STATISTICS])
        .default('all'),
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: --break or --until was given and nothing stopped the run; or, without --until, the value holds a' +
        '\nNaN or an infinity. The other statistics are over finite elements.' +
        `\n\nExamples:\n  zayascope step --model dumps/tiny/model --tokens-file dumps/tiny/prompt.json --break ${FAMILIES[0]!.examples.breakpoint}` +
        "\n  zayascope step out/recording --break 'kqv_out-*'",
    )
    .action((recording: string | undefined, options: StepOptions) => {
      const given = Object.keys(options).filter((name) => command.getOptionValueSource(name) === 'cli');
      return recording === undefined
        ? runStep(options, context)
        : runStepOf(recording, options, given, context);
    });
}

async function runStepOf(
  recording: string,
  options: StepOptions,
  given: readonly string[],
  context: CommandContext,
): Promise<void> {
  const { runStepRecording } = await import('./step-recording.js');
  return runStepRecording(recording, options, given, context);
}

async function runStep(
  { model: folder, ...options }: StepOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  if (folder === undefined) throw badArgument('step', '--model with a model, or a recording', 'neither');
  const { tokens } = await resolveTokens('step', options, folder, terminal);
  const { openStepper } = await import('../../locate/step/step.js');
  using model = await openRun('step', folder, options, terminal);
  using stepper = openStepper(model, tokens);
  if (options.break !== undefined) stepper.breakpoint(options.break);
  if (options.until !== undefined) stepper.breakpoint(options.until);
  const stop = await stepper.continue();
  const asked = options.break !== undefined || options.until !== undefined;
  const { nan, inf } = stop.value.stats;
  // `--until nan` found what it was to find; otherwise a value that is not finite is no result that scripts
  // should go on with.
  const foundNonFinite = options.until === undefined && nan + inf > 0;
  if ((asked && stop.reason === 'end') || foundNonFinite) exitWith(1);
  if (foundNonFinite && options.print !== 'all')
    terminal.notice(
      `zayascope: NOT FINITE: ${describeNonFinite(stop.value.stats)}; ${options.print} is over the others\n`,
    );
  const summary = summarise(stop, stepper.names.length);
  if (options.json) terminal.result(toJson(summary));
  else if (options.print !== 'all') terminal.result(String(stop.value.stats[options.print]));
  else terminal.result(format(summary));
}

function summarise({ reason, value }: StepStop, total: number) {
  const { name, block, index, dtype, axes, shape, stats, data } = value;
  return {
    reason,
    name,
    block,
    index,
    total,
    dtype,
    axes,
    shape,
    stats,
    first: [...data.subarray(0, FIRST)],
  };
}

function format({
  reason,
  name,
  index,
  total,
  dtype,
  axes,
  shape,
  stats,
  first,
}: ReturnType<typeof summarise>) {
  return fields([
    ['value', `${name} (${index + 1} of ${total})`],
    ['stopped by', reason === 'end' ? 'nothing: the end of the run' : reason],
    ['shape', `${axes.map((axis, at) => `${axis} ${shape[at]}`).join(', ')}; ${dtype}`],
    ...(stats.nan + stats.inf > 0 ? ([['NOT FINITE', describeNonFinite(stats)]] as const) : []),
    ...STATISTICS.map((statistic) => [statistic, String(stats[statistic])] as const),
    ['first', first.join(', ')],
  ]);
}

export function describeNonFinite({ nan, inf }: { nan: number; inf: number }): string {
  return `${nan} NaN and ${inf} infinite elements`;
}
