import { stat } from 'node:fs/promises';
import { ZayascopeError } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import { checkGgufTarget } from '../../weights/gguf-target.js';
import { type GgufTensorData, writeGguf } from '../../weights/gguf-write.js';
import type { GgufType } from '../gguf/types.js';
import type { RequiredTensor } from '../runtime/architecture.js';
import { parseZayaConfig, type ZayaConfig } from './config.js';
import { planGguf } from './gguf-plan.js';
import { normals, type SyntheticMatrix, SyntheticValues, uniform } from './synthetic-values.js';

const OP = 'synthZaya';

/** Configs by name; what is not said is that of ZAYA1-8B. All rows but the router's hold whole K-blocks. */
const SIZES = {
  tiny: {
    vocab_size: 1024,
    hidden_size: 256,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    head_dim: 64,
    moe_intermediate_size: 256,
    num_experts: 8,
    router_hidden_size: 64,
  },
  small: {
    vocab_size: 8192,
    hidden_size: 512,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    head_dim: 64,
    moe_intermediate_size: 512,
    num_experts: 16,
    router_hidden_size: 128,
  },
  // The vocabulary of the tokenizer: 8,840,233,464 parameters.
  '8b': { vocab_size: 262_147 },
} as const;

/**
 * Of each matrix of the router's MLP: its logits then have a standard deviation of about 3, and the chosen
 * expert a probability of about a half.
 */
const ROUTER_GAIN = 2;

/** A size that {@link synthZaya} makes. */
export type SynthSize = keyof typeof SIZES;

/** All of them, smallest first. */
export const SYNTH_SIZES = Object.keys(SIZES) as readonly SynthSize[];

/** Options of {@link synthZaya}. */
export interface SynthOptions {
  size: SynthSize;
  type: GgufType;
  /** File to write; its name ends in `.gguf`. */
  out: string;
  /** Integer; the same seed gives the same file. Default 1. */
  seed?: number;
  /** Replace a file of that name. Default false. */
  overwrite?: boolean;
  /** Called as data is written: bytes done and in all. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Stops (`CANCELLED`); no file is left. */
  signal?: AbortSignal;
}

/** What {@link synthZaya} has written. */
export interface SynthResult {
  out: string;
  size: SynthSize;
  type: GgufType;
  seed: number;
  sizeBytes: number;
  tensors: number;
  parameters: number;
}

/**
 * Writes a GGUF file of ZAYA's shape with random weights, for measuring speed and memory: the dtypes are
 * those of `convert`, the numbers mean nothing. Scales keep the forward pass finite and let the router spread
 * tokens over all experts; the skip class is out of reach, as in the published models. There is no tokenizer.
 *
 * @throws `BAD_ARGUMENT` for a wrong file name; `IO` for an existing file or a failed write; `NO_SPACE`;
 * `CANCELLED`.
 */
export async function synthZaya(options: SynthOptions): Promise<SynthResult> {
  const { size, type, out, seed = 1, overwrite = false, onProgress, signal } = options;
  const config = parseZayaConfig({ model_type: 'zaya', ...SIZES[size] });
  const { metadata, tensors } = planGguf(config, type, `synthetic ${size}`, undefined);
  metadata['general.description'] = { type: 'str', value: `random weights of zayascope synth, seed ${seed}` };
  await checkGgufTarget(OP, out, overwrite, tensors);
  const values = new SyntheticValues(seed);
  const data = async function* (index: number): AsyncGenerator<Uint8Array> {
    const { source, dtype } = tensors[index]!;
    const own = (Math.imul(seed, 0x9e3779b9) + index + 1) >>> 0;
    const pieces: GgufTensorData =
      dtype === 'F32' && source.role !== 'matmul' && source.role !== 'embedding'
        ? [new Uint8Array(smallTensor(source, config, own).buffer)]
        : source.name.includes('.router_mlp.') && source.role === 'matmul'
          ? [new Uint8Array(oddMatrix(source, own).buffer)]
          : values.matrix({ dtype, ...matrixOf(source) }, own);
    for await (const piece of pieces) {
      if (signal?.aborted)
        throw new ZayascopeError('CANCELLED', `${OP}: cancelled at ${source.name}`, { op: OP });
      yield piece;
    }
  };
  await writeGguf(out, metadata, tensors, (_, index) => data(index), onProgress);
  return {
    out,
    size,
    type,
    seed,
    sizeBytes: (await stat(out)).size,
    tensors: tensors.length,
    parameters: tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
  };
}

/** Matrices keep the variance of what they multiply. */
function matrixOf({ shape, role }: RequiredTensor): Omit<SyntheticMatrix, 'dtype'> {
  const columns = role === 'conv' ? elementCount(shape.slice(1)) : shape.at(-1)!;
  return {
    rows: elementCount(shape) / columns,
    columns,
    spread: 1 / Math.sqrt(columns),
    distinctRows: role === 'embedding',
  };
}

/**
 * A matrix of the router's MLP, in F32. Its GELUs have outputs of mean above zero, which random matrices
 * would turn into a liking for a few experts. So units come in pairs of opposite sign on both sides of each
 * GELU: gelu(z) - gelu(-z) = z, and no expert is liked by all tokens.
 */
function oddMatrix(source: RequiredTensor, seed: number): Float32Array {
  const { rows, columns, spread } = matrixOf(source);
  const isFirst = source.name.endsWith('.fc1.weight');
  const isLast = source.name.endsWith('.out_proj.weight');
  const noise = normals(rows * columns, uniform(seed));
  return noise.map((_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const [rowPair, columnPair] = [isLast ? row : row & ~1, isFirst ? column : column & ~1];
    const sign = (row === rowPair ? 1 : -1) * (column === columnPair ? 1 : -1);
    return ROUTER_GAIN * spread * sign * noise[rowPair * columns + columnPair]!;
  });
}

/** Vectors, balancing biases and the depthwise convolution, in F32. */
function smallTensor({ name, shape, role }: RequiredTensor, config: ZayaConfig, seed: number): Float32Array {
  const noise = normals(elementCount(shape), uniform(seed));
  if (role === 'conv') return noise.map((value) => value / Math.sqrt(shape.at(-1)!));
  if (role === 'buffer')
    return noise.map((value, expert) => (expert === config.num_experts ? -1 : 0.01 * value));
  // The embedding has rows of length 1, so that logits have variance 1; the residual stream starts with
  // variance 1 through this scale.
  if (name === 'model.input_hidden_states_scale')
    return noise.map((value) => Math.sqrt(config.hidden_size) * (1 + 0.05 * value));
  // What attention and experts add stays small beside the token's own embedding: attention adds nearly the
  // same to all tokens, and 80 times that would route them all alike.
  if (name.endsWith('_residual_scale.hidden_states_scale')) return noise.map((value) => 0.2 + 0.01 * value);
  if (name.endsWith('.router_states_scale')) return noise.map((value) => 0.5 + 0.05 * value);
  const isScale = name.endsWith('_scale') || name.endsWith('norm.weight') || name.endsWith('.temp');
  if (isScale) return noise.map((value) => 1 + 0.05 * value);
  return noise.map((value) => (name.includes('.mlp.gate.') ? 0 : 0.01 * value));
}
