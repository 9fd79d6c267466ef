import { describeModel } from '../../capture/describe-model.js';
import { badArgument } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import { architectureOf } from '../../models/architectures.js';
import { type ModelLayout, type ModelSource, openModelSource } from '../../models/layout/source.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { axisSize } from '../../models/runtime/axes.js';
import { isSkipReachable } from '../../models/runtime/skip-class.js';
import { type ModelTap, modelTaps } from '../../models/runtime/trace.js';
import { type RequiredTensor, requiredTensors } from '../../models/runtime/weights.js';
import { tapPattern } from '../../tap-pattern.js';
import type { StoredTensor } from '../../weights/checkpoint.js';
import { tensorValues } from '../../weights-diff/tensor-values.js';
import { formatCount } from '../format-number.js';
import { fields, table } from '../table.js';
import { countStored, type StoredCounts, storedFields } from './stored-counts.js';

/** What `inspect --json` prints of a model. */
export interface ModelSummary extends StoredCounts {
  kind: 'model';
  name: string;
  layout: ModelLayout;
  /** Of a GGUF file what its metadata says. */
  config: ModelConfig;
  /** Elements of all tensors that the config requires. */
  parameters: number;
  requiredTensors: number;
  /** Required but absent. */
  missing: readonly string[];
  /** Present in another shape than the config gives. */
  unfit: readonly { name: string; expected: readonly number[]; got: readonly number[] }[];
  /** Present but not used by the model. */
  unexpected: readonly string[];
  /** What a user should know about how the model was read. */
  notes: readonly string[];
  /**
   * For each block, whether its router can choose the class that skips the experts; null where its balancing
   * biases are missing or unfit. Empty in families without such a class.
   */
  skipReachable: readonly (boolean | null)[];
  configSha256: string;
  weightsSha256: string;
  /** All taps of the model, or those that were asked for. */
  taps: readonly ModelTap[];
  /** True if the user asked for taps: then they are listed. */
  listsTaps: boolean;
}

/**
 * Reads config, headers and balancing biases of a model in any layout. @throws as `openModelSource`;
 * `BAD_ARGUMENT` for a pattern without a match.
 */
export async function summariseModel(path: string, pattern: string | undefined): Promise<ModelSummary> {
  const source = await openModelSource(path);
  const { config, checkpoint, layout } = source;
  const { name, configSha256, weightsSha256 } = await describeModel(source);
  const required = requiredTensors(config);
  const stored = new Map<string, StoredTensor>([...checkpoint.tensors, ...checkpoint.unreadable]);
  const names = new Set(required.map(({ name }) => name));
  // A tied head may be stored all the same; the reference then uses it.
  names.add('lm_head.weight');
  return {
    kind: 'model',
    name,
    layout,
    config,
    parameters: required.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    ...countStored(checkpoint),
    requiredTensors: required.length,
    missing: required.filter(({ name }) => !stored.has(name)).map(({ name }) => name),
    unfit: required.flatMap((tensor) => unfit(tensor, stored)),
    notes: checkpoint.notes ?? [],
    unexpected: [...stored.keys()].filter((name) => !names.has(name)).sort(),
    skipReachable: await skipReachable(source),
    configSha256,
    weightsSha256,
    taps: selectTaps(config, pattern),
    listsTaps: pattern !== undefined,
  };
}

function selectTaps(config: ModelConfig, pattern = '**'): ModelTap[] {
  const matches = tapPattern(pattern);
  const taps = modelTaps(config).filter(({ name }) => matches(name));
  if (taps.length === 0) throw badArgument('inspect', 'a pattern that matches a tap', pattern);
  return taps;
}

function unfit(
  { name, shape }: RequiredTensor,
  stored: ReadonlyMap<string, StoredTensor>,
): ModelSummary['unfit'] {
  const got = stored.get(name)?.shape;
  return got === undefined || String(got) === String(shape) ? [] : [{ name, expected: shape, got }];
}

