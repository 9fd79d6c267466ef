import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError } from '../weights/file-access.js';
import type { ChatMessage } from './chat-template.js';

const OP = 'openTokenizer';

/**
 * Which special tokens `encode` puts around a text: `tokenizer` those that the tokenizer itself adds (transformers' ZAYA: 2 before and 106
 * after; a GGUF file: what its `add_bos_token` and `add_eos_token` say), `bos` only the one that begins a sequence (as llama.cpp does), `none`.
 * Special tokens that are spelled out in the text are recognised in all three.
 */
export type SpecialTokens = 'tokenizer' | 'bos' | 'none';

/** Turns text into token ids and back. */
export interface TextTokenizer {
  /** The file that it was read from. */
  readonly source: string;
  /** One more than the largest id; the model's vocabulary may be larger (padding rows). */
  readonly size: number;
  /** Id of the token that begins a sequence; undefined where there is none. */
  readonly bosToken: number | undefined;
  /**
   * Token ids of a text. Throws `BAD_ARGUMENT` for `bos` without such a token, and for text that has no ids (an unknown character without an
   * unknown token); `BAD_CONFIG` where the tokenizer fails on the text.
   */
  encode(text: string, special: SpecialTokens): number[];
  /** Text of token ids, special tokens included. An id without a token, and bytes that are not UTF-8, become U+FFFD. */
  decode(ids: readonly number[]): string;
  /** True if a chat template came with the tokenizer. */
  readonly hasChatTemplate: boolean;
  /**
   * A conversation as the text that the model expects, up to where its answer begins. Encode it with `none`: templates hold their own special
   * tokens. Throws `BAD_CONFIG` where there is no template or it fails.
   */
  renderChat(messages: readonly ChatMessage[]): string;
}

/**
 * Opens the tokenizer of a model: `tokenizer.json` of a folder (beside `tokenizer_config.json` and `chat_template.jinja`, both optional), or
 * the one embedded in a GGUF file, which may also be a folder's only one.
 *
 * @throws `IO` where there is neither; `BAD_CONFIG` for one that is malformed or of a kind that is not supported.
 */
export async function openTokenizer(model: string): Promise<TextTokenizer> {
  const found = await stat(model).catch((cause: unknown) => {
    throw ioError(OP, 'a model folder or a .gguf file', model, cause);
  });
  if (!found.isDirectory()) return openEmbedded(model);
  const names = await readdir(model);
  if (names.includes('tokenizer.json')) {
    const { readTokenizerFolder } = await import('./tokenizer-folder.js');
    return readTokenizerFolder(model);
  }
  const ggufs = names.filter((name) => name.toLowerCase().endsWith('.gguf'));
  if (ggufs.length === 1) return openEmbedded(join(model, ggufs[0]!));
  throw ioError(
    OP,
    'tokenizer.json or one .gguf file in the folder',
    model,
    `no tokenizer.json and ${ggufs.length} .gguf files; give token ids instead of text`,
  );
}

async function openEmbedded(file: string): Promise<TextTokenizer> {
  if (!file.toLowerCase().endsWith('.gguf'))
    throw ioError(OP, 'a model folder or a .gguf file', file, 'another file');
  const { native } = await import('../native.js');
  const { ggufTokenizer } = await import('./tokenizer-gguf.js');
  return ggufTokenizer(native().ggufRead(file).metadata, file);
}
