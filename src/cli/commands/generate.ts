import { Command } from 'commander';
import { ZayascopeError } from '../../errors.js';
import { flatNote } from '../../flat-logits.js';
import type { Model } from '../../models/runtime/model.js';
import { printableLine } from '../../printable.js';
import { tapPattern } from '../../tap-pattern.js';
import type { Generation } from '../../text/generate.js';
import type { TextTokenizer } from '../../text/tokenizer.js';
import type { CommandContext } from '../command-line.js';
import { formatMs } from '../format-number.js';
import { openRun } from '../options/open-run.js';
import { addRunOptions, type RunOptions } from '../options/run.js';
import { addSamplingOptions, resolveSampling, type SamplingCommandOptions } from '../options/sampling.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from '../options/tokens-or-prompt.js';
import { integerOption } from '../options/values.js';
import { runCancellable } from '../run-cancellable.js';
import type { Terminal } from '../terminal.js';

interface GenerateCommandOptions extends TokenOptions, SamplingCommandOptions, RunOptions {
  model: string;
  maxTokens: number;
  ignoreEos?: boolean;
  capture?: string;
  taps: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope generate`: continues a prompt. */
export function generateCommand(context: CommandContext): Command {
  const command = new Command('generate')
    .description('Continues a prompt, token by token; can capture every step.')
    .requiredOption('--model <path>', 'model folder or GGUF file');
  return addRunOptions(addSamplingOptions(addTokenOptions(command)))
    .option('--max-tokens <count>', 'most tokens to generate', integerOption(1, 2 ** 31 - 1), 128)
    .option('--ignore-eos', 'go on after an end-of-sequence token')
    .option('--capture <folder>', 'write the values of every step into a dump')
    .option('--taps <globs>', 'values to capture, as globs separated by commas', '**')
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print no text, but one line of JSON at the end: {"tokens": [...], ...}')
    .addHelpText(
      'after',
      "\nThe text appears as it is made; without a tokenizer the token ids do. It ends at the model's" +
        '\nend-of-sequence tokens.' +
        '\n\nExample:\n  zayascope generate --model dumps/tiny/model --prompt "[Monday 04:" --max-tokens 40',
    )
    .action((options: GenerateCommandOptions) => runGenerate(options, context));
}

async function runGenerate(options: GenerateCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { tokens: prompt } = await resolveTokens('generate', options, options.model, terminal);
  const sampling = await resolveSampling(options);
  tapPattern(options.taps); // a typing error should show before gigabytes are loaded
  const { generate } = await import('../../text/generate.js');
  const { stopTokens } = await import('../../text/stop-tokens.js');
  const tokenizer = await tokenizerIfAny(options.model, terminal);
  const { maxTokens } = options;
  await runCancellable(context, async (signal) => {
    using model = await openRun('generate', options.model, options, terminal, signal);
    signal.addEventListener('abort', () => model.backend.native.cancel());
    using session = model.session({ capacity: prompt.length + maxTokens });
    await using captured = await captureIfAsked(model, session, options);
    const printer = await tokenPrinter(options.json ? undefined : terminal, tokenizer);
    const ends = options.ignoreEos ? new Set<number>() : await stopTokens(model.weights.source);
    const result = await generate(captured ?? session, prompt, {
      maxTokens,
      sampler: sampling.sampler,
      stopTokens: ends,
      onToken: (token) => ends.has(token) || printer.push(token),
      signal,
    });
    printer.end();
    await captured?.finish();
    if (options.json) {
      const text = tokenizer?.decode(result.tokens) ?? null;
      const { tokens, finish, prefillMs, decodeMs, flatLogits } = result;
      const times = { prefillMs, decodeMs, flatLogits };
      const document = { tokens, finish, prompt, text, sampling: sampling.description, ...times };
      terminal.result(JSON.stringify(document));
    } else {
      terminal.notice(`zayascope: ${summarise(result, prompt.length, sampling.description)}\n`);
      for (const note of flatNote(result.flatLogits, result.tokens.length))
        terminal.notice(`zayascope: ${note}\n`);
    }
  });
}

async function captureIfAsked(
  model: Model,
  session: ReturnType<Model['session']>,
  { capture: out, taps, overwrite }: GenerateCommandOptions,
) {
  if (out === undefined) return undefined;
  const { captureSession } = await import('../../capture/capture-session.js');
  return captureSession(model, session, { out, taps, overwrite: overwrite === true });
}

/** Token ids need no tokenizer; with one the answer can be read. */
async function tokenizerIfAny(model: string, terminal: Terminal): Promise<TextTokenizer | undefined> {
  const { openTokenizer } = await import('../../text/tokenizer.js');
  try {
    return await openTokenizer(model);
  } catch (error) {
    if (!(error instanceof ZayascopeError)) throw error;
    terminal.notice(
      `zayascope: printing token ids, for want of a tokenizer: ${printableLine(error.message)}\n`,
    );
    return undefined;
  }
}

/** Prints tokens as they come: text, or ids. Prints nothing without a terminal. */
async function tokenPrinter(terminal: Terminal | undefined, tokenizer: TextTokenizer | undefined) {
  if (terminal === undefined) return { push: () => {}, end: () => {} };
  if (tokenizer === undefined)
    return { push: (token: number) => terminal.stream(`${token} `), end: () => terminal.stream('\n') };
  const { TextStream } = await import('../../text/text-stream.js');
  const stream = new TextStream(tokenizer);
  return {
    push: (token: number) => terminal.stream(stream.push(token)),
    end: () => terminal.stream(`${stream.end()}\n`),
  };
}

function summarise(
  { tokens, finish, prefillMs, decodeMs }: Generation,
  prompt: number,
  sampling: object,
): string {
  const end = finish === 'stop' ? `, then the end token ${tokens.at(-1)}` : '';
  const steps = tokens.length - 1;
  const decode =
    steps === 0
      ? ''
      : `, ${steps} steps in ${formatMs(decodeMs)} (${((1000 * steps) / decodeMs).toFixed(1)} a second)`;
  const prefill = `prompt of ${prompt} in ${formatMs(prefillMs)} (${((1000 * prompt) / prefillMs).toFixed(1)} a second)`;
  return `${tokens.length - Number(finish === 'stop')} tokens${end}; ${prefill}${decode}; ${JSON.stringify(sampling)}`;
}
