/**
 * A tiny random model of the `llama` architecture, which libllama knows, as a GGUF file without a vocabulary.
 */
import type { GgufValue } from '../../src/native.js';
import { writeGguf } from '../../src/weights/gguf-write.js';

/** Sizes of the model. */
export const TINY_LLAMA = {
  blocks: 2,
  hidden: 32,
  heads: 4,
  kvHeads: 2,
  feedForward: 48,
  vocabulary: 40,
  epsilon: 1e-5,
};

/** Writes the model and returns its F32 weights by GGUF name. */
export async function writeTinyLlama(
  path: string,
  vocabulary = TINY_LLAMA.vocabulary,
): Promise<ReadonlyMap<string, Float32Array>> {
  const { blocks, hidden, heads, kvHeads, feedForward, epsilon } = TINY_LLAMA;
  const head = hidden / heads;
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  const metadata: Record<string, GgufValue> = {
    'general.architecture': { type: 'str', value: 'llama' },
    'llama.vocab_size': u32(vocabulary),
    'llama.context_length': u32(512),
    'llama.embedding_length': u32(hidden),
    'llama.block_count': u32(blocks),
    'llama.feed_forward_length': u32(feedForward),
    'llama.attention.head_count': u32(heads),
    'llama.attention.head_count_kv': u32(kvHeads),
    'llama.rope.dimension_count': u32(head),
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: epsilon },
    'tokenizer.ggml.model': { type: 'str', value: 'no_vocab' },
  };
  const shapes: [name: string, shape: number[]][] = [
    ['token_embd.weight', [vocabulary, hidden]],
    ['output_norm.weight', [hidden]],
    ['output.weight', [vocabulary, hidden]],
  ];
  for (let block = 0; block < blocks; block++)
    for (const [name, shape] of [
      ['attn_norm', [hidden]],
      ['attn_q', [hidden, hidden]],
      ['attn_k', [kvHeads * head, hidden]],
      ['attn_v', [kvHeads * head, hidden]],
      ['attn_output', [hidden, hidden]],
      ['ffn_norm', [hidden]],
      ['ffn_gate', [feedForward, hidden]],
      ['ffn_up', [feedForward, hidden]],
      ['ffn_down', [hidden, feedForward]],
    ] as const)
      shapes.push([`blk.${block}.${name}.weight`, [...shape]]);
  let seed = 7;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed / 2 ** 32 - 0.5;
  };
  const weights = new Map<string, Float32Array>();
  for (const [name, shape] of shapes) {
    const size = shape.reduce((all, axis) => all * axis, 1);
    const isNorm = shape.length === 1;
    weights.set(
      name,
      Float32Array.from({ length: size }, () => (isNorm ? 1 + random() : 2 * random())),
    );
  }
  await writeGguf(
    path,
    metadata,
    shapes.map(([name, shape]) => ({ name, dtype: 'F32' as const, shape })),
    ({ name }) => [new Uint8Array(weights.get(name)!.buffer)],
  );
  return weights;
}
