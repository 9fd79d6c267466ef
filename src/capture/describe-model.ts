import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { DumpModel } from '../dump/format.js';
import type { Checkpoint } from '../weights/checkpoint.js';
import { configSha256, weightsSha256 } from '../weights/identity.js';

/** The `model` entry of a manifest for a checkpoint in the transformers layout. */
export async function describeModel(checkpoint: Checkpoint): Promise<DumpModel> {
  const text = await readFile(join(checkpoint.folder, 'config.json'), 'utf8');
  return {
    type: 'zaya',
    name: basename(resolve(checkpoint.folder)),
    config: JSON.parse(text) as Record<string, unknown>,
    configSha256: await configSha256(join(checkpoint.folder, 'config.json')),
    weightsSha256: await weightsSha256(checkpoint),
    dtype: checkpoint.tensors.get('model.embed_tokens.weight')?.dtype ?? 'F32',
  };
}
