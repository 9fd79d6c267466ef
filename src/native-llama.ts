/** What the addon exports of libllama, and of single nodes of its graphs; see `native.ts`. */

/**
 * A tensor of a graph that libllama runs, or a value of one. Described when a graph reaches it; the value of
 * a node comes later, without the description.
 */
export interface NativeRecorded {
  /** Number within the context: in the order of the descriptions. */
  id: number;
  /** Number of the graph, from 0. */
  graph: number;
  /** Sizes of the tensor; of the value of a `SET_ROWS`, those of the rows that it wrote. */
  ne: number[];
  /**
   * `node` computes, `view` does not; `weight`; `input` is given anew for each graph; `state` is kept between
   * graphs. Absent for a value.
   */
  kind?: 'node' | 'view' | 'weight' | 'input' | 'state';
  name?: string;
  op?: string;
  type?: number;
  /** `op_params` in hex, zero bytes at its end cut. */
  params?: string;
  flags?: number;
  src?: (number | null)[];
  nb?: number[];
  viewSrc?: number;
  viewOffs?: number;
  buffer?: string;
  /** Elements in order without gaps: of a node, or of a leaf that has memory. */
  bytes?: Uint8Array;
  /** A state of zeros, whose bytes are left out. */
  isZero?: boolean;
}

/** What {@link NativeLlama.decode} tells of the graphs: nothing, their tensors, or values too. */
export const LLAMA_MODE = { off: 0, structure: 1, values: 2 } as const;

/** A model that libllama runs on the CPU. It aborts the process on some bad files: use it in a child. */
export interface NativeLlama {
  /** Tokens of the vocabulary. */
  readonly vocabulary: number;
  /** libllama's words for the model, e.g. `qwen3 0.6B Q8_0`. */
  readonly description: string;
  /** How many tensors and values were sent so far; they may still be on their way to `onTensor`. */
  readonly sent: number;
  /** How many values have been put since `start`. */
  readonly grafted: number;
  /** A fresh context, without memory of earlier calls. Types are ggml's numbers. */
  start(options: {
    /** Positions that a sequence may have. */
    context: number;
    sequences: number;
    /** One cache for all sequences. */
    unified: boolean;
    ubatch: number;
    threads: number;
    flashAttention: boolean;
    keyType: number;
    valueType: number;
  }): void;
  /**
   * Runs tokens, each at a position of a sequence, off the JavaScript thread. @returns logits, a row a token.
   */
  decode(
    tokens: readonly number[],
    positions: readonly number[],
    sequences: readonly number[],
    mode: 0 | 1 | 2,
  ): Promise<Float32Array>;
  /** Reads only the values of these tensors, by id, until the next `start`. Default: all. */
  want(ids: readonly number[]): void;
  /** Lets go of the memory of a value: its array has no length from then on. */
  free(bytes: Uint8Array): void;
  /**
   * Bytes (elements in ggml's order; of a `SET_ROWS` the rows that it writes) to put into a node, by the id
   * that it was told with, when it has run. A wrong size fails the call (`BAD_ARGUMENT`).
   */
  graft(id: number, bytes: Uint8Array): void;
  /** So many bytes of values are done with; beyond 256 MiB the model waits for this. */
  release(bytes: number): void;
  /** Ends the call in flight (`CANCELLED`). */
  cancel(): void;
  close(): void;
}

/** Memory of a replayed node, and the tensors in it. */
export interface NativeReplayTensor {
  /** Index of the bytes that hold it, and where in them. */
  root: number;
  offset: number;
  type: number;
  ne: readonly number[];
  nb: readonly number[];
}
