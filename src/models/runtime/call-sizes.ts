/** Sizes of a forward call. */
export interface CallSizes {
  /** Sequences, B. */
  batch: number;
  /** Tokens of each, T. */
  tokens: number;
  /** Positions that attention reads, S: `tokens` without a cache. */
  span: number;
  /** True if sequences may start with padding. */
  padded: boolean;
}

/** Constants of a call that differ by layer type. */
export const TYPE_CONSTANTS = ['mask', 'cos', 'sin', 'cos_product', 'sin_product'] as const;
export type TypeConstant = (typeof TYPE_CONSTANTS)[number];

/** The name of a tensor of `CallInputs` that differs by layer type. */
export function perType(name: TypeConstant, type: string): string {
  return `${name}:${type}`;
}
