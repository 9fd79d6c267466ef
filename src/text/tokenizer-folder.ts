import { join } from 'node:path';
import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';
import { pathExists } from '../regular-file.js';
import { readSmallFile } from '../weights/file-access.js';
import { parseJsonObject } from '../weights/json-object.js';
import { rebuiltTokenizer } from './classes/rebuilt.js';
import { INSTEAD, tokenizerClass } from './classes/tokenizer-class.js';
import { jsonTokenizer, type TokenizerDefinition } from './json-tokenizer.js';
import { withSpecialTokens } from './special-tokens.js';
import type { TextTokenizer } from './tokenizer.js';
import { checkTokenizerJson } from './tokenizer-schema.js';

const OP = 'openTokenizer';
/** ZAYA1's is 33 MB. */
const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024;
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * The tokenizer of a transformers folder. The chat template is `chat_template.jinja`, or else `chat_template`
 * of `tokenizer_config.json` (of several named ones `default`), the same order of preference as transformers.
 *
 * @throws `IO` when a file cannot be read, `BAD_CONFIG` naming the file that is malformed.
 */
export async function readTokenizerFolder(folder: string): Promise<TextTokenizer> {
  return jsonTokenizer(await readTokenizerDefinition(folder));
}

/** What makes the tokenizer of a transformers folder. Throws as {@link readTokenizerFolder}. */
export async function readTokenizerDefinition(folder: string): Promise<TokenizerDefinition> {
  const source = join(folder, 'tokenizer.json');
  const configFile = join(folder, 'tokenizer_config.json');
  const templateFile = join(folder, 'chat_template.jinja');
  const json = await readObject(source, MAX_TOKENIZER_BYTES, true);
  checkTokenizerJson(json, source);
  const optional = async (name: string) => {
    const file = join(folder, name);
    return (await pathExists(file)) ? readObject(file, MAX_CONFIG_BYTES) : undefined;
  };
  const config = await optional('tokenizer_config.json');
  const chatTemplate = (await pathExists(templateFile))
    ? templateText(await readSmallFile(OP, templateFile, MAX_CONFIG_BYTES), templateFile)
    : configTemplate(config?.chat_template, configFile);
  const specialMap = await optional('special_tokens_map.json');
  const addedMap = await optional('added_tokens.json');
  checkSettings(config ?? {}, source);
  const name = tokenizerClass(config ?? {}, (await optional('config.json')) ?? {}, source);
  const named = { ...config, ...(config?.added_tokens_decoder === undefined ? specialMap : undefined) };
  const rebuilt = name === undefined ? undefined : rebuiltTokenizer(name, json, named, source);
  const complete = withSpecialTokens(json, { config, specialMap, addedMap }, source, rebuilt);
  return { ...complete, chatTemplate, source };
}

/** Settings of tokenizer_config.json that change ids in transformers and are not honoured here. */
function checkSettings(config: Record<string, unknown>, source: string): void {
  const refuse = (expected: string, got: string): never => {
    throw new ZayascopeError(
      'BAD_CONFIG',
      `${OP}: expected ${expected}, got ${got}; ${INSTEAD} (${source})`,
      {
        op: OP,
        tensor: source,
      },
    );
  };
  for (const name of ['split_special_tokens', 'fix_mistral_regex'])
    if ((config[name] ?? false) !== false)
      refuse(`no ${name} in tokenizer_config.json, which is not supported`, describeValue(config[name]));
  const { fast_tokenizer_files: files } = config;
  const others = Array.isArray(files) ? files.filter((file) => file !== 'tokenizer.json') : [];
  if (others.length > 0)
    refuse('tokenizer.json alone', `others for some versions of transformers: ${describeValue(others[0])}`);
}

/** A byte-order mark is part of the text, as in Python. */
function templateText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new ZayascopeError('BAD_CONFIG', `${OP}: expected text in UTF-8, got other bytes (${file})`, {
      op: OP,
      tensor: file,
      cause,
    });
  }
}

async function readObject(file: string, maxBytes: number, plain = false): Promise<Record<string, unknown>> {
  const bytes = await readSmallFile(OP, file, maxBytes);
  return parseJsonObject(bytes, { code: 'BAD_CONFIG', op: OP, where: file, plain });
}

function configTemplate(value: unknown, file: string): string | undefined {
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  const named = Array.isArray(value) ? (value as { name?: unknown; template?: unknown }[]) : [];
  const template = Array.isArray(value)
    ? named.findLast((each) => each?.name === 'default')?.template
    : (value as { default?: unknown }).default;
  if (typeof template === 'string') return template;
  throw new ZayascopeError(
    'BAD_CONFIG',
    `${OP}: expected chat_template to be a text, or named texts with a default, got ${describeValue(value)} (${file})`,
    { op: OP, tensor: file },
  );
}
