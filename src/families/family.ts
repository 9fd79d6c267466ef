/** The roles that readers of this version know. */
export const ROLE_NAMES = [
  'residual',
  'logits',
  'router.expert',
  'router.probabilities',
  'router.margin',
  'attention.weights',
  'mask',
  'cache.key',
  'cache.value',
  'state',
] as const;

/**
 * - `residual`: the stream that a block passes on; `logits`: one per token of the vocabulary, before any
 *   soft-max.
 * - `router.expert`: the experts that a token takes (integers); `router.probabilities`: what they are chosen
 *   by, biases included;
 *   `router.margin`: how far the choice was ahead of the next expert.
 * - `attention.weights`: after the soft-max; `mask`: what is added to scores before it.
 * - `cache.key`, `cache.value`, `state`: what a sequence leaves for its next step.
 */
export type RoleName = (typeof ROLE_NAMES)[number];

/**
 * What is known of a family of models by names alone: plain data, so that dumps, diffs and graphs can use it
 * without a model file.
 */
export interface Family {
  /** As a name map's `family` says it. */
  readonly name: string;
  /** `model_type` of its configs, and `model.type` of its dumps. */
  readonly types: readonly string[];
  /** `general.architecture` of its GGUF files. */
  readonly gguf: readonly string[];
  /** Which taps play which role (`docs/dump-format.md`), as tap patterns. */
  readonly roles: { readonly [role in RoleName]?: string };
  /**
   * Its taps in execution order, as patterns of names: those of a block repeat for each block, which they
   * find by `{l}`. Caches and states stand where they are written.
   */
  readonly order: readonly string[];
  /** Values that help texts name: one op to reproduce, one value to stop at. */
  readonly examples: { readonly op: string; readonly breakpoint: string };
  /**
   * For ops that a dump of the family shows operands of: their taps in a block, by operand
   * (`src/conformance/captured.ts`).
   */
  readonly operands: { readonly [op: string]: { readonly [operand: string]: string } };
  /** Presets of dtype policies besides those of every family, by name (`src/graph/policy.ts`). */
  readonly policies: Readonly<
    Record<
      string,
      {
        readonly name: string;
        readonly description: string;
        readonly rules: readonly { readonly sites: string; readonly set: string }[];
      }
    >
  >;
  /**
   * Taps of attention without their block: queries and keys as the scores take them, values, and what comes
   * out, all [T, heads, d]; `weights` after the soft-max. Absent where a family has no such taps.
   */
  readonly attention?: Readonly<Record<'queries' | 'keys' | 'values' | 'weights' | 'output', string>>;
  /** What is known of axes besides those of every family (`axes.ts`), by name. */
  readonly axes: {
    /** Factors of axes that join heads and channels without saying so in their name. */
    readonly parts: Readonly<Record<string, readonly string[]>>;
    /** What entries are called, one and several. */
    readonly entries: Readonly<Record<string, readonly [one: string, many: string]>>;
    /** Words for the halves of an axis `2X`, by `X`. */
    readonly halves: Readonly<Record<string, string>>;
    /**
     * Where the last class of the router runs no expert: the axis of classes, and the constant that is 0 for
     * that class and 1 for others.
     */
    readonly classes?: { readonly axis: string; readonly keep: string };
  };
  /**
   * Modules inside those of a block that are parts of their own where policies are cut or attributed, as
   * patterns without the block.
   */
  readonly parts: readonly string[];
  /** True if the last class of the router runs no expert. */
  readonly hasSkipClass: boolean;
  /**
   * States besides keys and values that `stateView` draws, by what it calls them: the tap without its block,
   * and names of its axes.
   */
  readonly states: Readonly<Record<string, { readonly tap: string; readonly axes: readonly string[] }>>;
  /**
   * What the ops are called in sentences, and what to look at where one is wrong: by the tap that each makes,
   * without its block ('' is the block's output).
   */
  readonly words: Readonly<Record<string, readonly [name: string, check: string]>>;
}
