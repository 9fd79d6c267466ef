/**
 * Which dtype a tensor takes in a GGUF file of a type: the usual rules of llama.cpp's quantiser, by what the
 * architecture says of the tensor (`QuantClass`).
 * - vectors, biases, buffers and small convolutions: F32 in every type;
 * - `exact`: F32 in every type. So are routers: routing ends in a choice, and a half-width weight would round
 *   the activations too;
 * - `half`: as the type for f32 and f16, else BF16 (im2col has no quantised kernels);
 * - the matrix that gives the logits (`output`, or `token_embd` where it is tied): Q6_K in every quantised
 *   type but q8_0;
 * - `q4_k_m`, `q5_k_m`: Q6_K instead of the type's own for what has a layer (value and down projections) in
 *   the first and last eighth of the layers and every third between ("use more bits");
 * - everything else: the type's own dtype.
 * Rows that a dtype's blocks do not divide: Q4_K becomes Q5_0, Q5_K becomes Q5_1, Q6_K becomes Q8_0; rows
 * that are no multiple of 32 either become F16. Left out of llama.cpp's rules: those for 8 experts (Mixtral),
 * and Q4_1 for some layers of q4_0 with an importance matrix.
 */
import { blockSize, type Dtype } from '../../dtype.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig, RequiredTensor } from '../runtime/architecture.js';

/** `dtype` is the type's own, `fileType` llama.cpp's number in `general.file_type`. */
const TYPES = {
  f32: { dtype: 'F32', fileType: 0 },
  f16: { dtype: 'F16', fileType: 1 },
  bf16: { dtype: 'BF16', fileType: 32 },
  q8_0: { dtype: 'Q8_0', fileType: 7 },
  q6_k: { dtype: 'Q6_K', fileType: 18 },
  q5_k_m: { dtype: 'Q5_K', fileType: 17 },
  q4_k_m: { dtype: 'Q4_K', fileType: 15 },
  q4_0: { dtype: 'Q4_0', fileType: 2 },
} as const satisfies Record<string, { dtype: Dtype; fileType: number }>;

/** A type of a whole file, as users name it. */
export type GgufType = keyof typeof TYPES;

/** All of them, widest first. */
export const GGUF_TYPES = Object.keys(TYPES) as readonly GgufType[];

/** llama.cpp's number of a type. */
export function ggufFileType(type: GgufType): number {
  return TYPES[type].fileType;
}

/** See the file's comment. `wanted` differs from `dtype` where the rows forced another. */
export interface ChosenDtype {
  dtype: Dtype;
  wanted: Dtype;
}

/**
 * The dtype of one tensor in a file of a type; `config` says how many layers there are and whether the head
 * is tied.
 */
export function ggufDtype(tensor: RequiredTensor, type: GgufType, config: ModelConfig): ChosenDtype {
  const wanted = wantedDtype(tensor, type, config);
  return { wanted, dtype: fitRows(wanted, tensor.shape.at(-1)!) };
}

function wantedDtype(tensor: RequiredTensor, type: GgufType, config: ModelConfig): Dtype {
  const { name, role } = tensor;
  const own = TYPES[type].dtype;
  const quantClass = architectureOf(config).quantClass(tensor, config);
  if (quantClass === 'half') return own === 'F32' || own === 'F16' ? own : 'BF16';
  if ((role !== 'matmul' && role !== 'embedding') || quantClass === 'exact') return 'F32';
  if (blockSize(own) === 1) return own;
  const head = config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
  if (name === head) return type === 'q8_0' ? own : 'Q6_K';
  const isMix = type === 'q4_k_m' || type === 'q5_k_m';
  if (!isMix || quantClass === 'usual') return own;
  return usesMoreBits(quantClass.layer, quantClass.layers) ? 'Q6_K' : own;
}

/** llama.cpp's `use_more_bits`. */
function usesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

const SMALLER_BLOCKS: Readonly<Partial<Record<Dtype, Dtype>>> = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' };

function fitRows(dtype: Dtype, columns: number): Dtype {
  if (columns % blockSize(dtype) === 0) return dtype;
  const smaller = SMALLER_BLOCKS[dtype];
  return smaller !== undefined && columns % blockSize(smaller) === 0 ? smaller : 'F16';
}
