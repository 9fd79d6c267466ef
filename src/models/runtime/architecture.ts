/**
 * What a family of models is: one record for each, and the only place that the runtime, the commands and the
 * search for causes learn of it. `src/models/architectures.ts` lists them.
 */
import type { Family } from '../../families/family.js';
import type { Shape } from '../../graph/shape.js';
import type { Tensor } from '../../graph/tensor.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { GgufLayout } from '../gguf/layout.js';
import type { ModelContext } from './module.js';

/**
 * What every family's configuration says. Field names are the keys of `config.json`; sizes are positive
 * integers.
 */
export interface ModelConfig {
  model_type: string;
  vocab_size: number;
  hidden_size: number;
  /** Blocks. */
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  tie_word_embeddings: boolean;
  /** How each block attends; see {@link Architecture.attention}. */
  layer_types: readonly string[];
  /**
   * Positions that a block of a sliding type sees, the query's own included; null when there is no such
   * block.
   */
  sliding_window: number | null;
  /** Real experts of a block; absent or 0 in a model without. */
  num_experts?: number;
  /** Experts that a token takes. */
  num_experts_per_tok?: number;
  moe_intermediate_size?: number;
  pad_token_id: number | null;
  bos_token_id: number | null;
  eos_token_id: number | readonly number[] | null;
}

/**
 * What a tensor is used for, which decides its dtype in a run: `matmul` and `embedding` may stay in the
 * stored dtype, `conv` kernels and `vector`s (norms, biases, scales) are small, a `buffer` is FP32 in the
 * reference whatever the load dtype.
 */
export type WeightRole = 'embedding' | 'matmul' | 'conv' | 'vector' | 'buffer';

/** A tensor that a model needs. */
export interface RequiredTensor {
  name: string;
  /** Axes in the reference's order: output rows first. */
  shape: readonly number[];
  role: WeightRole;
}

/** How the blocks of a layer type attend. */
export interface AttentionRule {
  /** Leading dimensions of each head that RoPE rotates. */
  rotary: number;
  /** Base of the angles. */
  theta: number;
  /** Positions that a query sees, its own included; undefined for all. */
  window: number | undefined;
}

/** What a block remembers of the tokens before besides keys and values: F32 [B, ...shape]. */
export interface History {
  /** The tap that shows it after a call, without its block. */
  tap: string;
  /** True if that tap has the two axes of the shape the other way round. */
  isTransposed?: boolean;
  shape: Shape;
  /** The weight of a block whose values precede a first token, if the model has it; else zeros do. */
  start?: (block: number) => string;
}

/** Values that follow from the config alone. */
export interface Table {
  shape: Shape;
  values: Int32Array | Float32Array;
}

/** How a matrix is stored in a quantised GGUF file, as llama.cpp's quantiser does; see `gguf/types.ts`. */
export type QuantClass =
  /** F32 in every type. */
  | 'exact'
  /** As the type for f32 and f16, else BF16: kernels that have no quantised form. */
  | 'half'
  /** The type's own. */
  | 'usual'
  /** More bits in some of the layers of a mixed type; `layer` of `layers`. */
  | { layer: number; layers: number };

/** How a family's checkpoints are stored. */
export interface Layouts<C extends ModelConfig = ModelConfig> {
  /**
   * Names of the layout of a folder, and its tensors under the transformers layout's names. Throws
   * `MISSING_TENSOR`, `BAD_CHECKPOINT`.
   */
  folder(stored: Checkpoint, config: C): { layout: string; checkpoint: Checkpoint };
  gguf: GgufLayout<C>;
}

/** One family of models. */
export interface Architecture<C extends ModelConfig = ModelConfig> {
  /** Its plain data: names, roles, words, presets. */
  readonly family: Family;
  /** Validates a parsed `config.json`. Throws `BAD_CONFIG`. @param where the file, for messages. */
  parseConfig(json: Record<string, unknown>, where: string): C;
  /**
   * The smallest model of a `model_type`, of two blocks: any later one is like the second. Dumps without a
   * model are read by its edges.
   */
  example(modelType: string): C;
  /** Sizes of the axes that the model file names, `T` and `S` aside. */
  axes(config: C): Readonly<Record<string, number>>;
  /** Widths of what a segment hands to the next, F32 [N, width], by name. `hidden` is the residual stream. */
  states(config: C): Readonly<Record<string, number>>;
  /** By name, in the order in which a block reads them. */
  histories(config: C): Readonly<Record<string, History>>;
  attention(config: C, layerType: string): AttentionRule;
  /**
   * The configuration with another rotary embedding of a layer type: base of the angles, share of each head;
   * what the family cannot say stays.
   */
  withRope(config: C, layerType: string, change: { theta?: number; share?: number }): C;
  /**
   * Classes that a router chooses among, the one that runs no expert included; 0 in a model without experts.
   */
  classes(config: C): number;
  /** Constants of the model file besides `mask`, `cos` and `sin`. */
  tables(config: C): Readonly<Record<string, Table>>;
  /** The model file: `tokens` I32 [N] becomes the state `hidden`. */
  embedding(context: ModelContext<C>, tokens: Tensor): void;
  /** Reads and replaces the states. */
  block(context: ModelContext<C>, layer: number): void;
  /** Logits F32 [rows, V] of the rows that `rows` picks from [N, H]. */
  head(context: ModelContext<C>, rows: (hidden: Tensor) => Tensor): Tensor;
  /**
   * Starts of the names of a block's weights in the order in which the reference declares its modules: files
   * are written in it.
   */
  readonly declared: readonly string[];
  quantClass(tensor: RequiredTensor, config: C): QuantClass;
  /**
   * The weight by which a block's router can choose to run no expert; absent in families without such a
   * choice.
   */
  skipBiases?(block: number): string;
  /**
   * What `inspect` says of attention and experts besides the sizes that every model has, to be appended to
   * those.
   */
  describe(config: C): { attention: string; experts: string };
}
