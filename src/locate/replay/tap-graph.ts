/**
 * Which values each value is computed from, as `zaya-architecture.md` C gives the equations: the edges along which errors are inherited. A table, because dumps of other programs
 * have to be judged without a model at hand; a test perturbs each value of a real run and checks that exactly those change that the table says.
 */

/** How the inputs of an op meet: `sum` where their errors add (sums, concatenations), `product` where relative errors do. */
export type Joining = 'sum' | 'product';

/** Inputs of the op that makes a value. Suffixes are those of the same block; `^` stands for the block before, or the embedding. */
type Row = readonly [suffix: string, joining: Joining, ...inputs: string[]];

const QKV = '.self_attn.qkv_proj';
const ROUTER = '.mlp.gate.router_mlp';

const BLOCK_ROWS: readonly Row[] = [
  ['.input_layernorm', 'sum', '^'],
  [`${QKV}.q_proj`, 'sum', '.input_layernorm'],
  [`${QKV}.k_proj`, 'sum', '.input_layernorm'],
  [`${QKV}:conv_input`, 'sum', `${QKV}.q_proj`, `${QKV}.k_proj`],
  [`${QKV}:query_residual`, 'sum', `${QKV}.q_proj`, `${QKV}.k_proj`],
  [`${QKV}:key_residual`, 'sum', `${QKV}:query_residual`],
  [`${QKV}.conv_qk_depthwise:lead`, 'sum'],
  [`${QKV}.conv_qk_depthwise`, 'sum', `${QKV}:conv_input`],
  [`${QKV}.conv_qk_grouped`, 'sum', `${QKV}.conv_qk_depthwise:lead`, `${QKV}.conv_qk_depthwise`],
  [`${QKV}:query`, 'sum', `${QKV}.conv_qk_grouped`, `${QKV}:query_residual`],
  [`${QKV}:key`, 'sum', `${QKV}.conv_qk_grouped`, `${QKV}:key_residual`],
  [`${QKV}.v_proj_current`, 'sum', '.input_layernorm'],
  [`${QKV}.v_proj_delayed`, 'sum', '.input_layernorm'],
  [`${QKV}:value_delayed`, 'sum', `${QKV}.v_proj_delayed`],
  [`${QKV}:value`, 'sum', `${QKV}.v_proj_current`, `${QKV}:value_delayed`],
  ['.self_attn.qk_norm:query', 'sum', `${QKV}:query`],
  ['.self_attn.qk_norm:key', 'sum', `${QKV}:key`],
  ['.self_attn:query_rope', 'sum', '.self_attn.qk_norm:query'],
  ['.self_attn:key_rope', 'sum', '.self_attn.qk_norm:key'],
  ['.self_attn:attn_weights', 'product', '.self_attn:query_rope', '.self_attn:key_rope'],
  ['.self_attn:attn_output', 'product', '.self_attn:attn_weights', `${QKV}:value`],
  ['.self_attn.o_proj', 'sum', '.self_attn:attn_output'],
  ['.post_attention_residual_scale:hidden_states', 'sum', '.self_attn.o_proj'],
  ['.post_attention_residual_scale:residual', 'sum', '^'],
  [
    '.post_attention_residual_scale',
    'sum',
    '.post_attention_residual_scale:hidden_states',
    '.post_attention_residual_scale:residual',
  ],
  ['.post_attention_layernorm', 'sum', '.post_attention_residual_scale'],
  ['.mlp.gate.down_proj', 'sum', '.post_attention_layernorm'],
  ['.mlp.gate:router_hidden_states', 'sum', '.mlp.gate.down_proj', '^.mlp.gate:router_hidden_states'],
  [`${ROUTER}.norm`, 'sum', '.mlp.gate:router_hidden_states'],
  [`${ROUTER}.fc1`, 'sum', `${ROUTER}.norm`],
  [`${ROUTER}:act1`, 'sum', `${ROUTER}.fc1`],
  [`${ROUTER}.fc2`, 'sum', `${ROUTER}:act1`],
  [`${ROUTER}:act2`, 'sum', `${ROUTER}.fc2`],
  [`${ROUTER}.out_proj`, 'sum', `${ROUTER}:act2`],
  ['.mlp.gate:router_probs', 'sum', `${ROUTER}.out_proj`],
  ['.mlp.gate:biased_router_probs', 'sum', '.mlp.gate:router_probs'],
  ['.mlp.gate:expert', 'sum', '.mlp.gate:biased_router_probs'],
  ['.mlp.gate:expert_weight', 'product', '.mlp.gate:router_probs', '.mlp.gate:expert'],
  ['.mlp.gate:margin', 'sum', '.mlp.gate:biased_router_probs'],
  ['.mlp.experts:gate_up', 'product', '.post_attention_layernorm', '.mlp.gate:expert'],
  ['.mlp.experts:activated', 'sum', '.mlp.experts:gate_up'],
  ['.mlp.experts:down', 'product', '.mlp.experts:activated', '.mlp.gate:expert'],
  ['.mlp.experts', 'product', '.mlp.experts:down', '.mlp.gate:expert_weight'],
  ['.post_mlp_residual_scale:hidden_states', 'sum', '.mlp.experts'],
  ['.post_mlp_residual_scale:residual', 'sum', '.post_attention_residual_scale'],
  ['', 'sum', '.post_mlp_residual_scale:hidden_states', '.post_mlp_residual_scale:residual'],
];

const BLOCK = new Map(BLOCK_ROWS.map((row) => [row[0], row]));

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

/** Inputs of the op that makes a value; see {@link tapInputs}. */
export interface TapInputs {
  joining: Joining;
  /** Names, in the order in which they are made. */
  inputs: readonly string[];
}

/**
 * The values that the op which makes `name` reads, of a run that starts and ends its sequences (tokens and weights aside). States of sequences (`conv_state`, `k_cache`) and
 * unknown names have none.
 * @param blocks decoder blocks of the model: `norm` reads the last one's output.
 */
export function directInputs(name: string, blocks: number): TapInputs {
  const { block, suffix } = tapPlace(name);
  if (block === null) return { joining: 'sum', inputs: headInputs(name, blocks) };
  const [, joining, ...inputs] = BLOCK.get(suffix) ?? ['', 'sum' as const];
  const names = inputs.flatMap((input) => {
    if (!input.startsWith('^')) return [`layers.${block}${input}`];
    if (block > 0) return [`layers.${block - 1}${input.slice(1)}`];
    return input === '^' ? ['input_affine'] : [];
  });
  return { joining, inputs: names };
}

function headInputs(name: string, blocks: number): string[] {
  if (name === 'input_affine') return ['embed_tokens'];
  if (name === 'norm') return [blocks === 0 ? 'input_affine' : `layers.${blocks - 1}`];
  return name === 'lm_head' ? ['norm'] : [];
}

/**
 * As {@link directInputs}, of a dump that may lack values: one that is not `held` is replaced by what it is computed from, for then the op between two held values spans several.
 */
export function tapInputs(name: string, blocks: number, held: ReadonlySet<string>): TapInputs {
  const { joining, inputs } = directInputs(name, blocks);
  const found = new Set<string>();
  const visit = (input: string): void => {
    if (held.has(input)) found.add(input);
    else for (const earlier of directInputs(input, blocks).inputs) visit(earlier);
  };
  for (const input of inputs) visit(input);
  return { joining, inputs: [...found] };
}

/** Decoder blocks that a list of taps speaks of: one more than the highest number. */
export function blockCount(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) count = Math.max(count, (tapPlace(name).block ?? -1) + 1);
  return count;
}
