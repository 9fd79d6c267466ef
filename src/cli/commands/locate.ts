import { Command } from 'commander';
import { badArgument } from '../../errors.js';
import type { LocateReport } from '../../locate/faults/report.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { addDeviceOptions, type DeviceOptions, prepareDevice } from '../options/device.js';
import { allowNonFiniteOption, mapOption } from '../options/dump-pair.js';
import { thresholdOption } from '../options/values.js';
import { progressOfParts } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';

/** Options as given. */
export interface LocateCommandOptions extends DeviceOptions {
  model?: string;
  policy?: string;
  noise?: string;
  map?: string;
  align?: boolean;
  order?: string;
  failAbove?: number;
  allowNonfinite?: boolean;
  all?: boolean;
  json?: boolean;
}

/** `zayascope locate`: which op makes the error. */
export function locateCommand(context: CommandContext): Command {
  const command = new Command('locate')
    .description('Names the ops that make error of their own, apart from those that only pass it on.')
    .argument('<reference>', 'dump that counts as right')
    .argument('[tested]', 'dump of another run; without it, --model runs under --policy')
    .option('--model <folder>', 'model that both ran: its ops are recomputed on the values of the dumps')
    .option(
      '--policy <name>',
      'dtypes to run the model with, or in which TESTED means to compute: a preset or a .json file',
    )
    .option(
      '--noise <dump>',
      "noise floor (zayascope noise-floor), or the reference's own run in low precision: what is within its error is no fault",
    )
    .option(
      '--fail-above <nmse>',
      'smallest error of its own (energy NMSE) that makes an op a fault (default: measured, at least 1e-13)',
      thresholdOption,
    )
    .addOption(allowNonFiniteOption())
    .addOption(mapOption())
    .option(
      '--align',
      'TESTED is a recording (zayascope record), the reference a dump of any program: values are paired by content',
    )
    .option(
      '--order <file>',
      'two dumps: names or patterns of taps, a line each, in the order in which they were computed (default: as the dumps say)',
    );
  return addDeviceOptions(command)
    .option('--all', 'list every op')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: an op is at fault, a value is NaN or infinite, or a run did not finish. docs/locate.md says how limits are measured' +
        '\nand what the figures mean.' +
        '\n\nExamples:\n  zayascope locate dumps/tiny/reference-float32 --model dumps/tiny/model --policy llamacpp' +
        '\n  zayascope locate dumps/tiny/reference-float32 out/port --model dumps/tiny/model' +
        '\n  zayascope locate dumps/tiny/reference-float32 out/port --noise dumps/tiny/reference-bfloat16' +
        '\n\nOf a recording (zayascope record) every node is run again on its own inputs, as its graph or that of a' +
        '\nreference recording says:\n  zayascope locate out/recording --model model.gguf' +
        '\n  zayascope locate out/reference out/recording --model model.gguf',
    )
    .action((reference: string, tested: string | undefined, options: LocateCommandOptions) =>
      runLocate(reference, tested, options, context),
    );
}

async function runLocate(
  referenceFolder: string,
  testedFolder: string | undefined,
  options: LocateCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { model, policy, failAbove, backend, threads } = options;
  if (options.align === true) {
    const { runLocateAligned } = await import('./locate-aligned.js');
    return runLocateAligned(referenceFolder, testedFolder, options, context);
  }
  const { isRecording } = await import('../../recording/replay/open-recording.js');
  if (await isRecording(testedFolder ?? referenceFolder)) {
    const { runLocateRecording } = await import('./locate-recording.js');
    return runLocateRecording(referenceFolder, testedFolder, options, context);
  }
  if (testedFolder === undefined && policy === undefined)
    throw badArgument('locate', 'a tested dump or --policy', 'neither');
  if (policy !== undefined && model === undefined)
    throw badArgument('locate', '--model with --policy', 'none');
  await prepareDevice(options);
  const { openPairedDumps } = await import('../../diff/paired-dumps.js');
  const { Dump } = await import('../../dump/reader.js');
  const { readNameMap } = await import('../../dump/names/file.js');
  const { loadPolicy } = await import('../../graph/policy.js');
  const { formatLocate } = await import('../../locate/faults/format.js');
  const map = options.map === undefined ? undefined : await readNameMap(options.map);
  await using dumps =
    testedFolder === undefined ? undefined : await openPairedDumps(referenceFolder, testedFolder, map);
  await using alone = dumps === undefined ? await Dump.open(referenceFolder) : null;
  const [reference, tested] = [dumps?.reference ?? alone!, dumps?.tested ?? null];
  await using noise = options.noise === undefined ? undefined : await Dump.open(options.noise);
  const report = await runCancellable(context, async (signal): Promise<LocateReport> => {
    using bars = progressOfParts(terminal, 'steps');
    const common = {
      backend,
      allowNonFinite: options.allowNonfinite === true,
      onProgress: bars.update,
      signal,
      threads,
      failAbove,
      noise,
    };
    const { locate } = await import('../../locate/faults/locate.js');
    const dtypes = policy === undefined ? undefined : await loadPolicy(policy);
    if (tested === null)
      return await locate(reference, dtypes!, model, { ...common, policyArgument: policy! });
    const { readTapOrder } = await import('../../dump/import/tap-order.js');
    return await locate(reference, tested, model, {
      ...common,
      recompute: dtypes,
      mapArgument: options.map,
      order: options.order === undefined ? undefined : await readTapOrder(options.order),
    });
  });
  if (options.json) terminal.result(toJson(report));
  else
    terminal.styledResult(formatLocate(report, { color: terminal.hasColor, verbose: options.all === true }));
  if (report.found) context.exitWith(1);
}
