import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZayascopeError } from '../errors.js';
import type { GgufScalar, GgufValue } from '../native.js';
import { describeValue } from './describe-value.js';
import { readSmallFile } from './file-access.js';

const OP = 'convertTokenizer';
const MAX_FILE_BYTES = 512 * 1024 * 1024;
const MAX_TOKENS = 10_000_000;

/** llama.cpp's token types. */
const TYPE = { normal: 1, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** What `LlamaHfVocab` of llama.cpp gives every token: BPE ranks merges and reads no scores. */
const SCORE = -1000;

/** A tokenizer as GGUF keys. */
export interface GgufTokenizer {
  /** Without the ids of special tokens, which the config has. */
  metadata: Record<string, GgufValue>;
  /** Tokens, ids without a gap from 0. */
  size: number;
}

interface TokenizerJson {
  added_tokens?: { id: number; content: string; special: boolean }[];
  normalizer?: unknown;
  pre_tokenizer?: unknown;
  post_processor?: { type?: string; single?: { SpecialToken?: { id: string } }[] };
  model?: {
    type?: string;
    byte_fallback?: boolean;
    vocab?: Record<string, number>;
    merges?: (string | string[])[];
  };
}

/**
 * Translates `tokenizer.json` and the chat template of a model folder into GGUF keys, for the two kinds of BPE that llama.cpp tells apart: `gemma4` (▁ for spaces, byte
 * fallback; ZAYA1's own) and `gpt2` (bytes as letters; its pre-tokenizer has no GGUF form, so tokenizer.json is embedded whole beside it).
 *
 * @returns undefined if the folder has no tokenizer.json.
 * @throws `BAD_CHECKPOINT` for a malformed tokenizer or another kind; `IO` when a file cannot be read.
 */
export async function convertTokenizer(folder: string): Promise<GgufTokenizer | undefined> {
  const file = join(folder, 'tokenizer.json');
  if (!(await exists(file))) return undefined;
  const text = await readText(file);
  const json = parse<TokenizerJson>(text, file);
  const { tokens, types } = listTokens(json, file);
  const kind = kindOf(json, file);
  const array = (itemType: string, value: GgufScalar[]): GgufValue => ({ type: 'arr', itemType, value });
  const metadata: Record<string, GgufValue> = {
    'tokenizer.ggml.model': { type: 'str', value: kind },
    'tokenizer.ggml.pre': { type: 'str', value: kind === 'gemma4' ? 'gemma4' : 'default' },
    'tokenizer.ggml.tokens': array('str', tokens),
    'tokenizer.ggml.scores': array('f32', new Array<number>(tokens.length).fill(SCORE)),
    'tokenizer.ggml.token_type': array('i32', types),
    'tokenizer.ggml.merges': array('str', (json.model?.merges ?? []).map(mergeText)),
    'tokenizer.ggml.add_space_prefix': { type: 'bool', value: false },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: kind === 'gemma4' || startsWithSpecial(json) },
  };
  // GGUF arrays of no entries lose their item type in ggml.
  if (json.model?.merges?.length === 0) delete metadata['tokenizer.ggml.merges'];
  if (kind === 'gpt2') metadata['tokenizer.huggingface.json'] = { type: 'str', value: text };
  const template = await chatTemplate(folder);
  if (template !== undefined) metadata['tokenizer.chat_template'] = { type: 'str', value: template };
  return { metadata, size: tokens.length };
}

function listTokens(json: TokenizerJson, file: string): { tokens: string[]; types: number[] } {
  const { type, vocab, byte_fallback: hasBytes } = json.model ?? {};
  if (type !== 'BPE' || typeof vocab !== 'object' || vocab === null)
    throw bad('a BPE model with a vocabulary', describeValue(type), file);
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) throw bad('a list of added_tokens', describeValue(added), file);
  const entries = Object.entries(vocab);
  const ids = [...entries.map(([, id]) => id), ...added.map(({ id }) => id)];
  const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < MAX_TOKENS));
  if (wrong !== undefined || ids.length === 0)
    throw bad(`token ids from 0 to ${MAX_TOKENS - 1}`, describeValue(wrong), file);
  const size = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(TYPE.unused);
  for (const [token, id] of entries) {
    tokens[id] = token;
    types[id] = hasBytes === true && /^<0x[0-9A-F]{2}>$/.test(token) ? TYPE.byte : TYPE.normal;
  }
  for (const { id, content, special } of added) {
    if (typeof content !== 'string') throw bad(`text of added token ${id}`, describeValue(content), file);
    tokens[id] = content;
    types[id] = special ? TYPE.control : TYPE.userDefined;
  }
  // The public converter forces these, whatever the file says, so that generation ends at them.
  for (const [id, token] of tokens.entries())
    if (token === '</s>' || token === '<eos>') types[id] = TYPE.control;
  return { tokens, types };
}

function kindOf({ pre_tokenizer, normalizer, model }: TokenizerJson, file: string): 'gpt2' | 'gemma4' {
  if (JSON.stringify(pre_tokenizer ?? null).includes('"ByteLevel"')) return 'gpt2';
  if (model?.byte_fallback === true && JSON.stringify(normalizer ?? null).includes('▁')) return 'gemma4';
  throw bad('byte-level BPE, or BPE with ▁ for spaces and byte fallback', 'another kind', file);
}

/** GGUF joins the two halves with a space; one inside a half becomes the letter that llama.cpp's converter takes for it. */
function mergeText(merge: string | string[]): string {
  return typeof merge === 'string' ? merge : merge.map((half) => half.replaceAll(' ', 'Ġ')).join(' ');
}

function startsWithSpecial({ post_processor: processor }: TokenizerJson): boolean {
  return processor?.type === 'TemplateProcessing' && processor.single?.[0]?.SpecialToken !== undefined;
}

async function chatTemplate(folder: string): Promise<string | undefined> {
  const own = join(folder, 'chat_template.jinja');
  if (await exists(own)) return readText(own);
  const config = join(folder, 'tokenizer_config.json');
  if (!(await exists(config))) return undefined;
  const { chat_template: template } = parse<{ chat_template?: unknown }>(await readText(config), config);
  return typeof template === 'string' ? template : undefined;
}

async function readText(file: string): Promise<string> {
  return Buffer.from(await readSmallFile(OP, file, MAX_FILE_BYTES)).toString('utf8');
}

/** Not `parseJsonObject`: its checks take seconds on the 33 MB of a real tokenizer, whose every use here is checked anyway. */
function parse<T>(text: string, file: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad('valid JSON', (cause as Error).message.slice(0, 120), file);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad('a JSON object', describeValue(value), file);
  return value as T;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function bad(expected: string, got: string, file: string): ZayascopeError {
  return new ZayascopeError('BAD_CHECKPOINT', `${OP}: expected ${expected}, got ${got} (${file})`, {
    op: OP,
    tensor: file,
  });
}
