/** How a family's models lie in GGUF files. */
import type { Dtype } from '../../dtype.js';
import type { GgufValue } from '../../native.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import type { GgufTensorSpec } from '../../weights/gguf-write.js';
import type { ModelConfig, RequiredTensor } from '../runtime/architecture.js';
import type { GgufType } from './types.js';

/** A tensor that the rows of its matrix forced to another dtype than its type asks for. */
export interface DtypeFallback {
  /** GGUF name. */
  tensor: string;
  columns: number;
  wanted: Dtype;
  used: Dtype;
}

/** What a GGUF file of a model will hold. */
export interface GgufPlan {
  metadata: Record<string, GgufValue>;
  /** In the order of the file; `source` is the same tensor in the transformers layout. */
  tensors: readonly (GgufTensorSpec & { source: RequiredTensor })[];
  fallbacks: readonly DtypeFallback[];
}

/** A GGUF file as a model of the transformers layout. */
export interface GgufModel<C extends ModelConfig = ModelConfig> {
  /** Which of the family's ways to store a model. */
  dialect: string;
  config: C;
  /** Tensors under the transformers layout's names; those that the model does not use keep their own. */
  checkpoint: Checkpoint;
}

/** A family's GGUF files. */
export interface GgufLayout<C extends ModelConfig = ModelConfig> {
  /**
   * Presents config and tensors in the transformers layout. Reads no data.
   * @param stored the tensors, of all parts. @throws `BAD_CHECKPOINT`, `BAD_CONFIG`, `MISSING_TENSOR`.
   */
  open(gguf: GgufHeader, stored: Checkpoint, file: string): GgufModel<C>;
  /**
   * Lays out a model as the public programs read it.
   * @param config of what is written: vocabulary trimmed, head tied or not. @param name for `general.name`.
   * @param tokenizer keys of an embedded tokenizer; without any, the file says that it has none. @throws
   * `BAD_CONFIG` for a model that the files cannot express.
   */
  plan(
    config: C,
    type: GgufType,
    name: string,
    tokenizer: Readonly<Record<string, GgufValue>> | undefined,
  ): GgufPlan;
}
