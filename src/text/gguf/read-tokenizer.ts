import { describeValue } from '../../describe-value.js';
import { ZayascopeError } from '../../errors.js';
import type { GgufValue } from '../../native.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { jsonTokenizer } from '../json-tokenizer.js';
import type { TextTokenizer } from '../tokenizer.js';
import { preTokenizer } from './pre-tokenizers.js';

const OP = 'openTokenizer';
const KEY = 'tokenizer.ggml.';
/** A whole tokenizer.json; llama.cpp ignores it, the GGUF specification names it. */
const EMBEDDED_JSON = 'tokenizer.huggingface.json';

/** `tokenizer.ggml.token_type`, as llama.cpp numbers them. */
const TYPE = { unknown: 2, control: 3, userDefined: 4 } as const;

/** What the kinds of tokenizer differ in, in the terms of `tokenizer.json`. */
interface Pipeline {
  normalizer: object | null;
  pre_tokenizer: object;
  decoder: object;
  byteFallback: boolean;
  ignoreMerges: boolean;
  /** Where `add_bos_token` is absent or overruled. */
  addsBos: boolean | 'always';
}

/**
 * The tokenizer embedded in a GGUF file: its `tokenizer.huggingface.json` if it has one, else `gemma4`
 * (ZAYA1's: merges over characters, blanks as U+2581, bytes for what is not in the vocabulary, lines apart
 * from their ends, always preceded by bos; as llama.cpp treats it) or `gpt2` (merges over bytes) with words
 * that `pre-tokenizers.ts` knows. Special tokens and chat template are those of the GGUF keys in all cases.
 *
 * @param metadata of the file, as `readGgufHeader` gives it.
 * @throws `BAD_CONFIG` naming the key that is absent, malformed, or of a kind that is not supported.
 */
export function ggufTokenizer(
  metadata: Readonly<Record<string, GgufValue | undefined>>,
  file: string,
): TextTokenizer {
  const keys = new TokenizerKeys(metadata, file);
  const tokens = keys.strings('tokens');
  if (new Set(tokens).size !== tokens.length) throw keys.error('tokens', 'each token once', 'one twice');
  const specialTexts: Record<string, string> = {};
  for (const name of ['bos', 'eos', 'unknown', 'padding'] as const) {
    const id = keys.token(name, tokens.length);
    if (id !== undefined) specialTexts[`${SHORT[name]}_token`] = tokens[id]!;
  }
  const embedded = metadata[EMBEDDED_JSON]?.value;
  const template = metadata['tokenizer.chat_template']?.value;
  return jsonTokenizer({
    json:
      typeof embedded === 'string' ? parseEmbedded(embedded, file) : definition(keys, tokens, specialTexts),
    specialTexts,
    chatTemplate: typeof template === 'string' ? template : undefined,
    source: file,
  });
}

function parseEmbedded(text: string, file: string): Record<string, unknown> {
  const where = `${EMBEDDED_JSON} in ${file}`;
  return parseJsonObject(new TextEncoder().encode(text), { code: 'BAD_CONFIG', op: OP, where });
}

/** What tokenizer.json would say of the same tokenizer. */
function definition(
  keys: TokenizerKeys,
  tokens: readonly string[],
  specialTexts: Record<string, string>,
): Record<string, unknown> {
  const merges = keys.strings('merges', []).map((merge) => splitMerge(merge, keys));
  const pipeline = pipelineOf(keys, merges.length > 0);
  const types = keys.integers('token_type', tokens.length);
  const added = tokens.flatMap((content, id) => {
    const type = types?.[id];
    if (type !== TYPE.control && type !== TYPE.userDefined && type !== TYPE.unknown) return [];
    return [{ id, content, special: type !== TYPE.userDefined, normalized: false }];
  });
  return {
    normalizer: pipeline.normalizer,
    pre_tokenizer: pipeline.pre_tokenizer,
    decoder: pipeline.decoder,
    post_processor: postProcessor(keys, pipeline, specialTexts),
    added_tokens: added,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
      byte_fallback: pipeline.byteFallback,
      ignore_merges: pipeline.ignoreMerges,
      unk_token: specialTexts.unk_token ?? null,
    },
  };
}

const SHORT = { bos: 'bos', eos: 'eos', unknown: 'unk', padding: 'pad' } as const;

