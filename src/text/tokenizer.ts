import { readdir } from 'node:fs/promises';
import { ioError } from '../weights/file-access.js';
import { type FoundModel, findModel } from '../weights/model-path.js';
import type { ChatMessage } from './chat-template.js';

const OP = 'openTokenizer';

/**
 * Which special tokens `encode` puts around a text: `tokenizer` those that the tokenizer itself adds
 * (transformers' ZAYA: 2 before and 106 after; a GGUF file: what its `add_bos_token` and `add_eos_token`
 * say), `bos` only the one that begins a sequence (as llama.cpp does), `none`. Special tokens that are
 * spelled out in the text are recognised in all three.
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
   * Token ids of a text. Throws `BAD_ARGUMENT` for `bos` without such a token, and for text that has no ids
   * (an unknown character without an unknown token); `BAD_CONFIG` where the tokenizer fails on the text.
   */
  encode(text: string, special: SpecialTokens): number[];
  /**
   * Text of token ids, special tokens included. An id without a token, and bytes that are not UTF-8, become
   * U+FFFD.
   */
  decode(ids: readonly number[]): string;
  /** True if a chat template came with the tokenizer. */
  readonly hasChatTemplate: boolean;
  /**
   * A conversation as the text that the model expects, up to where its answer begins. Encode it with `none`:
   * templates hold their own special tokens. Throws `BAD_CONFIG` where there is no template or it fails.
   */
  renderChat(messages: readonly ChatMessage[]): string;
}

/**
 * Opens the tokenizer of a model: `tokenizer.json` of a folder (beside `tokenizer_config.json` and
 * `chat_template.jinja`, both optional), or the one embedded in a GGUF file, which may also be a folder's
 * only one.
 *
 * @throws `IO` where there is neither; `BAD_CONFIG` for one that is malformed or of a kind that is not
 * supported.
 */
export async function openTokenizer(model: string): Promise<TextTokenizer> {
  const found = await tokenizerPlace(model);
  if (found.kind === 'gguf') {
    const { readGgufHeader } = await import('../weights/formats/gguf-header.js');
    const { ggufTokenizer } = await import('./gguf/read-tokenizer.js');
    return ggufTokenizer((await readGgufHeader(OP, found.path)).metadata, found.path);
  }
  const names = await readdir(found.path);
  if (names.includes('tokenizer.json')) {
    const { readTokenizerFolder } = await import('./tokenizer-folder.js');
    return readTokenizerFolder(found.path);
  }
  throw ioError(
    OP,
    'tokenizer.json or one GGUF file in the folder',
    found.path,
    'neither; give token ids instead of text',
  );
}

/** As the model is found; a folder may also hold a tokenizer alone. */
async function tokenizerPlace(model: string): Promise<FoundModel> {
  const names = await readdir(model).catch((): string[] => []);
  return names.includes('tokenizer.json') ? { kind: 'folder', path: model } : findModel(OP, model);
}
