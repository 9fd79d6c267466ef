/**
 * How a text is cut into words before its bytes are merged, as tokenizer.json says it and by the names that
 * llama.cpp has for it.
 */

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const PUNCTUATION = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*';
/** Llama 3's words; the others of its family differ in how many digits stand together. */
const words = (digits: string): string =>
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}|${PUNCTUATION}|${BLANKS}`;

const split = (pattern: string): object => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});
const DIGITS = { type: 'Digits', individual_digits: true };

interface Known {
  /** `tokenizer.ggml.pre`. */
  name: string;
  /** What stands before `ByteLevel` in tokenizer.json. */
  before: readonly object[];
  /** `use_regex` of `ByteLevel`: GPT-2's words. */
  gpt2: boolean;
  /** llama.cpp takes words of the vocabulary whole. */
  ignoreMerges: boolean;
  /** Other names for the same. */
  aliases?: readonly string[];
}

/**
 * Only those that llama.cpp does as the original says: its forms of gpt-4o, tekken and a few more are
 * approximations that cut some texts otherwise, so a tokenizer with their patterns has no name here.
 */
const KNOWN: readonly Known[] = [
  { name: 'gpt-2', before: [], gpt2: true, ignoreMerges: false, aliases: ['phi-2', 'mpt', 'olmo'] },
  {
    name: 'llama-bpe',
    before: [split(words('\\p{N}{1,3}'))],
    gpt2: false,
    ignoreMerges: true,
    aliases: ['llama3', 'llama-v3'],
  },
  {
    name: 'smaug-bpe',
    before: [split(words('\\p{N}{1,3}'))],
    gpt2: false,
    ignoreMerges: false,
    aliases: ['dbrx'],
  },
  {
    name: 'qwen2',
    before: [split(words('\\p{N}'))],
    gpt2: false,
    ignoreMerges: false,
    aliases: ['deepseek-r1-qwen'],
  },
  {
    name: 'qwen35',
    before: [
      split(
        `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`,
      ),
    ],
    gpt2: false,
    ignoreMerges: false,
  },
  {
    name: 'deepseek-v3',
    before: [
      split('\\p{N}{1,3}'),
      split('[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+'),
      split(
        `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+`,
      ),
    ],
    gpt2: false,
    ignoreMerges: false,
  },
  {
    name: 'smollm',
    before: [DIGITS],
    gpt2: true,
    ignoreMerges: false,
    aliases: ['starcoder', 'command-r'],
  },
];

/** The words behind a name; undefined for one that is not known here. */
export function preTokenizer(name: string): { json: object; ignoreMerges: boolean } | undefined {
  const known = KNOWN.find((each) => each.name === name || each.aliases?.includes(name));
  if (known === undefined) return undefined;
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: known.gpt2 };
  const json =
    known.before.length === 0 ? bytes : { type: 'Sequence', pretokenizers: [...known.before, bytes] };
  return { json, ignoreMerges: known.ignoreMerges };
}

/** The name of `pre_tokenizer` of a tokenizer.json; undefined where llama.cpp has none that does the same. */
export function preTokenizerName(json: unknown, ignoreMerges: boolean): string | undefined {
  const parts = flat(json);
  const bytes = parts.pop();
  if (bytes?.type !== 'ByteLevel' || bytes.add_prefix_space === true) return undefined;
  const wanted = JSON.stringify([parts.map(essence), bytes.use_regex !== false]);
  return KNOWN.find(
    (each) =>
      JSON.stringify([each.before.map((part) => essence(part as Part)), each.gpt2]) === wanted &&
      each.ignoreMerges === ignoreMerges,
  )?.name;
}

type Part = Record<string, unknown>;

/** The steps of a pre-tokenizer, sequences opened. */
export function flat(json: unknown): Part[] {
  if (typeof json !== 'object' || json === null) return [];
  const part = json as Part;
  return part.type === 'Sequence' && Array.isArray(part.pretokenizers)
    ? part.pretokenizers.flatMap(flat)
    : [part];
}

/** What tells one step from another: files name their fields in any order, and leave defaults out. */
function essence(part: Part): unknown[] {
  if (part.type === 'Split') {
    const regex = (part.pattern as { Regex?: unknown } | undefined)?.Regex;
    // A line end may stand in a pattern as itself or escaped.
    const text = typeof regex === 'string' ? regex.replaceAll('\r', '\\r').replaceAll('\n', '\\n') : null;
    return ['Split', text, part.behavior, part.invert === true];
  }
  if (part.type === 'Digits') return ['Digits', part.individual_digits === true];
  return [JSON.stringify(part)];
}
