import { type Command, Option } from 'commander';
import { badArgument } from '../../errors.js';
import { printableLine } from '../../printable.js';
import type { SpecialTokens } from '../../text/tokenizer.js';
import type { Terminal } from '../terminal.js';
import { noticeUnusedBlocks } from '../unused-blocks-notice.js';
import { parseTokens, readSequences } from './tokens.js';

/** What {@link addTokenOptions} adds to a command's options. */
export interface TokenOptions {
  tokens?: string;
  tokensFile?: string;
  /** Several where the command takes several. */
  prompt?: string | string[];
  chat?: boolean;
  system?: string;
  special?: SpecialTokens;
}

/**
 * Adds the options that say which tokens a model is fed: ids, a file of ids, or text.
 * @param several true for a command that takes `--prompt` more than once, each a sequence. Default false.
 */
export function addTokenOptions(command: Command, several = false): Command {
  const prompt = new Option(
    '--prompt <text>',
    `text, through the model's own tokenizer${several ? '; several are sequences of their own' : ''}`,
  ).conflicts(['tokens', 'tokensFile']);
  if (several) prompt.argParser((text: string, before: string[] = []) => [...before, text]);
  return command
    .option('--tokens <ids>', 'token ids, separated by commas')
    .addOption(
      new Option(
        '--tokens-file <file>',
        'file with token ids: integers, a JSON array, {"tokens": [...]} or {"input_ids": [...]}, or I32; several sequences as [[...], [...]] or {"sequences": [...]}',
      ).conflicts('tokens'),
    )
    .addOption(prompt)
    .option('--chat', "send --prompt as a user's message through the model's chat template")
    .option('--system <text>', 'system message before it; with --chat')
    .addOption(
      new Option(
        '--special <which>',
        'special tokens around a plain --prompt: those that the tokenizer adds (default), bos alone as llama.cpp, or none',
      ).choices(['tokenizer', 'bos', 'none']),
    );
}

/** Sequences of tokens to feed. */
export interface ResolvedSequences {
  sequences: number[][];
}

/**
 * {@link resolveSequences} for a command that feeds a single one. @throws `BAD_ARGUMENT` for a file with
 * several.
 */
export async function resolveTokens(
  op: string,
  options: TokenOptions,
  model: string,
  terminal: Terminal,
): Promise<{ tokens: number[] }> {
  const { sequences } = await resolveSequences(op, options, model, terminal);
  if (sequences.length > 1)
    throw badArgument(op, 'a single sequence of tokens', `${sequences.length} (${options.tokensFile})`);
  return { tokens: sequences[0]! };
}

/**
 * The tokens that the user asked for. Ids made from text are printed as a notice, because runs compare only
 * if they were fed the same.
 *
 * @param op name of the command, for errors. @param model model folder or GGUF file, which has the tokenizer.
 * @throws `BAD_ARGUMENT` for none of the options, options of text without text, malformed ids; what reading
 * and tokenizing throw.
 */
export async function resolveSequences(
  op: string,
  options: TokenOptions,
  model: string,
  terminal: Terminal,
): Promise<ResolvedSequences> {
  const { tokens, tokensFile, prompt, chat, system, special } = options;
  await noticeUnusedBlocks(terminal, model);
  if (prompt === undefined) {
    const textOnly = Object.entries({ chat, system, special }).find(([, value]) => value !== undefined);
    if (textOnly !== undefined) throw badArgument(op, `--${textOnly[0]} with --prompt`, 'it without');
    if (tokens !== undefined) return { sequences: [parseTokens(tokens, '--tokens')] };
    if (tokensFile !== undefined) return { sequences: await readSequences(tokensFile) };
    throw badArgument(op, '--tokens, --tokens-file or --prompt', 'none of them');
  }
  if (chat && special !== undefined)
    throw badArgument(
      op,
      '--special with plain text',
      'it with --chat, whose template has its own special tokens',
    );
  if (system !== undefined && !chat) throw badArgument(op, '--system with --chat', 'it without');
  const { promptTokensInWorker } = await import('../../text/prompt-in-worker.js');
  const sequences: number[][] = [];
  for (const text of [prompt].flat()) {
    const made = await promptTokensInWorker(model, { text, chat, system, special });
    const { before, after } = made.added;
    const added = [
      ...(before.length > 0 ? [`${before.join(' ')} before`] : []),
      ...(after.length > 0 ? [`${after.join(' ')} after`] : []),
    ];
    const note = added.length > 0 ? `, of which the tokenizer added ${added.join(' and ')}` : '';
    terminal.notice(
      `zayascope: ${made.tokens.length} tokens${printableLine(note)}: ${shorten(made.tokens)}\n`,
    );
    sequences.push(made.tokens);
  }
  return { sequences };
}

/** More ids than fit a few lines are cut in the middle. */
function shorten(ids: readonly number[]): string {
  const MOST = 128;
  if (ids.length <= MOST) return ids.join(',');
  return `${ids.slice(0, MOST - 16).join(',')},...,${ids.slice(-16).join(',')}`;
}
