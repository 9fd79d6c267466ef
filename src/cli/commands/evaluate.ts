import { Command, Option } from 'commander';
import { badArgument } from '../../errors.js';
import type { Evaluation } from '../../evaluate/evaluate.js';
import type { TextScores } from '../../evaluate/scores.js';
import { flatNote } from '../../flat-logits.js';
import type { CommandContext } from '../command-line.js';
import { formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { openRun } from '../options/open-run.js';
import { addRunOptions, type RunOptions } from '../options/run.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from '../options/tokens-or-prompt.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';

const MAX_TEXT_BYTES = 256 * 1024 * 1024;

interface EvaluateCommandOptions extends TokenOptions, RunOptions {
  model: string;
  against?: string;
  againstPolicy?: string;
  text?: string;
  context: number;
  maxTokens?: number;
  json?: boolean;
}

/** `zayascope evaluate`: perplexity of a model, and the distance of a second one's predictions. */
export function evaluateCommand(context: CommandContext): Command {
  const command = new Command('evaluate')
    .description('Perplexity of a model over a text; KL, Δp and top-1 agreement of a second one.')
    .requiredOption('--model <path>', 'model folder or GGUF file; it also gives the tokenizer')
    .addOption(
      new Option('--text <file>', 'UTF-8 text to score').conflicts(['tokens', 'tokensFile', 'prompt']),
    )
    .option('--against <path>', 'second model (default with --against-policy: the same one)')
    .option('--against-policy <name>', 'dtypes of the second model (default: those of the first)');
  return addRunOptions(addTokenOptions(command))
    .option('--context <tokens>', 'tokens of a window', integerOption(2, 2 ** 20), 512)
    .option('--max-tokens <count>', 'use only this many tokens of the text', integerOption(2, 2 ** 31 - 1))
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: a perplexity or KL is infinite. NaN among logits is an error (2).' +
        '\nWindows do not overlap and each starts with an empty past; its first token is not scored. The text begins' +
        '\nwith bos (--special changes that). Figures of llama-perplexity differ: it scores the second half of each' +
        '\nwindow only.' +
        '\n\nExample:\n  zayascope evaluate --model ZAYA1-8B --against ZAYA1-8B-Q4_K_M.gguf --text wiki.test.raw --max-tokens 4096',
    )
    .action((options: EvaluateCommandOptions) => runEvaluate(options, context));
}

/** What `evaluate --json` prints. */
interface EvaluationSummary extends Evaluation {
  model: string;
  policy: string;
  against: string | null;
  againstPolicy: string | null;
  /** Logits a token of each model; the distance of two is over the smaller vocabulary. */
  vocabulary: { model: number; against: number | null };
  elapsedMs: number;
}

async function runEvaluate(options: EvaluateCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const all = await textTokens(options, context);
  const tokens = all.slice(0, options.maxTokens);
  const { evaluate } = await import('../../evaluate/evaluate.js');
  const { model: path, policy } = options;
  const isPair = options.against !== undefined || options.againstPolicy !== undefined;
  const against = options.against ?? path;
  const againstPolicy = options.againstPolicy ?? policy;
  await runCancellable(context, async (signal) => {
    const open = (folder: string, own: string) =>
      openRun('evaluate', folder, { ...options, policy: own }, terminal, signal);
    using model = await open(path, policy);
    using second = isPair ? await open(against, againstPolicy) : undefined;
    const cancel = (): void => {
      model.backend.native.cancel();
      second?.backend.native.cancel();
    };
    signal.addEventListener('abort', cancel);
    const started = performance.now();
    const result = await withProgress(terminal, 'evaluate', 'tokens', (onProgress) =>
      evaluate(model, tokens, {
        context: options.context,
        onProgress,
        signal,
        against: second,
      }),
    );
    const summary: EvaluationSummary = {
      model: path,
      policy,
      against: isPair ? against : null,
      againstPolicy: isPair ? againstPolicy : null,
      vocabulary: { model: model.config.vocab_size, against: second?.config.vocab_size ?? null },
      ...result,
      elapsedMs: performance.now() - started,
    };
    terminal.result(options.json ? toJson(summary) : formatSummary(summary));
    const figures = [result.reference.perplexity, result.tested?.perplexity ?? 0, result.logits?.klMax ?? 0];
    if (!figures.every(Number.isFinite)) context.exitWith(1);
  });
}