async function skipReachable({ config, checkpoint }: ModelSource): Promise<(boolean | null)[]> {
  const architecture = architectureOf(config);
  const { skipBiases } = architecture;
  if (skipBiases === undefined) return [];
  const classes = architecture.classes(config);
  const blocks = config.layer_types.map(async (_, block) => {
    const tensor = checkpoint.tensors.get(skipBiases(block));
    if (tensor === undefined || elementCount(tensor.shape) !== classes) return null;
    return isSkipReachable(await tensorValues(tensor, 0, classes));
  });
  return Promise.all(blocks);
}

/** The summary for people. */
export function formatModel(summary: ModelSummary): string {
  const { config, missing, unfit, unexpected, requiredTensors: wanted } = summary;
  const lines = fields([
    ['model', `${summary.name} (${config.model_type}, ${layoutText(summary.layout)})`],
    ['blocks', `${config.num_hidden_layers}, hidden ${config.hidden_size}, vocabulary ${config.vocab_size}`],
    ['attention', attention(config)],
    ...experts(config),
    ...(summary.skipReachable.length === 0 ? [] : [['skip class', skipText(summary.skipReachable)] as const]),
    ...layerTypes(config),
    [
      'parameters',
      `${formatCount(summary.parameters)}${summary.skipReachable.length === 0 ? '' : ', balancing biases included'}`,
    ],
    ...storedFields(summary),
    ['tensors', `${wanted - missing.length} of ${wanted} that the config requires`],
    ...missing.map((name): [string, string] => ['missing', name]),
    ...unfit.map(({ name, expected, got }): [string, string] => [
      'unfit',
      `${name}: expected [${expected}], got [${got}]`,
    ]),
    ...unexpected.map((name): [string, string] => ['unexpected', name]),
    ...summary.notes.map((note): [string, string] => ['note', note]),
    ['config', `SHA-256 ${summary.configSha256}`],
    ['weights', `identity ${summary.weightsSha256}`],
    ['taps', tapCount(summary)],
  ]);
  return summary.listsTaps ? `${lines}\n\n${tapTable(summary)}` : lines;
}

function layoutText(layout: ModelLayout): string {
  return layout.startsWith('gguf ') ? `GGUF, ${layout.slice('gguf '.length)} dialect` : `${layout} layout`;
}

function skipText(reachable: ModelSummary['skipReachable']): string {
  const blocks = (wanted: boolean | null) =>
    [...reachable.keys()].filter((block) => reachable[block] === wanted);
  const [within, unknown] = [blocks(true), blocks(null)];
  const known = reachable.length - unknown.length;
  const reach =
    within.length === 0
      ? `out of reach of the router in all ${known} blocks`
      : `within reach of the router in ${within.length} of ${known} blocks${within.length < known ? `: ${within.join(', ')}` : ''}`;
  return unknown.length === 0 ? reach : `${reach}; not known of ${unknown.join(', ')}`;
}

function attention(config: ModelConfig): string {
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: dim } = config;
  const more = architectureOf(config).describe(config).attention;
  return `${heads} query and ${kvHeads} key/value heads of ${dim}${more}`;
}

function experts(config: ModelConfig): [string, string][] {
  if (!config.num_experts) return [];
  const more = architectureOf(config).describe(config).experts;
  return [['experts', `${config.num_experts} of width ${config.moe_intermediate_size}${more}`]];
}

function layerTypes(config: ModelConfig): [string, string][] {
  return [...new Set(config.layer_types)].map((type) => {
    const count = config.layer_types.filter((other) => other === type).length;
    const { rotary, theta, window } = architectureOf(config).attention(config, type);
    const sees = window === undefined ? '' : `, window ${window}`;
    return [
      type,
      `${count} blocks, RoPE base ${formatCount(theta)} on ${rotary} of ${config.head_dim}${sees}`,
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
