/** A seeded generator of numbers (mulberry32): the same cases on every machine. */
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  /** An integer from 0 to `n - 1`. */
  const below = (n) => Math.floor(next() * n);
  /** One entry of a list. */
  const pick = (list) => list[below(list.length)];
  /** True in one of `n` cases. */
  const oneIn = (n) => below(n) === 0;
  return { next, below, pick, oneIn };
}

/** The seed of one case: any case runs alone by its number. */
export function caseSeed(seed, number) {
  return (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(number + 1, 0xc2b2ae35)) >>> 0;
}
