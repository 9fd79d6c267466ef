/**
 * A seeded generator of uniform numbers in [0, 1) with 53 random bits: xoshiro128** (Blackman and Vigna,
 * https://prng.di.unimi.it/), its state filled from the seed by SplitMix32. The same seed gives the same
 * numbers on every machine.
 *
 * @param seed an integer from 0 to 2^32 - 1.
 */
export function seededRandom(seed: number): () => number {
  const [a, b, c, d] = splitMix(seed) as [number, number, number, number];
  const state: [number, number, number, number] = [a, b, c, d];
  return () => {
    const high = nextWord(state) >>> 5;
    const low = nextWord(state) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

/** Four words that are never all zero, which would be xoshiro's only fixed point. */
function splitMix(seed: number): number[] {
  let state = seed >>> 0;
  return [0, 1, 2, 3].map(() => {
    state = (state + 0x9e3779b9) >>> 0;
    let word = state;
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  });
}

function nextWord(state: [number, number, number, number]): number {
  const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotate(state[3], 11);
  return result;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
