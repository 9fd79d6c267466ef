import { Command, InvalidArgumentError, Option } from 'commander';
import type { DumpTier } from '../../dump/format.js';
import { badArgument } from '../../errors.js';
import type { SetValue } from '../../recording/record/grafts.js';
import type { RecordResult } from '../../recording/record/record.js';
import { runNotes } from '../../recording/record/run-notes.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes, formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { addCacheOptions, type CacheOptions } from '../options/cache.js';
import { addThreadsOption } from '../options/device.js';
import { addTokenOptions, resolveSequences, type TokenOptions } from '../options/tokens-or-prompt.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';

interface RecordCommandOptions extends TokenOptions, CacheOptions {
  out: string;
  taps: string;
  positions: string;
  tier: DumpTier;
  generate: number;
  chunk?: number;
  ubatch: number;
  threads?: number;
  set?: SetValue[];
  pin?: string;
  from?: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope record`: runs any GGUF through libllama and writes every node's value, and the graph. */
export function recordCommand(context: CommandContext): Command {
  const command = new Command('record')
    .description(
      'Runs a GGUF file of any architecture that libllama knows, and writes the value of every node and the graph.',
    )
    .argument('<model>', 'GGUF file')
    .requiredOption('--out <folder>', 'folder of the recording; made if absent');
  addTokenOptions(command, true)
    .option(
      '--taps <pattern>',
      'values to write, as a tap pattern; what their nodes read is written too',
      '**',
    )
    .option(
      '--positions <range>',
      'rows of those that no node reads: all, last (of each step), or a:b',
      'all',
    )
    .addOption(
      new Option('--tier <tier>', 'what is written of a value; only full can be replayed')
        .choices(['full', 'stats', 'hash'])
        .default('full'),
    )
    .option(
      '--generate <count>',
      'tokens to append, each the likeliest, in a call of its own',
      integerOption(0, 4096),
      0,
    )
    .option('--chunk <count>', 'tokens of the prompt in a call (default: all)', integerOption(1, 1 << 20))
    .option('--ubatch <count>', 'tokens that libllama runs in one graph', integerOption(1, 1 << 16), 512);
  return addCacheOptions(addThreadsOption(command, 'half of the processors'))
    .option(
      '--set <name=file>',
      'write the array of a .npy file into the run as the value NAME, or NAME@STEP (repeatable)',
      setOption,
    )
    .option('--pin <taps>', 'write the values of these taps, or views, of --from into the run')
    .option('--from <recording>', 'recording that --pin takes its values from')
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nThe model runs twice: without reading values, for the graphs and the logits to compare with, and with.' +
        '\nExit code 1: the logits of the two runs differ, or one is NaN or infinite (the recording is complete all the same).' +
        '\n\nExample:\n  zayascope record model.gguf --tokens 1,15,7,22 --generate 2 --out out/recording',
    )
    .action((model: string, options: RecordCommandOptions) => runRecord(model, options, context));
}

/** `NAME=FILE` or `NAME@STEP=FILE`; a name may have `=` in it, a file's name not. */
function setOption(text: string, before: SetValue[] = []): SetValue[] {
  const match = /^(.+?)(?:@(\d{1,6}))?=([^=]+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Expected NAME=FILE or NAME@STEP=FILE.');
  const [, tap, step, file] = match;
  return [...before, { tap: tap!, file: file!, step: step !== undefined ? Number(step) : undefined }];
}

async function runRecord(
  model: string,
  options: RecordCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  if ((options.pin === undefined) !== (options.from === undefined))
    throw badArgument('record', '--pin and --from together', 'one of them');
  const { sequences } = await resolveSequences('record', options, model, terminal);
  const [tokens, ...others] = sequences as [number[], ...number[][]];
  const { recordGguf } = await import('../../recording/record/record.js');
  const { taps, positions, tier } = options;
  const { out, generate, chunk, ubatch, threads, flashAttention, keyType, valueType, overwrite } = options;
  const started = performance.now();
  await runCancellable(context, async (signal) => {
    const result = await withProgress(terminal, 'record', 'graphs', (onProgress) =>
      recordGguf({
        model,
        tokens,
        others,
        taps,
        positions,
        tier,
        out,
        generate,
        ubatch,
        keyType,
        valueType,
        overwrite: overwrite === true,
        flashAttention: flashAttention === true,
        set: options.set,
        pin: options.pin === undefined ? undefined : [{ taps: options.pin, from: options.from! }],
        chunk,
        threads,
        signal,
        onProgress,
      }),
    );
    terminal.result(options.json ? toJson(result) : format(result, performance.now() - started));
    if (!result.isSame || result.nonFiniteLogits > 0) context.exitWith(1);
  });
}

function format(result: RecordResult, elapsedMs: number): string {
  const { out, description, graphs, nodes, views, taps, valueBytes, isSame, edited } = result;
  return fields([
    ['recording', out],
    ['model', description],
    [
      'graphs',
      `${formatCount(graphs)}: ${formatCount(nodes)} nodes that compute, ${formatCount(views)} views`,
    ],
    ['values', `${formatCount(taps)} taps, ${formatBytes(valueBytes)}`],
    ['logits', isSame ? 'the same bits with and without recording' : 'DIFFER with and without recording'],
    ...(result.nonFiniteLogits > 0
      ? ([['not finite', `${formatCount(result.nonFiniteLogits)} logits`]] as const)
      : []),
    ...runNotes(result).map((note): [string, string] => ['note', note]),
    ...(edited === undefined
      ? []
      : ([
          [
            'written into',
            `${formatCount(edited.nodes)} nodes; logits NMSE up to ${edited.logitsNmse.toExponential(2)}`,
          ],
        ] as const)),
    ...ends(result),
    ['time', formatMs(elapsedMs)],
  ]);
}

/** What each sequence appended, and what would come next. */
function ends({ next, nextLogit, generated, others }: RecordResult): [string, string][] {
  const all = [{ next, nextLogit, generated }, ...others];
  return all.flatMap((end, k): [string, string][] => {
    const of = all.length === 1 ? '' : ` ${k}`;
    return [
      ...(end.generated.length > 0
        ? ([[`appended${of}`, end.generated.join(',')]] as [string, string][])
        : []),
      [
        `next token${of}`,
        end.nextLogit === null
          ? 'none: logits are not finite'
          : `${end.next} (logit ${end.nextLogit.toFixed(4)})`,
      ],
    ];
  });
}
