import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';
import { addedToken, readTokens } from './added-tokens.js';
import type { Rebuilt } from './classes/rebuilt.js';

const OP = 'openTokenizer';
/**
 * transformers' named special tokens. Other `..._token` entries are known to templates too, under their
 * names.
 */
const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/** What the files beside tokenizer.json say, each undefined where it is absent. */
export interface TokenizerConfigs {
  /** `tokenizer_config.json`. */
  config: Record<string, unknown> | undefined;
  /** `special_tokens_map.json`. */
  specialMap: Record<string, unknown> | undefined;
  /** `added_tokens.json`. */
  addedMap: Record<string, unknown> | undefined;
}

/**
 * Applies the files beside a tokenizer.json to it as transformers does: `added_tokens_decoder` of the config
 * is what is added; without one, `special_tokens_map.json` goes before the config and `added_tokens.json` is
 * added. Special tokens that the vocabulary lacks are added last.
 *
 * @param rebuilt what a class makes of tokenizer.json; it takes the added tokens from the files beside it,
 * and those of tokenizer.json only where the config has no `added_tokens_decoder`.
 * @returns tokenizer.json with all added tokens, and the texts of special tokens by name.
 * @throws `BAD_CONFIG` naming the file for what is malformed.
 */
export function withSpecialTokens(
  json: Record<string, unknown>,
  { config = {}, specialMap, addedMap }: TokenizerConfigs,
  source: string,
  rebuilt?: Rebuilt,
): { json: Record<string, unknown>; specialTexts: Record<string, string> } {
  const { added: own } = readTokens(json, source);
  const { added } = rebuilt === undefined ? { added: own } : readTokens(rebuilt.json, source);
  const decoder = config.added_tokens_decoder;
  const map = decoder === undefined ? specialMap : undefined;
  const merged = { ...rebuilt?.specialTexts, ...config, ...map };
  const special = [
    ...namedTokens(merged, config, map, source),
    ...extraTokens(merged.extra_special_tokens, config.additional_special_tokens, source),
  ];
  const waiting: { token: NewToken; order: number }[] = [];
  if (decoder !== undefined) {
    for (const [id, value] of entries(decoder, 'added_tokens_decoder', source))
      waiting.push({ token: addedToken(value, source), order: Number(id) });
  } else {
    const names = namesOfAddedFile(special, merged.extra_special_tokens);
    for (const [content, id] of entries(addedMap ?? {}, 'added_tokens.json', source)) {
      const isSpecial = names.has(content);
      const token = addedToken({ content, normalized: !isSpecial, special: isSpecial }, source);
      waiting.push({ token, order: Number(id) });
    }
    for (const { id, ...token } of own.list) waiting.push({ token, order: id });
  }
  waiting.sort((x, y) => x.order - y.order);
  const isKnown = new Set(
    [...added.list, ...waiting.map(({ token }) => token)].map(({ content }) => content),
  );
  for (const { token } of waiting) added.add(token);
  // The last flags of a token hold, but what was asked for already is not asked for again.
  const asked = new Set<string>();
  for (const { token, isText } of special) {
    const key = JSON.stringify([isText, token]);
    if (!isKnown.has(token.content) && !asked.has(key)) added.add(token);
    asked.add(key);
  }
  const listed = new Map(waiting.map(({ token }) => [token.content, token]));
  if (rebuilt?.specialFlags === 'again')
    for (const { name, token } of special)
      added.add((NAMED.includes(name) ? listed.get(token.content) : undefined) ?? token);
  if (rebuilt?.specialFlags === 'plain')
    for (const { token } of special) added.add(addedToken(token.content, source, true));
  const texts = special.filter(({ name }) => name !== '').map(({ name, token }) => [name, token.content]);
  return {
    json: { ...(rebuilt?.json ?? json), added_tokens: added.list },
    specialTexts: Object.fromEntries(texts),
  };
}

type NewToken = ReturnType<typeof addedToken>;

/** A special token as files give it. */
interface SpecialToken {
  /** Empty for one without a name. */
  name: string;
  token: NewToken;
  /** Given by its text alone, not with flags. */
  isText: boolean;
  /** Given with flags by the config, which marks such tokens. */
  isMarked: boolean;
}

/**
 * Special tokens by name, in the order in which transformers adds them: its own names, then the model's
 * (`image_token`): those of `special_tokens_map.json` before those of the config.
 */
function namedTokens(
  merged: Record<string, unknown>,
  config: Record<string, unknown>,
  map: Record<string, unknown> | undefined,
  source: string,
): SpecialToken[] {
  const values: Record<string, unknown> = {};
  for (const name of NAMED) values[name] = merged[name];
  const isModels = (name: string) => name.endsWith('_token') && !NAMED.includes(name);
  const take = (from: Record<string, unknown>, takes: (value: unknown) => boolean): void => {
    for (const [name, value] of Object.entries(from))
      if (isModels(name) && takes(value)) values[name] = value;
  };
  take(config, isMarked);
  // add_bos_token and the like are no tokens.
  take(map ?? {}, (value) => typeof value === 'string' || (typeof value === 'object' && value !== null));
  take(config, (value) => typeof value === 'string');
  for (const { extra_special_tokens: extra } of [config, map ?? {}])
    if (typeof extra === 'object' && extra !== null && !Array.isArray(extra)) Object.assign(values, extra);
  return Object.entries(values)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => specialToken(name, value, source));
}

/** Special tokens without a name; an empty list, or tokens by name, are as none. */
function extraTokens(extra: unknown, additional: unknown, source: string): SpecialToken[] {
  const more = Array.isArray(extra) && extra.length > 0 ? extra : additional;
  return Array.isArray(more) ? more.map((value) => specialToken('', value, source)) : [];
}

/** Tokens that added_tokens.json holds as special ones: as transformers knows them before it reads flags. */
function namesOfAddedFile(special: readonly SpecialToken[], extra: unknown): Set<string> {
  const hasNames = typeof extra === 'object' && extra !== null && !Array.isArray(extra);
  const known = special.filter(
    ({ name, isMarked }) => !isMarked && (NAMED.includes(name) || (name === '' && !hasNames)),
  );
  return new Set(known.map(({ token }) => token.content));
}

function specialToken(name: string, value: unknown, source: string): SpecialToken {
  const marked = isMarked(value);
  // What is marked keeps its flags, whatever it is used as.
  const token = marked ? { ...addedToken(value, source), special: true } : addedToken(value, source, true);
  return { name, token, isText: typeof value === 'string', isMarked: marked };
}

function isMarked(value: unknown): boolean {
  return (value as { __type?: unknown } | null | undefined)?.__type === 'AddedToken';
}

function entries(value: unknown, name: string, source: string): [string, unknown][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw new ZayascopeError(
    'BAD_CONFIG',
    `${OP}: expected tokens by id in ${name}, got ${describeValue(value)} (${source})`,
    { op: OP, tensor: source },
  );
}
