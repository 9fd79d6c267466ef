import { Command, Option } from 'commander';
import type { GgufType } from '../../models/gguf/types.js';
import type { SynthResult, SynthSize } from '../../models/zaya/synth.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes, formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { ggufTypeOption } from '../options/gguf-type.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';

interface SynthCommandOptions {
  size: SynthSize;
  type: GgufType;
  out: string;
  seed: number;
  overwrite?: boolean;
  json?: boolean;
}

const SIZES: readonly SynthSize[] = ['tiny', 'small', '8b'];

/** `zayascope synth`: a GGUF file with random weights. */
export function synthCommand(context: CommandContext): Command {
  return new Command('synth')
    .description(
      "Writes a GGUF file with random weights in ZAYA's shape, to measure speed and memory without a download.",
    )
    .addOption(
      new Option('--size <size>', '8b: the 8,840,233,464 parameters of ZAYA1-8B')
        .choices(SIZES)
        .makeOptionMandatory(),
    )
    .addOption(ggufTypeOption())
    .requiredOption('--out <file>', 'file to write, ending in .gguf; it appears when it is complete')
    .option('--seed <number>', 'the same seed gives the same file', integerOption(0, 2 ** 31 - 1), 1)
    .option('--overwrite', 'replace a file of that name')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nThe file has no tokenizer: give prompts as --tokens. As q4_k_m the 8b takes 5.6 GB.' +
        '\n\nExample:\n  zayascope synth --size tiny --type q4_k_m --out out/synthetic.gguf',
    )
    .action((options: SynthCommandOptions) => runSynth(options, context));
}

async function runSynth(
  { size, type, out, seed, overwrite, json }: SynthCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { synthZaya } = await import('../../models/zaya/synth.js');
  const started = performance.now();
  await runCancellable(context, async (signal) => {
    const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);
    const result = await withProgress(terminal, 'synth', 'MiB', (onProgress) =>
      synthZaya({
        size,
        type,
        out,
        seed,
        overwrite: overwrite === true,
        onProgress: (done, total) => onProgress(mebibytes(done), mebibytes(total)),
        signal,
      }),
    );
    const elapsedMs = performance.now() - started;
    terminal.result(json ? toJson({ ...result, elapsedMs }) : summary(result, elapsedMs));
  });
}

function summary(result: SynthResult, elapsedMs: number): string {
  return fields([
    ['file', `${result.out}: ${result.type}, ${formatBytes(result.sizeBytes)}`],
    [
      'tensors',
      `${formatCount(result.tensors)}, ${formatCount(result.parameters)} parameters, seed ${result.seed}`,
    ],
    ['time', formatMs(elapsedMs)],
  ]);
}