function pipelineOf(keys: TokenizerKeys, hasMerges: boolean): Pipeline {
  const model = keys.string('model');
  if (model === 'gemma4')
    return {
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
      pre_tokenizer: {
        type: 'Split',
        pattern: { Regex: '[^\\n]+|[\\n]+' },
        behavior: 'Isolated',
        invert: false,
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
        ],
      },
      byteFallback: true,
      ignoreMerges: false,
      addsBos: 'always',
    };
  if (model !== 'gpt2') throw keys.error('model', 'gemma4 or gpt2', describeValue(model));
  const pre = keys.string('pre', 'gpt-2');
  // How a text is cut into words matters only where bytes are merged.
  const known = preTokenizer(hasMerges ? pre : 'gpt-2');
  if (known === undefined) throw keys.error('pre', 'a pre-tokenizer that is known here', describeValue(pre));
  return {
    normalizer: null,
    pre_tokenizer: hasMerges ? known.json : { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    decoder: { type: 'ByteLevel' },
    byteFallback: false,
    ignoreMerges: known.ignoreMerges,
    addsBos: known.ignoreMerges,
  };
}

/** Merges are pairs with one blank between, but the first token may itself begin with one. */
function splitMerge(merge: string, keys: TokenizerKeys): [string, string] {
  const at = merge.indexOf(' ', 1);
  if (at < 0 || at === merge.length - 1)
    throw keys.error('merges', 'two tokens with a blank between', describeValue(merge));
  return [merge.slice(0, at), merge.slice(at + 1)];
}

function postProcessor(
  keys: TokenizerKeys,
  { addsBos }: Pipeline,
  { bos_token: bos, eos_token: eos }: Record<string, string>,
): object {
  const piece = (name: 'bos' | 'eos', text: string | undefined): object => {
    if (text === undefined) throw keys.error(`${name}_token_id`, 'a token, as it is to be added', 'nothing');
    return { SpecialToken: { id: text, type_id: 0 } };
  };
  const before = addsBos === 'always' || keys.flag('add_bos_token', addsBos) ? [piece('bos', bos)] : [];
  const after = keys.flag('add_eos_token', false) ? [piece('eos', eos)] : [];
  const single = [...before, { Sequence: { id: 'A', type_id: 0 } }, ...after];
  return { type: 'TemplateProcessing', single, pair: single, special_tokens: {} };
}

/** Typed access to the `tokenizer.ggml.` keys of a GGUF file. */
class TokenizerKeys {
  readonly #metadata: Readonly<Record<string, GgufValue | undefined>>;
  readonly #file: string;

  constructor(metadata: Readonly<Record<string, GgufValue | undefined>>, file: string) {
    this.#metadata = metadata;
    this.#file = file;
  }

  string(name: string, absent?: string): string {
    const value = this.#value(name) ?? absent;
    if (typeof value !== 'string') throw this.error(name, 'a text', describeValue(value));
    return value;
  }

  strings(name: string, absent?: string[]): string[] {
    const value = this.#value(name) ?? absent;
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string'))
      throw this.error(name, 'a list of texts', describeValue(value));
    return value as string[];
  }

  /** A list of `length` integers; undefined where absent. */
  integers(name: string, length: number): number[] | undefined {
    const value = this.#value(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length !== length || !value.every(Number.isInteger))
      throw this.error(name, `a list of ${length} integers`, describeValue(value));
    return value as number[];
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.#value(name) ?? absent;
    if (typeof value !== 'boolean') throw this.error(name, 'true or false', describeValue(value));
    return value;
  }

  /** The id under `<name>_token_id`, below `size`; undefined where absent. */
  token(name: string, size: number): number | undefined {
    const value = this.#value(`${name}_token_id`);
    if (value === undefined) return undefined;
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= size)
      throw this.error(`${name}_token_id`, `a token id below ${size}`, describeValue(value));
    return value as number;
  }

  error(name: string, expected: string, got: string): ZayascopeError {
    return new ZayascopeError(
      'BAD_CONFIG',
      `${OP}: expected ${expected} in ${KEY}${name}, got ${got} (${this.#file})`,
      { op: OP, tensor: KEY + name },
    );
  }

  #value(name: string): GgufValue['value'] | undefined {
    return this.#metadata[KEY + name]?.value;
  }
}
