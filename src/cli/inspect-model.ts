import { basename, resolve } from 'node:path';
import { ZayascopeError } from '../errors.js';
import { readZayaConfig, rotaryDim, type ZayaConfig } from '../models/zaya-config.js';
import { axisSize, type ZayaTap, zayaTaps } from '../models/zaya-taps.js';
import { type RequiredTensor, requiredTensors } from '../models/zaya-weights.js';
import { tapPattern } from '../tap-pattern.js';
import { type Checkpoint, openCheckpoint, type StoredTensor } from '../weights/checkpoint.js';
import { configSha256, weightsSha256 } from '../weights/identity.js';
import { formatBytes, formatCount } from './format-number.js';
import { fields, table } from './table.js';

/** What `inspect --json` prints of a model. */
export interface ModelSummary {
  kind: 'model';
  name: string;
  config: ZayaConfig;
  /** Elements of all tensors that the config requires. */
  parameters: number;
  dtypes: readonly { dtype: string; tensors: number; sizeBytes: number }[];
  files: readonly { name: string; tensors: number; sizeBytes: number }[];
  requiredTensors: number;
  /** Required but absent. */
  missing: readonly string[];
  /** Present in another shape than the config gives. */
  unfit: readonly { name: string; expected: readonly number[]; got: readonly number[] }[];
  /** Present but not used by the model. */
  unexpected: readonly string[];
  configSha256: string;
  weightsSha256: string;
  /** All taps of the model, or those that were asked for. */
  taps: readonly ZayaTap[];
  /** True if the user asked for taps: then they are listed. */
  listsTaps: boolean;
}

/** Reads config and headers of a model folder. @throws `IO`, `BAD_CONFIG`, `BAD_CHECKPOINT`; `BAD_ARGUMENT` for a pattern without a match. */
export async function summariseModel(folder: string, pattern: string | undefined): Promise<ModelSummary> {
  const config = await readZayaConfig(folder);
  const checkpoint = await openCheckpoint(folder);
  const required = requiredTensors(config);
  const stored = new Map<string, StoredTensor>([...checkpoint.tensors, ...checkpoint.unreadable]);
  const names = new Set(required.map(({ name }) => name));
  // A tied head may be stored all the same; the reference then uses it.
  names.add('lm_head.weight');
  return {
    kind: 'model',
    name: basename(resolve(folder)),
    config,
    parameters: required.reduce((sum, { shape }) => sum + elements(shape), 0),
    dtypes: countDtypes(stored.values()),
    files: countFiles(checkpoint, stored.values()),
    requiredTensors: required.length,
    missing: required.filter(({ name }) => !stored.has(name)).map(({ name }) => name),
    unfit: required.flatMap((tensor) => unfit(tensor, stored)),
    unexpected: [...stored.keys()].filter((name) => !names.has(name)).sort(),
    configSha256: await configSha256(`${folder}/config.json`),
    weightsSha256: await weightsSha256(checkpoint),
    taps: selectTaps(config, pattern),
    listsTaps: pattern !== undefined,
  };
}

function selectTaps(config: ZayaConfig, pattern = '**'): ZayaTap[] {
  const matches = tapPattern(pattern);
  const taps = zayaTaps(config).filter(({ name }) => matches(name));
  if (taps.length === 0)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `inspect: expected a pattern that matches a tap, got ${pattern}`,
      {
        op: 'inspect',
      },
    );
  return taps;
}

function unfit(
  { name, shape }: RequiredTensor,
  stored: ReadonlyMap<string, StoredTensor>,
): ModelSummary['unfit'] {
  const got = stored.get(name)?.shape;
  return got === undefined || String(got) === String(shape) ? [] : [{ name, expected: shape, got }];
}

