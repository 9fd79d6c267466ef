import { Command } from 'commander';
import { badArgument } from '../../errors.js';
import type { LocateReport } from '../../locate/faults/report.js';
import { cancelOnSignal } from '../cancel-on-signal.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { BACKEND_HELP, prepareDevice, STRICT_HELP } from '../options/run.js';
import { integerOption, thresholdOption } from '../options/values.js';
import { progressBar } from '../progress.js';

interface LocateCommandOptions {
  model?: string;
  policy?: string;
  noise?: string;
  map?: string;
  order?: string;
  failAbove?: number;
  allowNonfinite?: boolean;
  backend: string;
  strictF32?: boolean;
  threads?: number;
  all?: boolean;
  json?: boolean;
}

/** `zayascope locate`: which op makes the error. */
export function locateCommand(context: CommandContext): Command {
  return new Command('locate')
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
      "the reference's own run in low precision: what is within its error is no fault",
    )
    .option(
      '--fail-above <nmse>',
      'smallest error of its own (energy NMSE) that makes an op a fault (default: measured, at least 1e-13)',
      thresholdOption,
    )
    .option(
      '--allow-nonfinite',
      'pass over what is not finite in the same way on both sides (the same infinity, or NaN): counted, not judged',
    )
    .option(
      '--map <map>',
      'names and layouts of the tested dump: zaya, llamacpp, llamacpp-blocks, vllm, or a JSON file (default: tap names)',
    )
    .option(
      '--order <file>',
      'two dumps: names or patterns of taps, a line each, in the order in which they were computed (default: as the dumps say)',
    )
    .option('--backend <name>', BACKEND_HELP, 'cpu')
    .option('--strict-f32', STRICT_HELP)
    .option('--threads <count>', 'CPU threads, 1 to 512', integerOption(1, 512))
    .option('--all', 'list every op')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: an op is at fault, or a value is NaN or infinite. docs/locate.md says how limits are measured' +
        '\nand what the figures mean.' +
        '\n\nExamples:\n  zayascope locate dumps/tiny/reference-float32 --model dumps/tiny/model --policy llamacpp' +
        '\n  zayascope locate dumps/tiny/reference-float32 out/port --model dumps/tiny/model' +
        '\n  zayascope locate dumps/tiny/reference-float32 out/port --noise dumps/tiny/reference-bfloat16',
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
  await using noise = options.noise === undefined ? null : await Dump.open(options.noise);
  using cancellation = cancelOnSignal();
  let bar: ReturnType<typeof progressBar> | undefined;
  let shown = '';
  const onProgress = (what: string, done: number, total: number): void => {
    if (what !== shown) {
      bar?.[Symbol.dispose]();
      bar = progressBar(terminal, what, 'steps');
      shown = what;
    }
    bar!.update(done, total);
  };
  const common = {
    backend,
    allowNonFinite: options.allowNonfinite === true,
    onProgress,
    signal: cancellation.signal,
    ...(threads === undefined ? {} : { threads }),
    ...(failAbove === undefined ? {} : { failAbove }),
    ...(noise === null ? {} : { noise }),
  };
  let report: LocateReport;
  try {
    if (tested !== null) {
      const { locateDumps } = await import('../../locate/faults/dumps.js');
      const { readTapOrder } = await import('../../dump/import/tap-order.js');
      report = await locateDumps(reference, tested, model, {
        ...common,
        recompute: policy === undefined ? undefined : await loadPolicy(policy),
        ...(options.map === undefined ? {} : { mapArgument: options.map }),
        ...(options.order === undefined ? {} : { order: await readTapOrder(options.order) }),
      });
    } else {
      const { locatePolicy } = await import('../../locate/faults/policy.js');
      report = await locatePolicy(reference, model!, await loadPolicy(policy!), {
        ...common,
        policyArgument: policy!,
      });
    }
  } catch (error) {
    if (cancellation.exitCode !== undefined) context.exitWith(cancellation.exitCode);
    throw error;
  } finally {
    bar?.[Symbol.dispose]();
  }
  if (options.json) terminal.result(toJson(report));
  else
    terminal.styledResult(formatLocate(report, { color: terminal.hasColor, verbose: options.all === true }));
  if (report.found) context.exitWith(1);
}
