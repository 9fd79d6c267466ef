import { Command, Option } from 'commander';
import type { ConvertResult } from '../../models/gguf/convert.js';
import type { GgufType } from '../../models/gguf/types.js';
import { printableLine } from '../../printable.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes, formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { ggufTypeOption } from '../options/gguf-type.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';
import { noticeUnusedBlocks } from '../unused-blocks-notice.js';

interface ConvertCommandOptions {
  type: GgufType;
  out: string;
  imatrix?: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope convert`: a model as a GGUF file. */
export function convertCommand(context: CommandContext): Command {
  return new Command('convert')
    .description(
      'Writes a model as a GGUF file that llama.cpp loads (of a ZAYA the half-layer dialect of its public branch), quantised by ggml.',
    )
    .argument('<model>', 'a model folder of either layout, or a GGUF file in F32, F16 or BF16')
    .addOption(ggufTypeOption())
    .requiredOption('--out <file>', 'file to write, ending in .gguf; it appears when it is complete')
    .addOption(
      new Option('--imatrix <file>', "importance matrix of llama.cpp's llama-imatrix (GGUF or .dat)"),
    )
    .option('--overwrite', 'replace a file of that name')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nThe tokenizer (tokenizer.json) and chat template beside the model are embedded, the vocabulary is trimmed to' +
        '\nthe tokenizer. Router, convolutions, norms and biases are never quantised.' +
        '\n\nExample:\n  zayascope convert dumps/tiny/model --type q8_0 --out out/tiny-q8_0.gguf',
    )
    .action((model: string, options: ConvertCommandOptions) => runConvert(model, options, context));
}

async function runConvert(
  model: string,
  { type, out, imatrix, overwrite, json }: ConvertCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { convertModel } = await import('../../models/gguf/convert.js');
  const { readImportance } = await import('../../weights/imatrix.js');
  await noticeUnusedBlocks(terminal, model);
  const started = performance.now();
  await runCancellable(context, async (signal) => {
    const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);
    const importance = imatrix === undefined ? undefined : await readImportance(imatrix);
    const result = await withProgress(terminal, 'convert', 'MiB', (onProgress) =>
      convertModel(model, {
        type,
        out,
        overwrite: overwrite === true,
        importance,
        onProgress: (done, total) => onProgress(mebibytes(done), mebibytes(total)),
        signal,
      }),
    );
    const elapsedMs = performance.now() - started;
    if (!json) for (const line of notices(result)) terminal.notice(`zayascope: ${printableLine(line)}\n`);
    terminal.result(json ? toJson({ ...result, elapsedMs }) : summary(result, elapsedMs));
  });
}

function notices({ fallbacks, unweighted, importance, tokenizerNotes }: ConvertResult): string[] {
  return [
    ...tokenizerNotes,
    ...fallbacks.map(
      ({ tensor, columns, wanted, used }) =>
        `${tensor}: rows of ${columns} do not hold whole blocks of ${wanted}, stored as ${used}`,
    ),
    ...importance.flatMap(({ tensor, unreached, scaled, ignoredColumns }) => [
      ...(unreached === 0
        ? []
        : [
            `${tensor}: the calibration reached no token of ${unreached} ${unreached === 1 ? 'matrix' : 'matrices'}, all columns count alike there`,
          ]),
      ...(scaled === 0
        ? []
        : [`${tensor}: importance beyond the range of ggml, brought into it by a power of two`]),
      ...(ignoredColumns === 0
        ? []
        : [
            `${tensor}: ${ignoredColumns} columns of importance 0, whose weights count for nothing and may become 0, as in llama.cpp`,
          ]),
    ]),
    ...unweighted.map((tensor) => `${tensor}: quantised without importance, the matrix has none for it`),
  ];
}

function summary(result: ConvertResult, elapsedMs: number): string {
  const { dtypes, vocabulary, sourceVocabulary, weighted } = result;
  const trimmed = vocabulary < sourceVocabulary ? `, trimmed from ${formatCount(sourceVocabulary)}` : '';
  return fields([
    ['file', `${result.out}: ${result.type}, ${formatBytes(result.sizeBytes)}`],
    ['tensors', `${formatCount(result.tensors)}, ${formatCount(result.parameters)} parameters`],
    [
      'dtypes',
      dtypes
        .map(({ dtype, tensors, sizeBytes }) => `${dtype} ${formatBytes(sizeBytes)} in ${tensors} tensors`)
        .join(', '),
    ],
    ['vocabulary', `${formatCount(vocabulary)}${trimmed}`],
    ['tokenizer', result.hasTokenizer ? 'embedded' : 'none: the model has no tokenizer.json'],
    ...(weighted > 0 ? [['importance', `used for ${weighted} tensors`] as const] : []),
    ['fallbacks', `${result.fallbacks.length}`],
    ['time', formatMs(elapsedMs)],
  ]);
}
