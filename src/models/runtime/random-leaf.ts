/**
 * Random numbers of stochastic rounding: leaves of the graphs, filled before each run from a generator that
 * counts. A number depends on the seed, the site, the position of its token and its place in the token's
 * values, so that a prompt is rounded the same in one call and in several, alone and in a batch.
 */

import type { Shape } from '../../graph/shape.js';
import { type HalfDtype, RANDOM_BITS } from '../../graph/stochastic-round.js';
import type { CallSizes } from './call-sizes.js';
import type { CallPlace } from './inputs.js';

/**
 * Where the tokens of a value are: by default rows [N, ..], or one of each sequence's last token; `axis`: of
 * a value [B, ..] whose axis holds the tokens, after `lead` that the calls before had.
 */
export interface TokenAxis {
  axis: number;
  lead?: number;
}

/** A leaf of random numbers for a value. */
export interface RandomLeaf {
  /** Name of the graph's input. */
  name: string;
  /** What is rounded: sites of one name get the same numbers. */
  site: string;
  dtype: HalfDtype;
  shape: Shape;
  tokens: TokenAxis | undefined;
}

/** Multiples of 2^−16 (BF16) or 2^−24 (F16) in [0, 1) for each element of the value. */
export function randomValues(
  seed: number,
  { site, dtype, shape, tokens }: Omit<RandomLeaf, 'name'>,
  sizes: CallSizes,
  place: CallPlace,
): Float32Array {
  const width = shape.length === 1 ? 1 : shape.at(-1)!;
  const rows = shape.reduce((product, size) => product * size, 1) / width;
  const values = new Float32Array(rows * width);
  const shift = 32 - RANDOM_BITS[dtype];
  const unit = 2 ** -RANDOM_BITS[dtype];
  const first = textKey(site, mix(seed));
  const second = textKey(site, mix(seed ^ 0x5bf03635));
  const placeOf = rowPlaces(shape, tokens, sizes, place);
  for (let row = 0, at = 0; row < rows; row++) {
    const { position, part } = placeOf(row);
    // Two words of 32 bits: rows share a stream only where both are equal.
    const a = mix(mix(first ^ position) + part);
    const b = mix(mix(second + position) ^ part);
    for (let column = 0; column < width; column++) values[at++] = (mix(mix(a + column) ^ b) >>> shift) * unit;
  }
  return values;
}

/** The position of a row's token in its sequence, and the number of the row among the token's. */
function rowPlaces(
  shape: Shape,
  tokens: TokenAxis | undefined,
  { batch, tokens: count }: CallSizes,
  { past, padding }: CallPlace,
): (row: number) => { position: number; part: number } {
  const position = (sequence: number, token: number) => past + token - (padding[sequence] ?? 0);
  const product = (sizes: Shape) => sizes.reduce((all, size) => all * size, 1);
  if (tokens === undefined) {
    const parts = product(shape.slice(1, -1));
    const isLast = shape[0] !== batch * count;
    return (row) => {
      const index = Math.floor(row / parts);
      const [sequence, token] = isLast ? [index, count - 1] : [Math.floor(index / count), index % count];
      return { position: position(sequence, token), part: row % parts };
    };
  }
  const { axis, lead = 0 } = tokens;
  const [inner, own, outer] = [
    product(shape.slice(axis + 1, -1)),
    shape[axis]!,
    product(shape.slice(1, axis)),
  ];
  return (row) => {
    const index = Math.floor(row / inner);
    const before = Math.floor(index / own);
    return {
      position: position(Math.floor(before / outer), (index % own) - lead),
      part: (before % outer) * inner + (row % inner),
    };
  };
}

/** A bijection of 32-bit words whose result looks random (Wellons' hash-prospector, `triple32`). */
function mix(word: number): number {
  let x = word;
  x ^= x >>> 17;
  x = Math.imul(x, 0xed5ad4bb);
  x ^= x >>> 11;
  x = Math.imul(x, 0xac4c1b51);
  x ^= x >>> 15;
  x = Math.imul(x, 0x31848bab);
  return x ^ (x >>> 14);
}

function textKey(text: string, start: number): number {
  let key = start;
  for (let at = 0; at < text.length; at++) key = mix(key ^ text.charCodeAt(at)) + at;
  return mix(key);
}
