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

/** The name of a tensor of `CallInputs` that differs by layer type. */
export function perType(name: 'mask' | 'cos' | 'sin', type: string): string {
  return `${name}:${type}`;
}
