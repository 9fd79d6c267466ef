import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZayascopeError } from '../errors.js';
import { describeValue } from '../weights/describe-value.js';
import { readSmallFile } from '../weights/file-access.js';
import { parseJsonObject } from '../weights/json-object.js';
import { libraryTokenizer } from './library-tokenizer.js';
import type { TextTokenizer } from './tokenizer.js';

const OP = 'openTokenizer';
/** ZAYA1's is 33 MB. */
const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024;
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * The tokenizer of a transformers folder. The chat template is `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json` (of
 * several named ones `default`), the same order of preference as transformers.
 *
 * @throws `IO` when a file cannot be read, `BAD_CONFIG` naming the file that is malformed.
 */
export async function readTokenizerFolder(folder: string): Promise<TextTokenizer> {
  const source = join(folder, 'tokenizer.json');
  const configFile = join(folder, 'tokenizer_config.json');
  const templateFile = join(folder, 'chat_template.jinja');
  const json = await readObject(source, MAX_TOKENIZER_BYTES);
  const config = (await exists(configFile)) ? await readObject(configFile, MAX_CONFIG_BYTES) : {};
  const chatTemplate = (await exists(templateFile))
    ? new TextDecoder().decode(await readSmallFile(OP, templateFile, MAX_CONFIG_BYTES))
    : configTemplate(config.chat_template, configFile);
  return libraryTokenizer({ json, config, specialTexts: specialTexts(config), chatTemplate, source });
}

async function readObject(file: string, maxBytes: number): Promise<Record<string, unknown>> {
  const bytes = await readSmallFile(OP, file, maxBytes);
  return parseJsonObject(bytes, { code: 'BAD_CONFIG', op: OP, where: file });
}

/** `bos_token` and the like, which are texts or objects with one as `content`. */
function specialTexts(config: Record<string, unknown>): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    if (!key.endsWith('_token')) continue;
    const text =
      typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value;
    if (typeof text === 'string') texts[key] = text;
  }
  return texts;
}

function configTemplate(value: unknown, file: string): string | undefined {
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  const named = Array.isArray(value) ? (value as { name?: unknown; template?: unknown }[]) : [];
  const template = named.find((each) => each?.name === 'default')?.template;
  if (typeof template === 'string') return template;
  throw new ZayascopeError(
    'BAD_CONFIG',
    `${OP}: expected chat_template to be a text, or named texts with a default, got ${describeValue(value)} (${file})`,
    { op: OP, tensor: file },
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
