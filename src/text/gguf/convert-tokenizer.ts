import { join } from 'node:path';
import { describeValue } from '../../describe-value.js';
import type { GgufScalar, GgufValue } from '../../native.js';
import { pathExists } from '../../regular-file.js';
import { mergePair, readTokens } from '../added-tokens.js';
import { jsonTokenizer, type TokenizerDefinition } from '../json-tokenizer.js';
import { type Around, tokensAround } from '../pipeline/post-processor.js';
import type { TextTokenizer } from '../tokenizer.js';
import { readTokenizerDefinition } from '../tokenizer-folder.js';
import { type BpeDefinition, refused, tokenizerKind } from './tokenizer-kind.js';

/** llama.cpp's token types. */
const TYPE = { normal: 1, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** What llama.cpp takes for the end of a turn by its text alone. */
const TURN_ENDS = ['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>', '<EOT>', '[EOT]'];

/** A tokenizer as GGUF keys. */
export interface GgufTokenizer {
  /** All `tokenizer.` keys but the ids of special tokens that only the config names. */
  metadata: Record<string, GgufValue>;
  /** Tokens, ids without a gap from 0. */
  size: number;
  /** What the file cannot say, as sentences. */
  notes: readonly string[];
}

/** Ids that the config of a model names. */
export interface SpecialIds {
  bos?: number | undefined;
  eos?: number | undefined;
  padding?: number | undefined;
}

/**
 * Translates the tokenizer and chat template of a model folder into the keys that llama.cpp's loader asks
 * for, so that it gives the ids of tokenizer.json; see {@link tokenizerKind} for the kinds. Beside kinds
 * whose own form here is not read back, tokenizer.json is embedded whole.
 *
 * @param special ids that the model's config names: they go before those that the tokenizer's files name, but
 * not before the one that the tokenizer puts before each text.
 * @returns undefined if the folder has no tokenizer.json.
 * @throws `BAD_CONFIG` for a tokenizer that `openTokenizer` refuses; `BAD_CHECKPOINT` for one that llama.cpp
 * has no form for; `IO`.
 */
export async function convertTokenizer(
  folder: string,
  special: SpecialIds = {},
): Promise<GgufTokenizer | undefined> {
  if (!(await pathExists(join(folder, 'tokenizer.json')))) return undefined;
  const definition = await readTokenizerDefinition(folder);
  const opened = jsonTokenizer(definition);
  const added = addedAround(definition);
  const bpe = readBpe(definition, added.before.length > 0);
  const types = tokenTypes(definition, bpe);
  const kind = tokenizerKind(bpe);
  if (kind.model === 'gemma4') checkLineEnds(bpe, opened);
  const array = (itemType: string, value: GgufScalar[]): GgufValue => ({ type: 'arr', itemType, value });
  const text = (value: string): GgufValue => ({ type: 'str', value });
  const flag = (value: boolean): GgufValue => ({ type: 'bool', value });
  const ids = specialIds(definition, opened, special, added.before[0]);
  const after = addedAfter(opened, added.after, ids.eos);
  const metadata: Record<string, GgufValue> = {
    'tokenizer.ggml.model': text(kind.model),
    'tokenizer.ggml.pre': text(kind.pre),
    'tokenizer.ggml.tokens': array('str', placeholders(bpe.tokens)),
    'tokenizer.ggml.scores': array('f32', kind.scores),
    'tokenizer.ggml.token_type': array('i32', types),
    'tokenizer.ggml.merges': array('str', bpe.merges.map(mergeText)),
    'tokenizer.ggml.add_space_prefix': flag(kind.addSpacePrefix),
    'tokenizer.ggml.add_bos_token': flag(added.before.length > 0),
    'tokenizer.ggml.add_eos_token': flag(after.isEos),
    ...Object.fromEntries(
      Object.entries(ids)
        .filter(([, id]) => id !== undefined)
        .map(([name, id]) => [`tokenizer.ggml.${name}_token_id`, { type: 'u32', value: id! }]),
    ),
  };
  if (kind.model !== 'gemma4') metadata['tokenizer.huggingface.json'] = text(JSON.stringify(definition.json));
  if (definition.chatTemplate !== undefined)
    metadata['tokenizer.chat_template'] = text(definition.chatTemplate);
  return { metadata, size: bpe.tokens.length, notes: after.notes };
}

/** Ids that the tokenizer puts around every text. */
function addedAround({ json, source }: TokenizerDefinition): Around {
  const { added } = readTokens(json, source);
  const around = tokensAround(json.post_processor, (token) => added.idOf(token), source);
  if (around.before.length > 1)
    throw refused(
      'at most one token before each text, which is all that llama.cpp adds',
      `${around.before.length}`,
      source,
    );
  return around;
}

/** llama.cpp adds the end of a sequence after a text, or nothing. */
function addedAfter(
  tokenizer: TextTokenizer,
  after: readonly number[],
  eos: number | undefined,
): { isEos: boolean; notes: string[] } {
  if (after.length === 0) return { isEos: false, notes: [] };
  if (after.length === 1 && after[0] === eos) return { isEos: true, notes: [] };
  const text = describeValue(tokenizer.decode(after));
  const note = `${tokenizer.source} adds ${text} after each text; the file does not: llama.cpp can add the end of a sequence only`;
  return { isEos: false, notes: [note] };
}

function readBpe({ json, source }: TokenizerDefinition, addsBos: boolean): BpeDefinition {
  const model = json.model as Record<string, unknown>;
  const { vocabulary, added: all } = readTokens(json, source);
  const added = all.list;
  for (const token of added) {
    for (const name of ['lstrip', 'rstrip', 'single_word'] as const)
      if (token[name])
        throw refused(
          'added tokens that stand as they are',
          `${name} of ${describeValue(token.content)}, which llama.cpp has no key for`,
          source,
        );
  }
  const ids = [...vocabulary.values(), ...added.map(({ id }) => id)];
  if (ids.length === 0) throw refused('token ids', 'an empty vocabulary', source);
  const tokens = new Array<string | undefined>(ids.reduce((most, id) => Math.max(most, id), 0) + 1).fill(
    undefined,
  );
  for (const [token, id] of vocabulary) tokens[id] = token;
  for (const { id, content } of added) tokens[id] = content;
  return {
    normalizer: json.normalizer,
    preTokenizer: json.pre_tokenizer,
    tokens,
    vocabulary,
    merges: (model.merges as unknown[]).map((merge) => mergePair(merge)!),
    byteFallback: model.byte_fallback === true,
    ignoreMerges: model.ignore_merges === true,
    hasUnknown: typeof model.unk_token === 'string',
    addsBos,
    file: source,
  };
}

/** llama.cpp takes a run of line ends that is a token whole, whatever the merges make of it. */
function checkLineEnds({ vocabulary, file }: BpeDefinition, opened: TextTokenizer): void {
  for (const [token, id] of vocabulary) {
    if (!/^\n+$/.test(token)) continue;
    const ids = opened.encode(token, 'none');
    if (ids.length !== 1 || ids[0] !== id)
      throw refused(
        'runs of line ends that are tokens to be found',
        `${describeValue(token)}, which merges make no token of`,
        file,
      );
  }
}

function tokenTypes({ json, source }: TokenizerDefinition, bpe: BpeDefinition): number[] {
  const { tokens, vocabulary, byteFallback } = bpe;
  const types = tokens.map((token) => {
    if (token === undefined) return TYPE.unused as number;
    if (byteFallback && /^<0x[0-9A-F]{2}>$/.test(token)) return TYPE.byte;
    // The public converter forces these, whatever the file says, so that generation ends at them.
    return token === '</s>' || token === '<eos>' ? TYPE.control : TYPE.normal;
  });
  for (const { id, special, content } of readTokens(json, source).added.list) {
    if (special || content === '</s>' || content === '<eos>') types[id] = TYPE.control;
    // A run of blanks is found by its merges; llama.cpp would print it as U+2581 if it were looked up as it
    // is spelled.
    else if (!(byteFallback && vocabulary.has(content) && /^\u2581+$/.test(content)))
      types[id] = TYPE.userDefined;
  }
  return types;
}

/** Names for ids without a token, none of them a token's: llama.cpp aborts on a text given twice. */
function placeholders(tokens: readonly (string | undefined)[]): string[] {
  const taken = new Set(tokens);
  return tokens.map((token, id) => {
    let name = token ?? `[PAD${id}]`;
    while (token === undefined && taken.has(name)) name = `[${name}]`;
    return name;
  });
}

/**
 * GGUF joins the two halves with a space; one inside a half becomes the letter that llama.cpp's converter
 * takes for it.
 */
function mergeText(merge: readonly [string, string]): string {
  return merge.map((half) => half.replaceAll(' ', '\u0120')).join(' ');
}

function specialIds(
  { specialTexts, json }: TokenizerDefinition,
  { size }: TextTokenizer,
  config: SpecialIds,
  before: number | undefined,
): Record<'bos' | 'eos' | 'eot' | 'unknown' | 'padding', number | undefined> {
  const { added } = readTokens(json, '');
  const model = json.model as { unk_token?: unknown };
  const named = (id: number | undefined, text: unknown): number | undefined => {
    if (id !== undefined && id >= 0 && id < size) return id;
    return typeof text === 'string' ? added.idOf(text) : undefined;
  };
  return {
    bos: before ?? named(config.bos, specialTexts.bos_token),
    eos: named(config.eos, specialTexts.eos_token),
    eot: added.list.find(({ content, special }) => special && TURN_ENDS.includes(content))?.id,
    unknown: named(undefined, model.unk_token ?? specialTexts.unk_token),
    padding: named(config.padding, specialTexts.pad_token),
  };
}
