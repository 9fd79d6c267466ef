import { describeValue } from '../../describe-value.js';
import { ZayascopeError } from '../../errors.js';
import { byteAlphabet } from '../pipeline/byte-letters.js';
import { mergedScores } from './merged-scores.js';
import { flat, preTokenizerName } from './pre-tokenizers.js';

const OP = 'convertTokenizer';
/** What `LlamaHfVocab` of llama.cpp gives every token: BPE ranks merges and reads no scores. */
const SCORE = -1000;
const BLANK = '\u2581';

/** The parts of a tokenizer.json that decide which of llama.cpp's tokenizers is the same. */
export interface BpeDefinition {
  normalizer: unknown;
  preTokenizer: unknown;
  /** By id; undefined for an id without a token. */
  tokens: readonly (string | undefined)[];
  /** Tokens of the vocabulary, added ones left out. */
  vocabulary: ReadonlyMap<string, number>;
  merges: readonly (readonly [string, string])[];
  byteFallback: boolean;
  ignoreMerges: boolean;
  hasUnknown: boolean;
  /** Whether a token is put before each text. */
  addsBos: boolean;
  file: string;
}

/** One of llama.cpp's tokenizers. */
export interface TokenizerKind {
  model: 'gpt2' | 'gemma4' | 'llama';
  pre: string;
  addSpacePrefix: boolean;
  /** By id. */
  scores: number[];
}

/**
 * The tokenizer of llama.cpp that gives the same ids: `gpt2` (bytes as letters, words by one of the
 * pre-tokenizers that llama.cpp has a name for), `gemma4` (U+2581 for blanks, byte fallback, always preceded
 * by bos; ZAYA1's own) or `llama` (SentencePiece: U+2581 for blanks, pairs joined by the score of what they
 * make).
 *
 * @throws `BAD_CHECKPOINT` naming what llama.cpp has no form for.
 */
export function tokenizerKind(bpe: BpeDefinition): TokenizerKind {
  const same = bpe.tokens.map(() => SCORE);
  if (flat(bpe.preTokenizer).some(({ type }) => type === 'ByteLevel'))
    return { model: 'gpt2', pre: wordsOf(bpe), addSpacePrefix: false, scores: same };
  const prefix = blankNormalizer(bpe.normalizer);
  if (!bpe.byteFallback || prefix === undefined || !keepsTextWhole(bpe.preTokenizer))
    throw refused(
      'byte-level BPE, or BPE with \u2581 for blanks and byte fallback',
      describeKind(bpe),
      bpe.file,
    );
  checkBytes(bpe);
  if (bpe.ignoreMerges)
    throw refused('a tokenizer that llama.cpp has a form for', 'ignore_merges over \u2581', bpe.file);
  const joined = bpe.merges.find((pair) => /\n/.test(pair.join('')) && /[^\n]/.test(pair.join('')));
  if (!prefix && bpe.addsBos && joined === undefined)
    return { model: 'gemma4', pre: 'gemma4', addSpacePrefix: false, scores: same };
  const scores = mergedScores(bpe);
  if (typeof scores === 'string')
    throw refused(
      prefix
        ? 'merges that are those of a SentencePiece vocabulary (llama.cpp joins any two tokens that make a third)'
        : 'a token before each text and no merge of a line end with anything else, or merges that are those of a SentencePiece vocabulary',
      scores,
      bpe.file,
    );
  return { model: 'llama', pre: 'default', addSpacePrefix: prefix, scores };
}

/** The name of the words of byte-level BPE. Without merges words make no difference. */
function wordsOf(bpe: BpeDefinition): string {
  const { normalizer, preTokenizer, merges, ignoreMerges, vocabulary, file } = bpe;
  const spelled = normalizer === undefined || normalizer === null ? [] : steps(normalizer);
  if (spelled.length > 0)
    throw refused(
      'byte-level BPE without a normalizer, for which llama.cpp has no key',
      String(spelled[0]?.type),
      file,
    );
  if (flat(preTokenizer).some(({ add_prefix_space: adds }) => adds === true))
    throw refused('ByteLevel without add_prefix_space, which llama.cpp has no key for', 'true', file);
  const isPlain = merges.length === 0 && !(ignoreMerges && [...vocabulary.keys()].some(hasLetters));
  const name = isPlain ? 'default' : preTokenizerName(preTokenizer, ignoreMerges);
  if (name === undefined)
    throw refused(
      'a pre-tokenizer that llama.cpp has a name for',
      `${describeSteps(preTokenizer)}${ignoreMerges ? ' with ignore_merges' : ''}`,
      file,
    );
  const lost = bpe.hasUnknown ? byteAlphabet().find((letter) => !vocabulary.has(letter)) : undefined;
  if (lost !== undefined)
    throw refused(
      'a token for each byte beside an unknown token',
      `none for ${describeValue(lost)} (llama.cpp drops such bytes)`,
      file,
    );
  return name;
}

function hasLetters(token: string): boolean {
  return [...token].length > 1;
}

/**
 * Whether blanks become U+2581 and nothing else happens: true with one put before each text, false without,
 * undefined for another normalizer.
 */
function blankNormalizer(normalizer: unknown): boolean | undefined {
  const [first, second, third] = steps(normalizer);
  const replaces = (step: Step | undefined) =>
    step?.type === 'Replace' &&
    (step.pattern as { String?: unknown } | undefined)?.String === ' ' &&
    step.content === BLANK;
  if (replaces(first) && second === undefined) return false;
  if (first?.type === 'Prepend' && first.prepend === BLANK && replaces(second) && third === undefined)
    return true;
  return undefined;
}

type Step = Record<string, unknown>;

function steps(normalizer: unknown): Step[] {
  if (typeof normalizer !== 'object' || normalizer === null) return [];
  const step = normalizer as Step;
  return step.type === 'Sequence' && Array.isArray(step.normalizers)
    ? step.normalizers.flatMap(steps)
    : [step];
}

/** No pre-tokenizer, or one that looks for blanks where the normalizer has left none. */
function keepsTextWhole(preTokenizer: unknown): boolean {
  return flat(preTokenizer).every(
    ({ type, pattern, invert }) =>
      type === 'Split' && (pattern as { String?: unknown } | undefined)?.String === ' ' && invert !== true,
  );
}

function checkBytes({ vocabulary, file }: BpeDefinition): void {
  for (let byte = 0; byte < 256; byte++) {
    const token = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
    if (!vocabulary.has(token)) throw refused('a token for each of 256 bytes', `none for ${token}`, file);
  }
}

function describeKind({ normalizer, preTokenizer, byteFallback }: BpeDefinition): string {
  const named = steps(normalizer).map(({ type }) => String(type));
  return `normalizer ${named.join(', ') || 'none'}, pre-tokenizer ${describeSteps(preTokenizer)}, ${byteFallback ? 'with' : 'without'} byte fallback`;
}

function describeSteps(preTokenizer: unknown): string {
  const named = flat(preTokenizer).map(({ type, pattern }) => {
    const regex = (pattern as { Regex?: unknown; String?: unknown } | undefined) ?? {};
    return `${String(type)}${pattern === undefined ? '' : ` ${describeValue(regex.Regex ?? regex.String)}`}`;
  });
  return named.join(', ') || 'none';
}

/** The error of a tokenizer that has no form in a GGUF file. */
export function refused(expected: string, got: string, file: string): ZayascopeError {
  return new ZayascopeError('BAD_CHECKPOINT', `${OP}: expected ${expected}, got ${got} (${file})`, {
    op: OP,
    tensor: file,
  });
}
