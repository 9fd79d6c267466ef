import { describeValue } from '../../describe-value.js';
import { ZayascopeError } from '../../errors.js';
import { INSTEAD } from './tokenizer-class.js';

const OP = 'openTokenizer';
type Fields = Readonly<Record<string, unknown>>;

/** A tokenizer.json as a class of transformers makes it anew. */
export interface Rebuilt {
  /** With the pipeline of the class, and without added tokens, which the class does not read. */
  json: Record<string, unknown>;
  /** Special tokens of the class where the files name none, by name. */
  specialTexts: Readonly<Record<string, string>>;
  /** Whether the class adds all special tokens once more: with their flags, or without. */
  specialFlags: 'once' | 'again' | 'plain';
}

interface TokenizerClass {
  /** True if tokens are spelled in the letters that stand for bytes. */
  isByteLevel: boolean;
  normalizer: unknown;
  preTokenizer(prefix: boolean, config: Fields): unknown;
  decoder?(prefix: boolean): unknown;
  model: Fields;
  specialTexts: Readonly<Record<string, string>>;
  /** The default of `add_prefix_space`, and of null where the class takes that. */
  prefix: boolean;
  takesNull?: boolean;
  /** As of {@link Rebuilt}. Default `once`. */
  specialFlags?: Rebuilt['specialFlags'];
  /** True if what tokenizer.json puts around a text is not kept. */
  addsNothing?: boolean;
}

