import { changedExperts } from '../../../diff/routing.js';

/** Energies of a value's error and of the reference, by token. */
export class TokenErrors {
  readonly errors: Float64Array;
  readonly sizes: Float64Array;

  constructor(tokens: number) {
    this.errors = new Float64Array(tokens);
    this.sizes = new Float64Array(tokens);
  }

  /** Adds the rows of tokens from `first` on. */
  add(reference: Float32Array, values: Float32Array, rows: number, first: number): void {
    const width = reference.length / rows;
    for (let row = 0, at = 0; row < rows; row++) {
      let [error, size] = [0, 0];
      for (const end = at + width; at < end; at++) {
        const difference = values[at]! - reference[at]!;
        error += difference * difference;
        size += reference[at]! * reference[at]!;
      }
      this.errors[first + row] = error;
      this.sizes[first + row] = size;
    }
  }

  /** Energy NMSE over all tokens. */
  nmse(): number {
    return this.nmseOver(() => true) ?? 0;
  }

  /** Energy NMSE over the tokens that `wanted` takes; null without any. */
  nmseOver(wanted: (token: number) => boolean): number | null {
    const sum = (values: Float64Array) =>
      values.reduce((all, value, token) => (wanted(token) ? all + value : all), 0);
    return this.errors.some((_, token) => wanted(token)) ? ratio(sum(this.errors), sum(this.sizes)) : null;
  }

  /** Energy NMSE of a token's row. */
  tokenNmse(token: number): number {
    return ratio(this.errors[token]!, this.sizes[token]!);
  }
}

/** Added to errors that are divided: what F32 arithmetic in another order may leave. */
const F32_NMSE = 1e-12;

/** Which token stands for all: of those with few errors, which flips elsewhere have hardly touched. */
const QUARTILE = 0.25;

/**
 * The lower quartile, over the tokens that `isKept` takes, of a token's energy NMSE by `usual`; null without
 * any. See `TapNoiseRuns.smooth`.
 */
export function smoothRatio(
  errors: TokenErrors,
  usual: readonly number[],
  isKept: (token: number) => boolean,
): number | null {
  const ratios = usual
    .map((median, token) => (errors.tokenNmse(token) + F32_NMSE) / (median + F32_NMSE))
    .filter((_, token) => isKept(token))
    .sort((a, b) => a - b);
  if (ratios.length === 0) return null;
  const place = QUARTILE * (ratios.length - 1);
  const below = Math.floor(place);
  const above = ratios[Math.min(below + 1, ratios.length - 1)]!;
  return ratios[below]! + (above - ratios[below]!) * (place - below);
}

function ratio(error: number, size: number): number {
  if (error === 0) return 0;
  return size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

/** Tokens of a block's choices [rows, experts a token] whose set of experts differs. */
export function flippedTokens(reference: Int32Array, chosen: Int32Array, rows: number): number[] {
  const width = reference.length / rows;
  const of = (experts: Int32Array, row: number) => [...experts.subarray(row * width, (row + 1) * width)];
  return Array.from({ length: rows }, (_, row) => row).filter(
    (row) => changedExperts(of(reference, row), of(chosen, row)).length > 0,
  );
}
