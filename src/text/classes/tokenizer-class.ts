import { describeValue } from '../../describe-value.js';
import { ZayascopeError } from '../../errors.js';
import { CLASSES, registeredClass, WRONGLY_NAMED } from './auto-tokenizer.js';

const OP = 'openTokenizer';
type Fields = Readonly<Record<string, unknown>>;

/**
 * The tokenizer class that AutoTokenizer of transformers takes for a folder, without `Fast`: the one that
 * tokenizer_config.json or config.json names, or the one registered for the model type. Most classes build a
 * pipeline of their own from the vocabulary of tokenizer.json.
 *
 * @param config the object in tokenizer_config.json.
 * @param model the object in config.json.
 * @returns undefined where tokenizer.json is taken as it is.
 * @throws `BAD_CONFIG` for what transformers refuses too, and for a tokenizer that is code in the folder.
 */
export function tokenizerClass(config: Fields, model: Fields, source: string): string | undefined {
  const own = className(config.tokenizer_class, 'tokenizer_config.json', source);
  const ofModel = className(model.tokenizer_class, 'config.json', source);
  const type = typeof model.model_type === 'string' ? model.model_type : '';
  const registered = registeredClass(type);
  const { auto_map: map = null } = config;
  if (map !== null && typeof map !== 'object')
    throw bad('an object as auto_map in tokenizer_config.json', describeValue(map), source);
  const code = codeOf(map);
  const isWrong = [type, model.model_name].some((name) => WRONGLY_NAMED.has(name as string));
  const named = own || ofModel;
  if (code === undefined && named !== undefined && registered !== undefined && registered !== named)
    return registered === PLAIN ? undefined : known(isWrong ? registered : named);
  const isLocal = registered !== undefined || (own !== undefined && isKnown(own));
  if (code !== undefined && !isLocal && !WRONGLY_NAMED.has(type))
    throw bad(
      'a tokenizer that no code in the folder makes',
      `auto_map with ${describeValue(code)}, which transformers runs; ${INSTEAD}`,
      source,
    );
  if (own !== undefined) return known(own);
  if (ofModel !== undefined && ofModel !== '') {
    if (isKnown(ofModel)) return known(ofModel);
    throw bad('a tokenizer_class in config.json that transformers has', describeValue(ofModel), source);
  }
  return registered === undefined ? undefined : known(registered);
}

/** What a user may do where text has no certain ids. */
export const INSTEAD = 'give ids with --tokens or --tokens-file instead of text';

const PLAIN = 'TokenizersBackend';
const PLAIN_NAMES = [PLAIN, 'PreTrainedTokenizer', 'BloomTokenizer'];

function isKnown(name: string): boolean {
  return CLASSES.has(name) || PLAIN_NAMES.includes(name);
}

/** A class that transformers does not have is as if tokenizer.json stood alone. */
function known(name: string): string | undefined {
  return CLASSES.has(name) ? name : undefined;
}

function className(value: unknown, file: string, source: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value.replace(/Fast$/, '');
  throw bad(`a text as tokenizer_class in ${file}`, describeValue(value), source);
}

/** The code that `auto_map` names, the fast one first, as transformers prefers it. */
function codeOf(map: unknown): unknown {
  const entry = Array.isArray(map) ? map : (map as { AutoTokenizer?: unknown } | null)?.AutoTokenizer;
  return (Array.isArray(entry) ? (entry[1] ?? entry[0]) : entry) ?? undefined;
}

function bad(expected: string, got: string, source: string): ZayascopeError {
  return new ZayascopeError('BAD_CONFIG', `${OP}: expected ${expected}, got ${got} (${source})`, {
    op: OP,
    tensor: source,
  });
}