async function textTokens(options: EvaluateCommandOptions, { terminal }: CommandContext): Promise<number[]> {
  if (options.text === undefined)
    return (await resolveTokens('evaluate', options, options.model, terminal)).tokens;
  const { readSmallFile } = await import('../../weights/file-access.js');
  const bytes = await readSmallFile('evaluate', options.text, MAX_TEXT_BYTES);
  let prompt: string;
  try {
    prompt = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badArgument('evaluate', 'UTF-8 text', 'other bytes', options.text, cause);
  }
  const special = options.special ?? (options.chat ? undefined : 'bos');
  const text = { ...options, prompt, special };
  return (await resolveTokens('evaluate', text, options.model, terminal)).tokens;
}

function formatSummary(summary: EvaluationSummary): string {
  const { reference, tested, logits, probabilityChange: change } = summary;
  const lines: [string, string][] = [
    ['model', `${summary.model}, policy ${summary.policy}`],
    ...(summary.against === null
      ? []
      : ([['against', `${summary.against}, policy ${summary.againstPolicy}`]] as [string, string][])),
    [
      'text',
      `${formatCount(summary.tokens)} tokens, ${summary.windows} windows of ${summary.context}, ${formatCount(summary.scored)} scored`,
    ],
    ['perplexity', describeScores(reference)],
  ];
  if (tested !== null && logits !== null && change !== null) {
    const { percentiles } = change;
    const ratio = Math.exp(tested.meanNll - reference.meanNll);
    lines.push(
      [
        '  against',
        `${describeScores(tested)}${Number.isFinite(ratio) ? `, ratio ${ratio.toFixed(6)}` : ''}`,
      ],
      ['KL', `mean ${logits.klMean.toExponential(3)}, max ${logits.klMax.toExponential(3)} nats`],
      ['top-1', `the same for ${percent(logits.top1Agreement)} of the tokens`],
      ['top-10', `${percent(logits.topAgreement)} shared`],
      ['Δp', `mean ${percent(change.mean)}, rms ${percent(change.rms)} (of the text's token)`],
      [
        '',
        `1 %: ${percent(percentiles[1])}, median ${percent(percentiles[50])}, 99 %: ${percent(percentiles[99])}`,
      ],
    );
  }
  const { nonFinite } = summary;
  if (nonFinite.reference + nonFinite.tested > 0)
    lines.push([
      'NOT FINITE',
      `${formatCount(nonFinite.reference)} logits of the model${tested === null ? '' : ` and ${formatCount(nonFinite.tested)} of the second one`} are -Infinity: tokens of probability 0`,
    ]);
  const { model: width, against } = summary.vocabulary;
  if (against !== null && against !== width)
    lines.push([
      'note',
      `the models have ${width} and ${against} logits a token: KL and top tokens are over the first ${Math.min(width, against)} (${percent(Math.min(width, against) / Math.max(width, against))})`,
    ]);
  for (const [side, whose] of [
    ['reference', ''],
    ['tested', 'second model: '],
  ] as const)
    for (const note of flatNote(summary.flatLogits[side], summary.scored))
      lines.push(['note', `${whose}${note}`]);
  return fields([...lines, ['time', formatMs(summary.elapsedMs)]]);
}

function describeScores({ perplexity, perplexityError, meanNll }: TextScores): string {
  if (perplexity === Number.POSITIVE_INFINITY) return 'infinite: a token of the text has probability 0';
  return `${perplexity.toFixed(4)} ± ${perplexityError.toFixed(4)} (${meanNll.toFixed(6)} nats a token)`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(3)} %`;
}