function countDtypes(tensors: Iterable<StoredTensor>): ModelSummary['dtypes'] {
  const counts = new Map<string, { dtype: string; tensors: number; sizeBytes: number }>();
  for (const { dtype, sizeBytes } of tensors) {
    const count = counts.get(dtype) ?? { dtype, tensors: 0, sizeBytes: 0 };
    counts.set(dtype, { dtype, tensors: count.tensors + 1, sizeBytes: count.sizeBytes + sizeBytes });
  }
  return [...counts.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
}

function countFiles({ files }: Checkpoint, tensors: Iterable<StoredTensor>): ModelSummary['files'] {
  const counts = new Map(files.map((file) => [file, { name: basename(file), tensors: 0, sizeBytes: 0 }]));
  for (const { file, sizeBytes } of tensors) {
    const count = counts.get(file)!;
    count.tensors++;
    count.sizeBytes += sizeBytes;
  }
  return [...counts.values()];
}

/** The summary for people. */
export function formatModel(summary: ModelSummary): string {
  const { config, dtypes, files, missing, unfit, unexpected, requiredTensors: wanted } = summary;
  const lines = fields([
    ['model', `${summary.name} (${config.model_type}, transformers layout)`],
    ['blocks', `${config.num_hidden_layers}, hidden ${config.hidden_size}, vocabulary ${config.vocab_size}`],
    ['attention', attention(config)],
    [
      'experts',
      `${config.num_experts} of width ${config.moe_intermediate_size} and the skip class, router ${config.router_hidden_size}`,
    ],
    ...layerTypes(config),
    ['parameters', `${formatCount(summary.parameters)}, balancing biases included`],
    [
      'dtypes',
      dtypes
        .map(({ dtype, tensors, sizeBytes }) => `${dtype} ${formatBytes(sizeBytes)} in ${tensors} tensors`)
        .join(', '),
    ],
    ['files', files.map(({ name, sizeBytes }) => `${name} ${formatBytes(sizeBytes)}`).join(', ')],
    ['tensors', `${wanted - missing.length} of ${wanted} that the config requires`],
    ...missing.map((name): [string, string] => ['missing', name]),
    ...unfit.map(({ name, expected, got }): [string, string] => [
      'unfit',
      `${name}: expected [${expected}], got [${got}]`,
    ]),
    ...unexpected.map((name): [string, string] => ['unexpected', name]),
    ['config', `SHA-256 ${summary.configSha256}`],
    ['weights', `identity ${summary.weightsSha256}`],
    ['taps', tapCount(summary)],
  ]);
  return summary.listsTaps ? `${lines}\n\n${tapTable(summary)}` : lines;
}

function attention(config: ZayaConfig): string {
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: dim } = config;
  return `${heads} query and ${kvHeads} key/value heads of ${dim}, convolutions of ${config.cca_time0} and ${config.cca_time1}`;
}

function layerTypes(config: ZayaConfig): [string, string][] {
  return [...new Set(config.layer_types)].map((type) => {
    const count = config.layer_types.filter((other) => other === type).length;
    const theta = formatCount(config.rope_parameters[type]!.rope_theta);
    const window = type === 'hybrid_sliding' ? `, window ${config.sliding_window}` : '';
    return [
      type,
      `${count} blocks, RoPE base ${theta} on ${rotaryDim(config, type)} of ${config.head_dim}${window}`,
    ];
  });
}

function tapCount({ taps, listsTaps }: ModelSummary): string {
  const outside = taps.filter(({ block }) => block === null).length;
  return `${taps.length}${listsTaps ? ' that match' : ''}: ${outside} outside the blocks, ${taps.length - outside} inside`;
}

function tapTable({ taps, config }: ModelSummary): string {
  const size = (axis: string) => (axis === 'T' || axis === 'S' ? axis : String(axisSize(config, axis, 1)));
  return table(
    [{ title: 'tap' }, { title: 'dtype' }, { title: 'axes' }, { title: 'shape' }],
    taps.map(({ name, dtype, axes }) => [name, dtype, axes.join(','), `[${axes.map(size).join(', ')}]`]),
  );
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
