/**
 * Faults planted in one of two programs that otherwise compute the same, and whether the right op is named.
 */
import { type AlignedVerdict, Dump } from '../../src/index.js';
import type { ModelJob } from './tiny-models.js';

/** A fault: on the reference's side, or in the GGUF file; and the nodes that are at fault then. */
export interface Planted {
  reference?: { changes?: Record<string, unknown>; fault?: string };
  gguf?: { keys?: Record<string, unknown>; fault?: string };
  /** Names of nodes, or `OP@BLOCK`. */
  right: readonly string[];
}

const ROTATED = ['Qcur-0#2', 'Kcur-0#2'];
const GATED = ['ffn_gate-1', 'ffn_up-1', 'ffn_swiglu-1'];

/** Two of each family of `families.py`. */
export const PLANTED: Readonly<Record<string, Readonly<Record<string, Planted>>>> = {
  llama: {
    'wrong activation': { reference: { changes: { hidden_act: 'relu' } }, right: ['ffn_swiglu-0'] },
    'wrong RoPE base': { gguf: { keys: { 'rope.freq_base': 5000.5 } }, right: ROTATED },
  },
  qwen2: {
    'mask off by one': { reference: { fault: 'mask' }, right: ['kq_soft_max-1'] },
    'gate and up swapped': { gguf: { fault: 'gate and up swapped' }, right: GATED },
  },
  qwen3: {
    'no ffn norm': { reference: { fault: 'no ffn norm' }, right: ['ffn_norm-1'] },
    'wrong RoPE base': { gguf: { keys: { 'rope.freq_base': 5000.5 } }, right: ROTATED },
  },
  qwen3moe: {
    'not renormalised': {
      reference: { changes: { norm_topk_prob: false } },
      right: ['ffn_moe_weights_norm-0', 'ffn_moe_weights_sum_clamped-0'],
    },
    'gate and up swapped': {
      gguf: { fault: "experts' gate and up swapped" },
      right: ['ffn_moe_gate-1', 'ffn_moe_up-1'],
    },
  },
  gemma3: {
    'window off by one': { gguf: { keys: { 'attention.sliding_window': 8 } }, right: ['kq_soft_max-0'] },
    'no post norm': { reference: { fault: 'no post norm' }, right: ['ffn_post_norm-1'] },
  },
  gpt2: {
    'wrong activation': { reference: { changes: { activation_function: 'relu' } }, right: ['ffn_gelu-0'] },
    'no ffn norm': { reference: { fault: 'no ffn norm' }, right: ['ffn_norm-1', 'norm-1#2'] },
  },
  phi3: {
    'wrong activation': { reference: { changes: { hidden_act: 'relu' } }, right: ['ffn_swiglu-0'] },
    'mask off by one': { reference: { fault: 'mask' }, right: ['kq_soft_max-1'] },
  },
  olmo2: {
    'wrong RoPE base': { gguf: { keys: { 'rope.freq_base': 5000.5 } }, right: ROTATED },
    'no post norm': { reference: { fault: 'no post norm' }, right: ['ffn_post_norm#2'] },
  },
  starcoder2: {
    'wrong activation': { reference: { changes: { hidden_act: 'relu' } }, right: ['ffn_gelu-0'] },
    'wrong RoPE base': { gguf: { keys: { 'rope.freq_base': 5000.5 } }, right: ['ROPE@0'] },
  },
  mamba2: {
    'no norm': { reference: { fault: 'no norm' }, right: ['attn_norm-1'] },
    'convolution reversed': { gguf: { fault: 'ssm conv reversed' }, right: ['SSM_CONV@1'] },
  },
  deepseek2: {
    'not renormalised': {
      reference: { changes: { norm_topk_prob: false } },
      right: ['ffn_moe_weights_norm-1', 'ffn_moe_weights_sum_clamped-1'],
    },
    'wrong RoPE base': { gguf: { keys: { 'rope.freq_base': 5000.5 } }, right: ['q_pe-0', 'k_pe-0'] },
  },
  lfm2: {
    'convolution reversed': { gguf: { fault: 'conv reversed' }, right: ['SSM_CONV@2'] },
    'gate and up swapped': { gguf: { fault: 'gate and up swapped' }, right: GATED },
  },
  granite: {
    'wrong scale of scores': { gguf: { keys: { 'attention.scale': 0.2 } }, right: ['kq_soft_max-0'] },
    'wrong activation': { reference: { changes: { hidden_act: 'relu' } }, right: ['ffn_swiglu-0'] },
  },
};

/** What `make_models.py` makes of a family with its faults: `plain`, and each fault by its number. */
export function faultJob(family: string, folder: string): ModelJob {
  const dumps: NonNullable<ModelJob['dumps']> = { plain: { inside: true } };
  const ggufs: NonNullable<ModelJob['ggufs']> = { plain: {} };
  for (const [k, { reference, gguf }] of Object.values(PLANTED[family]!).entries()) {
    if (reference !== undefined) dumps[`fault-${k}`] = { inside: true, ...reference };
    if (gguf !== undefined) ggufs[`fault-${k}`] = gguf;
  }
  return { family, folder, dumps, ggufs };
}

/** Whether the first that is named is at fault, or reads or feeds what is. */
export async function namesRight(
  { faults }: Pick<AlignedVerdict, 'faults'>,
  { right }: Planted,
  recording: string,
): Promise<boolean> {
  await using dump = await Dump.open(recording);
  const { tensors } = (await dump.graph())!;
  const blocks = new Map(dump.taps.map(({ name, block }) => [name, block]));
  const sources = (id: number): string[] =>
    tensors[id]!.src.flatMap((source) => {
      if (source === null) return [];
      const { tap, viewSrc, src } = tensors[source]!;
      if (tap !== undefined) return [tap];
      const writers = tensors.filter(
        (each) => each.viewSrc === (viewSrc ?? source) && each.tap !== undefined,
      );
      return [...writers.map((each) => each.tap!), ...(src.length > 0 ? sources(source) : [])];
    });
  const isRight = (tap: string, op: string) =>
    right.includes(tap) || right.includes(`${op}@${blocks.get(tap)}`);
  const allowed = new Set<string>();
  for (const { id, tap, op } of tensors) {
    if (tap === undefined) continue;
    const from = sources(id);
    if (isRight(tap, op)) for (const name of [tap, ...from]) allowed.add(name);
    if (from.some((name) => tensors.some((each) => each.tap === name && isRight(name, each.op))))
      allowed.add(tap);
  }
  return faults.length > 0 && allowed.has(faults[0]!.name);
}
