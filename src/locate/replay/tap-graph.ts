/**
 * Which values each value is computed from: the edges along which errors are inherited. They are read off the model file (`models/zaya/trace.ts`), of a small model of the same family, because dumps of
 * other programs have to be judged without a model at hand; a test perturbs each value of a real run and checks that exactly those change that the edges say.
 */
import { parseZayaConfig } from '../../models/zaya/config.js';
import { type TapInputs, traceZaya } from '../../models/zaya/trace.js';

export type { Joining, TapInputs } from '../../models/zaya/trace.js';

const QKV = '.self_attn.qkv_proj';

/** What states after a call are made of. */
const STATES: Readonly<Record<string, string>> = {
  [`${QKV}:conv_state`]: `${QKV}:conv_input`,
  [`${QKV}:delayed_state`]: `${QKV}.v_proj_delayed`,
  '.self_attn:k_cache': '.self_attn:key_rope',
  '.self_attn:v_cache': `${QKV}:value`,
};

/**
 * What a continued call reads besides: states that the call before has left, and the caches that hold its keys and values.
 */
const HISTORY: Readonly<Record<string, string>> = {
  [`${QKV}.conv_qk_depthwise:lead`]: `${QKV}:conv_state`,
  [`${QKV}.conv_qk_depthwise`]: `${QKV}:conv_state`,
  [`${QKV}:value_delayed`]: `${QKV}:delayed_state`,
  '.self_attn:attn_weights': '.self_attn:k_cache',
  '.self_attn:attn_output': '.self_attn:v_cache',
};

/** Where a value stands: its decoder block (null for embedding and head), and its name without it. */
export interface TapPlace {
  block: number | null;
  /** E.g. `.self_attn.o_proj`; '' for the block's output; the whole name outside blocks. */
  suffix: string;
}

/** Splits a tap's name at its block. */
export function tapPlace(name: string): TapPlace {
  const match = /^layers\.(\d+)(.*)$/.exec(name);
  return match === null ? { block: null, suffix: name } : { block: Number(match[1]), suffix: match[2]! };
}

/** A model of two blocks: the first has no router state before it, all later ones are alike. */
const EXAMPLE = parseZayaConfig({
  model_type: 'zaya',
  vocab_size: 4,
  hidden_size: 4,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: 4,
  moe_intermediate_size: 2,
  num_experts: 2,
  router_hidden_size: 2,
});

const NONE: TapInputs = { joining: 'sum', inputs: [] };

/**
 * The values that the op which makes `name` reads, of a run that starts and ends its sequences (tokens and weights aside). Unknown names have none.
 * @param blocks decoder blocks of the model: `norm` reads the last one's output.
 */
export function directInputs(name: string, blocks: number): TapInputs {
  const { block, suffix } = tapPlace(name);
  const madeOf = block === null ? undefined : STATES[suffix];
  if (madeOf !== undefined) return { joining: 'sum', inputs: [`layers.${block}${madeOf}`] };
  // The example's block that is alike, and what its number stands for.
  const alike = block === null ? 1 : Math.min(block, 1);
  const shift = (block ?? blocks - 1) - alike;
  const edges = traceZaya(EXAMPLE).edges.get(block === null ? name : `layers.${alike}${suffix}`);
  if (edges === undefined) return NONE;
  if (blocks === 0 && block === null)
    return { ...edges, inputs: edges.inputs.map((input) => (input === 'layers.1' ? 'input_affine' : input)) };
  return { joining: edges.joining, inputs: edges.inputs.map((input) => shifted(input, shift)) };
}

function shifted(name: string, by: number): string {
  const { block, suffix } = tapPlace(name);
  return block === null ? name : `layers.${block + by}${suffix}`;
}

/** What lies between the held values before an op and the value that it makes. */
export interface TapSpan extends TapInputs {
  /** Values that are computed on the way, in execution order; the last is the one made. One alone where all its inputs are held. */
  inside: readonly string[];
}

/**
 * As {@link directInputs}, of a dump that may lack values: one that is not `held` is replaced by what it is computed from, for then the op between two held values spans several.
 * @param continued true for a dump of several calls: what the calls before have left is read too. A dump that holds states counts as one.
 */
export function tapSpan(name: string, blocks: number, held: ReadonlySet<string>, continued = false): TapSpan {
  const { joining, inputs } = directInputs(name, blocks);
  const found = new Set<string>();
  const inside = new Set<string>();
  const visit = (input: string): void => {
    if (held.has(input)) found.add(input);
    else if (!inside.has(input)) {
      for (const earlier of directInputs(input, blocks).inputs) visit(earlier);
      inside.add(input);
    }
  };
  for (const input of inputs) visit(input);
  const { block, suffix } = tapPlace(name);
  const history = block === null ? undefined : HISTORY[suffix];
  if (history !== undefined) {
    const state = `layers.${block}${history}`;
    // A state that is not held is no value inside the op: what it is made of was made by the calls before.
    for (const read of held.has(state) || !continued ? [state] : directInputs(state, blocks).inputs)
      if (held.has(read)) found.add(read);
  }
  return { joining, inputs: [...found], inside: [...inside, name] };
}

/** The inputs of {@link tapSpan}. */
export function tapInputs(
  name: string,
  blocks: number,
  held: ReadonlySet<string>,
  continued = false,
): TapInputs {
  const { joining, inputs } = tapSpan(name, blocks, held, continued);
  return { joining, inputs };
}

/** Decoder blocks that a list of taps speaks of: one more than the highest number. */
export function blockCount(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) count = Math.max(count, (tapPlace(name).block ?? -1) + 1);
  return count;
}
