import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';
import type { GgufValue } from '../native.js';
import { readSmallFile } from '../weights/file-access.js';
import { parseJsonObject } from '../weights/json-object.js';

const OP = 'stopTokens';
const MAX_CONFIG_BYTES = 1024 * 1024;

/** Where a model says which tokens end a generation, e.g. a `ModelSource`. */
export interface StopTokenSource {
  /** Model folder; not read where there is metadata. */
  readonly path: string;
  readonly config: { readonly eos_token_id: number | readonly number[] | null };
  /** Of a GGUF file. */
  readonly metadata: Readonly<Record<string, GgufValue | undefined>> | undefined;
}

/** The tokens that end a generation of a model in any layout. Throws as {@link folderStopTokens}. */
export async function stopTokens({ path, config, metadata }: StopTokenSource): Promise<Set<number>> {
  if (metadata !== undefined) return ggufStopTokens(metadata);
  return folderStopTokens(path, config.eos_token_id);
}

/**
 * The tokens that end a generation: `eos_token_id` (one or a list) of `generation_config.json`, or else of
 * the config, as in transformers.
 *
 * @param folder of the model. @param configured `eos_token_id` of its config. @throws `IO`, `BAD_CONFIG` for
 * `generation_config.json`.
 */
export async function folderStopTokens(
  folder: string,
  configured: number | readonly number[] | null,
): Promise<Set<number>> {
  const file = join(folder, 'generation_config.json');
  const fromConfig = new Set([configured ?? []].flat());
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) return fromConfig;
  const bytes = await readSmallFile(OP, file, MAX_CONFIG_BYTES);
  const { eos_token_id: value } = parseJsonObject(bytes, { code: 'BAD_CONFIG', op: OP, where: file });
  if (value === undefined || value === null) return fromConfig;
  const ids = [value].flat();
  if (!ids.every((id) => Number.isInteger(id) && (id as number) >= 0))
    throw new ZayascopeError(
      'BAD_CONFIG',
      `${OP}: expected token ids in eos_token_id, got ${describeValue(value)} (${file})`,
      { op: OP, tensor: file },
    );
  return new Set(ids as number[]);
}

/**
 * The tokens that end a generation in a GGUF file: the ends of a sequence, of a turn and of a message, as in
 * llama.cpp.
 */
export function ggufStopTokens(metadata: Readonly<Record<string, GgufValue | undefined>>): Set<number> {
  const ids = ['eos', 'eot', 'eom'].map((name) => metadata[`tokenizer.ggml.${name}_token_id`]?.value);
  return new Set(ids.filter((id): id is number => Number.isInteger(id)));
}
