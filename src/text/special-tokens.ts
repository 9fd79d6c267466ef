import { ZayascopeError } from '../errors.js';
import { describeValue } from '../weights/describe-value.js';
import { addedToken, readTokens } from './added-tokens.js';

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
 * @returns tokenizer.json with all added tokens, and the texts of special tokens by name.
 * @throws `BAD_CONFIG` naming the file for what is malformed.
 */
export function withSpecialTokens(
  json: Record<string, unknown>,
  { config = {}, specialMap, addedMap }: TokenizerConfigs,
  source: string,
): { json: Record<string, unknown>; specialTexts: Record<string, string> } {
  const { added } = readTokens(json, source);
  const decoder = config.added_tokens_decoder;
  const isLegacy = decoder === undefined;
  const merged = { ...config, ...(isLegacy ? specialMap : undefined) };
  const waiting: { token: ReturnType<typeof addedToken>; order: number }[] = [];
  if (!isLegacy) {
    for (const [id, value] of entries(decoder, 'added_tokens_decoder', source))
      waiting.push({ token: addedToken(value, source), order: Number(id) });
  } else if (addedMap !== undefined)
    for (const [content, id] of entries(addedMap, 'added_tokens.json', source))
      waiting.push({ token: addedToken({ content, normalized: true }, source), order: Number(id) });
  const specialTexts: Record<string, string> = {};
  for (const [name, value] of Object.entries(merged)) {
    if (!name.endsWith('_token') || value === null || value === undefined) continue;
    if (typeof value === 'boolean' && !NAMED.includes(name)) continue; // add_bos_token and the like
    const token = addedToken(value, source, true);
    specialTexts[name] = token.content;
  }
  waiting.sort((a, b) => a.order - b.order);
  for (const { token } of waiting) added.add(token);
  for (const name of NAMED)
    if (specialTexts[name] !== undefined) added.add(addedToken(merged[name], source, true));
  const more = merged.extra_special_tokens ?? merged.additional_special_tokens;
  if (Array.isArray(more)) for (const value of more) added.add(addedToken(value, source, true));
  return { json: { ...json, added_tokens: added.list }, specialTexts };
}

function entries(value: unknown, name: string, source: string): [string, unknown][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw new ZayascopeError(
    'BAD_CONFIG',
    `${OP}: expected tokens by id in ${name}, got ${describeValue(value)} (${source})`,
    { op: OP, tensor: source },
  );
}
