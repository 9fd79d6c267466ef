/**
 * GGUF files of random weights by our own writer, for the fuzz bench and the benches: no compiler, no
 * libllama. Files of every architecture make `models.ts` and `random-model.cpp`.
 */
import { writeGguf } from '../../dist/weights/gguf-write.js';

/** Sizes of the smallest model. */
export const TINY = {
  blocks: 2,
  hidden: 32,
  heads: 4,
  kvHeads: 2,
  feedForward: 48,
  experts: 4,
  vocabulary: 40,
};

/** By architecture: the metadata after its name, and the shapes of a block's weights, slowest axis first. */
const ARCHITECTURES = {
  llama: {
    metadata: (sizes) => attentionMetadata(sizes),
    block: (sizes) => ({ ...attention(sizes), ...feedForward(sizes) }),
  },
  qwen3moe: {
    metadata: (sizes) => ({
      ...attentionMetadata(sizes),
      expert_count: sizes.experts,
      expert_used_count: 2,
      expert_feed_forward_length: sizes.feedForward,
    }),
    block: (sizes) => {
      const { hidden, heads, feedForward: inner, experts } = sizes;
      return {
        ...attention(sizes),
        'attn_q_norm.weight': [hidden / heads],
        'attn_k_norm.weight': [hidden / heads],
        'ffn_norm.weight': [hidden],
        'ffn_gate_inp.weight': [experts, hidden],
        'ffn_gate_exps.weight': [experts, inner, hidden],
        'ffn_up_exps.weight': [experts, inner, hidden],
        'ffn_down_exps.weight': [experts, hidden, inner],
      };
    },
  },
  mamba2: {
    metadata: ({ hidden }) => ({
      'ssm.conv_kernel': 4,
      'ssm.inner_size': 2 * hidden,
      'ssm.state_size': STATE,
      'ssm.time_step_rank': 2,
      'ssm.group_count': 1,
    }),
    block: ({ hidden }) => {
      const inner = 2 * hidden;
      const convolved = inner + 2 * STATE;
      return {
        'attn_norm.weight': [hidden],
        'ssm_in.weight': [inner + convolved + 2, hidden],
        'ssm_conv1d.weight': [convolved, 4],
        'ssm_conv1d.bias': [convolved],
        'ssm_dt.bias': [2],
        ssm_a: [2, 1],
        ssm_d: [2, 1],
        'ssm_norm.weight': [1, inner],
        'ssm_out.weight': [hidden, inner],
      };
    },
  },
};

/** Of a state space model, for each channel. */
const STATE = 16;
const EPSILON = 1e-5;

/**
 * Writes a model of one of `llama`, `qwen3moe`, `mamba2`.
 *
 * @param options `{ sizes, dtype }`: what differs from {@link TINY}, and the type of matrices (`F32`).
 */
export async function writeRandomGguf(path, architecture, { sizes: given = {}, dtype = 'F32' } = {}) {
  const sizes = { ...TINY, ...given };
  const { metadata, block } = ARCHITECTURES[architecture];
  const { hidden, vocabulary, blocks } = sizes;
  const shapes = [
    ['token_embd.weight', [vocabulary, hidden]],
    ['output_norm.weight', [hidden]],
    ['output.weight', [vocabulary, hidden]],
    ...Array.from({ length: blocks }, (_, k) =>
      Object.entries(block(sizes)).map(([name, shape]) => [`blk.${k}.${name}`, shape]),
    ).flat(),
  ];
  const own = {
    vocab_size: vocabulary,
    context_length: 512,
    embedding_length: hidden,
    block_count: blocks,
    ...metadata(sizes),
  };
  const u32 = Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, { type: 'u32', value }]);
  await writeGguf(
    path,
    {
      'general.architecture': { type: 'str', value: architecture },
      ...Object.fromEntries(u32),
      [`${architecture}.attention.layer_norm_rms_epsilon`]: { type: 'f32', value: EPSILON },
      'tokenizer.ggml.model': { type: 'str', value: 'no_vocab' },
    },
    shapes.map(([name, shape]) => ({ name, dtype: isMatrix(name) ? dtype : 'F32', shape })),
    ({ name, shape, dtype: type }) => [bytesOf(type, weights(name, shape))],
  );
}

function attentionMetadata({ heads, kvHeads, hidden, feedForward: inner }) {
  return {
    feed_forward_length: inner,
    'attention.head_count': heads,
    'attention.head_count_kv': kvHeads,
    'attention.key_length': hidden / heads,
    'attention.value_length': hidden / heads,
    'rope.dimension_count': hidden / heads,
  };
}

function attention({ hidden, heads, kvHeads }) {
  const keys = (kvHeads * hidden) / heads;
  return {
    'attn_norm.weight': [hidden],
    'attn_q.weight': [hidden, hidden],
    'attn_k.weight': [keys, hidden],
    'attn_v.weight': [keys, hidden],
    'attn_output.weight': [hidden, hidden],
  };
}

function feedForward({ hidden, feedForward: inner }) {
  return {
    'ffn_norm.weight': [hidden],
    'ffn_gate.weight': [inner, hidden],
    'ffn_up.weight': [inner, hidden],
    'ffn_down.weight': [hidden, inner],
  };
}

/** Routers, norms and a state space's own parameters stay in F32, as llama.cpp keeps them. */
function isMatrix(name) {
  return name.endsWith('.weight') && !/norm|gate_inp|conv1d/.test(name);
}

/** The same values for the same name, about what a trained model's are large. */
function weights(name, shape) {
  let state = 2166136261;
  for (const letter of name) state = Math.imul(state ^ letter.charCodeAt(0), 16777619) >>> 0;
  const spread = shape.length === 1 ? 0.2 : 2 / Math.sqrt(shape.at(-1));
  const centre = name.includes('norm') || name.endsWith('ssm_d') ? 1 : name.endsWith('ssm_a') ? -1 : 0;
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let k = 0; k < values.length; k++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[k] = centre + spread * ((state >>> 8) / 2 ** 24 - 0.5);
  }
  return values;
}

function bytesOf(dtype, values) {
  const bytes = new Uint8Array(values.buffer);
  if (dtype === 'F32') return bytes;
  if (dtype !== 'BF16') throw new Error(`random-gguf: F32 or BF16, not ${dtype}`);
  const words = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
}