const END = '<|endoftext|>';
const BLANK = '\u2581';
const NFC = { type: 'NFC' };
const byteLevel = (prefix: boolean, words: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: words,
});
const pieces = (prefix: boolean) => ({
  type: 'Sequence',
  decoders: [
    { type: 'Replace', pattern: { String: BLANK }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ],
});
const GPT2: TokenizerClass = {
  isByteLevel: true,
  normalizer: null,
  preTokenizer: (prefix) => byteLevel(prefix, true),
  model: {},
  specialTexts: { unk_token: END, bos_token: END, eos_token: END },
  prefix: false,
};
const qwen = (letters: string, others: string): TokenizerClass => ({
  isByteLevel: true,
  normalizer: NFC,
  preTokenizer: (prefix) => ({
    type: 'Sequence',
    pretokenizers: [
      {
        type: 'Split',
        pattern: {
          Regex: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?${letters}|\\p{N}| ?${others}[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
        },
        behavior: 'Isolated',
        invert: false,
      },
      byteLevel(prefix, false),
    ],
  }),
  model: {},
  specialTexts: { unk_token: END, eos_token: END, pad_token: END },
  prefix: false,
  takesNull: true,
});

/** Those of causal language models over byte pairs; what each file `tokenization_*.py` builds. */
const REBUILT: Readonly<Record<string, TokenizerClass>> = {
  LlamaTokenizer: {
    isByteLevel: false,
    normalizer: null,
    preTokenizer: (prefix, { legacy }) => ({
      type: 'Metaspace',
      replacement: BLANK,
      prepend_scheme: prefix ? (legacy === true ? 'always' : 'first') : 'never',
      split: false,
    }),
    decoder: pieces,
    model: { fuse_unk: true, byte_fallback: true },
    specialTexts: { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' },
    prefix: true,
    takesNull: true,
  },
  GemmaTokenizer: {
    isByteLevel: false,
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: BLANK },
    preTokenizer: () => ({
      type: 'Split',
      pattern: { String: ' ' },
      behavior: 'MergedWithPrevious',
      invert: false,
    }),
    decoder: () => pieces(false),
    model: { fuse_unk: true, byte_fallback: true, unk_token: '<unk>' },
    specialTexts: {
      unk_token: '<unk>',
      bos_token: '<bos>',
      eos_token: '<eos>',
      pad_token: '<pad>',
      mask_token: '<mask>',
    },
    prefix: false,
    takesNull: true,
  },
  Qwen2Tokenizer: { ...qwen('\\p{L}+', '[^\\s\\p{L}\\p{N}]+'), specialFlags: 'plain' },
  Qwen3_5Tokenizer: qwen('[\\p{L}\\p{M}]+', '[^\\s\\p{L}\\p{M}\\p{N}]+'),
  GPT2Tokenizer: GPT2,
  CodeGenTokenizer: GPT2,
  GPTNeoXTokenizer: {
    ...GPT2,
    normalizer: NFC,
    specialTexts: { ...GPT2.specialTexts, pad_token: '<|padding|>' },
    addsNothing: true,
  },
  CohereTokenizer: {
    ...GPT2,
    normalizer: NFC,
    preTokenizer: (prefix) => ({
      type: 'Sequence',
      pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(prefix, true)],
    }),
    specialFlags: 'again',
    specialTexts: {
      unk_token: '<UNK>',
      bos_token: '<BOS_TOKEN>',
      eos_token: '<|END_OF_TURN_TOKEN|>',
      pad_token: '<PAD>',
      cls_token: '<CLS>',
      sep_token: '<SEP>',
      mask_token: '<MASK_TOKEN>',
    },
  },
};

/**
 * What a class of transformers makes of a tokenizer.json, of which it keeps the vocabulary, the merges and
 * what is put around a text.
 *
 * @param name the class, without `Fast`.
 * @param config the object in tokenizer_config.json.
 * @throws `BAD_CONFIG` for a class whose pipeline is not known here, and for one that spells its tokens in
 * other letters than tokenizer.json, so that transformers' ids mean nothing.
 */
export function rebuiltTokenizer(name: string, json: Fields, config: Fields, source: string): Rebuilt {
  const found = Object.hasOwn(REBUILT, name) ? REBUILT[name]! : undefined;
  const whose = typeof config.tokenizer_class === 'string' ? name : `${name} (that of the model type)`;
  if (found === undefined)
    throw bad(
      `a tokenizer class among ${[...Object.keys(REBUILT), 'PreTrainedTokenizerFast'].join(', ')}`,
      `${whose}, which in transformers builds a pipeline of its own instead of that of tokenizer.json; ${INSTEAD}`,
      source,
    );
  const isByteLevel = hasByteLevel(json.pre_tokenizer) || hasByteLevel(json.normalizer);
  if (found.isByteLevel !== isByteLevel)
    throw bad(
      `a tokenizer.json ${found.isByteLevel ? 'of byte-level BPE' : `with ${BLANK} for blanks`}, which tokenizer class ${whose} builds whatever the file says`,
      `one ${isByteLevel ? 'of byte-level BPE' : 'of another kind'}: ids of transformers and of tokenizer.json differ (PreTrainedTokenizerFast as tokenizer_class takes the file as it is); ${INSTEAD}`,
      source,
    );
  const given = config.add_prefix_space ?? null;
  const isOdd = (value: unknown): boolean =>
    value !== null && value !== undefined && typeof value !== 'boolean';
  if (isOdd(given) || (config.add_prefix_space === null && found.takesNull !== true))
    throw bad(`true or false as add_prefix_space of ${name}`, describeValue(given), source);
  if (isOdd(config.legacy))
    throw bad(`true or false as legacy of ${name}`, describeValue(config.legacy), source);
  const prefix = given === null ? found.prefix : given === true;
  const { vocab, merges } = json.model as Fields;
  return {
    json: {
      ...json,
      added_tokens: [],
      normalizer: found.normalizer,
      pre_tokenizer: found.preTokenizer(prefix, config),
      decoder: found.decoder?.(prefix) ?? byteLevel(true, true),
      ...(found.addsNothing ? { post_processor: null } : undefined),
      model: { type: 'BPE', ...unknownToken(found, config), vocab, merges },
    },
    specialTexts: found.specialTexts,
    specialFlags: found.specialFlags ?? 'once',
  };
}

/** Gemma's model knows the unknown token that the files name. */
function unknownToken({ model }: TokenizerClass, config: Fields): Fields {
  if (model.unk_token === undefined || config.unk_token === undefined) return model;
  const value = config.unk_token as { content?: unknown } | string | null;
  return { ...model, unk_token: typeof value === 'object' ? (value?.content ?? null) : value };
}

function hasByteLevel(step: unknown): boolean {
  if (typeof step !== 'object' || step === null) return false;
  if (Array.isArray(step)) return step.some(hasByteLevel);
  const { type, pretokenizers, normalizers } = step as Fields;
  return type === 'ByteLevel' || hasByteLevel(pretokenizers) || hasByteLevel(normalizers);
}

function bad(expected: string, got: string, source: string): ZayascopeError {
  return new ZayascopeError('BAD_CONFIG', `${OP}: expected ${expected}, got ${got} (${source})`, {
    op: OP,
    tensor: source,
  });
}
