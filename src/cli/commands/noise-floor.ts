import { Command } from 'commander';
import type { MeasuredNoise } from '../../locate/noise/floor/measure.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { addRunOptions, openOptions, type RunOptions } from '../options/run.js';
import { addTokenOptions, resolveSequences, type TokenOptions } from '../options/tokens-or-prompt.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';

interface NoiseFloorOptions extends TokenOptions, RunOptions {
  model: string;
  out: string;
  runs: number;
  seed: number;
  reference?: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope noise-floor`: what rounding does to a prompt, over many runs. */
export function noiseFloorCommand(context: CommandContext): Command {
  const command = new Command('noise-floor')
    .description(
      'Measures what rounding does to every value of a prompt: runs that round up or down by chance, against F32.',
    )
    .requiredOption('--model <path>', 'model folder (transformers or legacy layout) or GGUF file')
    .requiredOption(
      '--out <folder>',
      'folder of the floor: a dump, for --noise of diff, locate, report and port',
    );
  return addRunOptions(addTokenOptions(command), 'pytorch-bf16')
    .option(
      '--runs <n>',
      'runs of each kind (routing free, and pinned to the reference), 2 or more',
      integerOption(2, 1e6),
      16,
    )
    .option('--seed <n>', 'seed of the first run; the others follow', integerOption(0, 2 ** 32 - 1), 1)
    .option(
      '--reference <dump>',
      'dump of an F32 run of the same tokens to measure against (default: this model is run in F32)',
    )
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print the floor as JSON')
    .addHelpText(
      'after',
      '\n--policy says what is rounded and must round something: pytorch-bf16, bf16-weights, ...' +
        '\n\nExample:\n  zayascope noise-floor --model dumps/tiny/model --tokens-file dumps/tiny/prompt.json --policy pytorch-bf16 --out out/floor',
    )
    .action((options: NoiseFloorOptions) => runNoiseFloor(options, context));
}

async function runNoiseFloor(options: NoiseFloorOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { sequences } = await resolveSequences('noise-floor', options, options.model, terminal);
  const { Dump } = await import('../../dump/reader.js');
  const { measureNoise } = await import('../../locate/noise/floor/measure.js');
  const { formatNoise } = await import('../../locate/noise/floor/format.js');
  await using reference = options.reference === undefined ? undefined : await Dump.open(options.reference);
  await runCancellable(context, async (signal) => {
    const measured: MeasuredNoise = await withProgress(terminal, 'noise-floor', 'segments', (onProgress) =>
      measureNoise(options.model, sequences, {
        ...openOptions(options),
        out: options.out,
        runs: options.runs,
        seed: options.seed,
        reference,
        overwrite: options.overwrite === true,
        onProgress,
        signal,
      }),
    );
    terminal.result(options.json ? toJson(measured.noise) : formatNoise(measured, options.out));
  });
}
