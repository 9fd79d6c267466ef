import { createHash } from 'node:crypto';
import { basename, join, resolve } from 'node:path';
import type { Dtype } from '../dtype.js';
import type { DumpModel, Manifest } from '../dump/format.js';
import { elementCount } from '../graph/shape.js';
import type { ModelSource } from '../models/layout/source.js';
import type { Model } from '../models/runtime/model.js';
import { requiredTensors } from '../models/runtime/weights.js';
import { native } from '../native.js';
import { packageVersion } from '../package-version.js';
import { readSmallFile } from '../weights/file-access.js';
import { configSha256, weightsSha256 } from '../weights/identity.js';
import { parseJsonObject, withoutNonFinite } from '../weights/json-object.js';

/** What a manifest says of a run of a model: who ran it, which model, under which policy, on what. */
export async function describeRun({ policy, backend, weights }: Model): Promise<DescribedRun> {
  const { name, device, threads, strictF32, environment } = backend;
  const described: Manifest['backend'] = { name, device: device.description, threads };
  if (device.type !== 'cpu') Object.assign(described, { strictF32, environment: { ...environment } });
  if (weights.repackedBytes > 0) described.repackedBytes = weights.repackedBytes;
  const { ggml } = native().version();
  return {
    producer: { name: 'zayascope', version: packageVersion(), node: process.versions.node, ggml },
    model: await describeModel(weights.source),
    policy: { ...policy },
    backend: described,
  };
}

type DescribedRun = Pick<Manifest, 'producer' | 'model' | 'policy' | 'backend'>;

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * The `model` entry of a manifest. The identity of the weights does not depend on the layout: a legacy
 * checkpoint has that of the transformers layout with the same values and dtypes. A GGUF file has no
 * config.json: `config` is what its metadata says, and `configSha256` is of that object's JSON text.
 */
export async function describeModel(source: ModelSource): Promise<Required<DumpModel>> {
  return {
    type: source.config.model_type,
    name: basename(resolve(source.path)),
    layout: source.layout,
    ...(source.metadata === undefined ? await configFile(source.path) : reconstructed(source)),
    weightsSha256: await weightsSha256(source.checkpoint),
    dtype: matmulDtype(source),
  };
}

type ModelConfig = Required<Pick<DumpModel, 'config' | 'configSha256'>>;

async function configFile(folder: string): Promise<ModelConfig> {
  const file = join(folder, 'config.json');
  const bytes = await readSmallFile('describeModel', file, MAX_CONFIG_BYTES);
  const json = parseJsonObject(bytes, { code: 'BAD_CONFIG', op: 'describeModel', where: file });
  const config = withoutNonFinite(json) as Record<string, unknown>;
  return { config, configSha256: await configSha256(file) };
}

function reconstructed({ config }: ModelSource): ModelConfig {
  const text = JSON.stringify(config);
  return {
    config: JSON.parse(text) as Record<string, unknown>,
    configSha256: createHash('sha256').update(text).digest('hex'),
  };
}

/** The dtype that most elements of the matmul weights have. */
function matmulDtype({ config, checkpoint }: ModelSource): Dtype {
  const counts = new Map<Dtype, number>();
  for (const { name, shape, role } of requiredTensors(config)) {
    const dtype = checkpoint.tensors.get(name)?.dtype;
    if (role === 'matmul' && dtype !== undefined)
      counts.set(dtype, (counts.get(dtype) ?? 0) + elementCount(shape));
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? 'F32';
}
