import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/text/random.js';
import { greedy, type SamplingOptions, sampler } from '../../src/text/sampling.js';

/** Share of each token in many draws. */
function shares(logits: number[], options: SamplingOptions, draws = 20_000): number[] {
  const draw = sampler(options);
  const counts = logits.map(() => 0);
  for (let k = 0; k < draws; k++) counts[draw(Float32Array.from(logits))]!++;
  return counts.map((count) => count / draws);
}

function softMax(logits: number[]): number[] {
  const weights = logits.map(Math.exp);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Four standard deviations of a share of 20,000 draws are below 0.0142. */
const NEAR = 0.0142;

function expectNear(got: number[], wanted: number[]): void {
  for (const [at, share] of got.entries()) expect(Math.abs(share - wanted[at]!)).toBeLessThan(NEAR);
}

describe('random numbers', () => {
  it('are those of xoshiro128** for a known state', () => {
    // The state from seed 0, and the first words of the published algorithm computed in Python with integers.
    const draw = seededRandom(0);
    expect([draw(), draw(), draw()]).toEqual([0.41675133265905573, 0.5870561741002205, 0.2650367332581032]);
  });

  it('differ by seed and lie in [0, 1), evenly', () => {
    const draw = seededRandom(7);
    const values = Array.from({ length: 10_000 }, draw);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    expect(Math.abs(values.reduce((a, b) => a + b) / values.length - 0.5)).toBeLessThan(0.012);
    expect(seededRandom(8)()).not.toBe(values[0]);
  });
});

describe('greedy choice', () => {
  it('takes the largest logit, of equal ones the first', () => {
    expect(greedy(Float32Array.of(1, 3, 3, 2))).toBe(1);
    expect(greedy(Float32Array.of(Number.NEGATIVE_INFINITY, -5))).toBe(1);
  });

  it.each([
    ['NaN', [1, Number.NaN, 2]],
    ['+Infinity', [1, Number.POSITIVE_INFINITY]],
    ['only -Infinity', [Number.NEGATIVE_INFINITY]],
    ['none', []],
  ])('refuses logits with %s', (_what, logits) => {
    const refused = expect.objectContaining({ code: 'BACKEND' });
    expect(() => greedy(Float32Array.from(logits))).toThrow(refused);
    expect(() => sampler({})(Float32Array.from(logits))).toThrow(refused);
  });
});

describe('sampling', () => {
  const logits = [2, 0, 1, 1, -1];

  it('draws each token with its probability', () => {
    expectNear(shares(logits, { seed: 1 }), softMax(logits));
  });

  it('divides by the temperature', () => {
    const scaled = logits.map((logit) => logit / 0.5);
    expectNear(shares(logits, { temperature: 0.5, seed: 2 }), softMax(scaled));
  });

  it('keeps the top k, of equal ones the first', () => {
    const [a, c] = softMax([2, 1]);
    expectNear(shares(logits, { topK: 2, seed: 3 }), [a!, 0, c!, 0, 0]);
    expect(shares(logits, { topK: 1, seed: 3 }, 50)).toEqual([1, 0, 0, 0, 0]);
    expectNear(shares(logits, { topK: 99, seed: 3 }), softMax(logits));
  });

  it('keeps the fewest tokens that reach top p, with the one that reaches it', () => {
    // Probabilities 0.521, 0.070, 0.192, 0.192, 0.026.
    expect(shares(logits, { topP: 0.5, seed: 4 }, 50)).toEqual([1, 0, 0, 0, 0]);
    const [a, c, d] = softMax([2, 1, 1]);
    expectNear(shares(logits, { topP: 0.8, seed: 4 }), [a!, 0, c!, d!, 0]);
    const [b, e] = softMax([2, 1]);
    expectNear(shares(logits, { topP: 0.6, seed: 4 }), [b!, 0, e!, 0, 0]);
  });

  it('applies top p to what top k left', () => {
    // Of the top two, 0.731 and 0.269, the first alone reaches 0.7; of all tokens it does not.
    expect(shares(logits, { topK: 2, topP: 0.7, seed: 5 }, 50)).toEqual([1, 0, 0, 0, 0]);
  });

  it('keeps the same nucleus as sorting everything', () => {
    const random = seededRandom(11);
    for (let round = 0; round < 50; round++) {
      const values = Float32Array.from({ length: 200 }, () => random() * 12);
      const topP = 0.05 + 0.9 * random();
      const probabilities = softMax([...values]);
      const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
      const nucleus = new Set<number>();
      let reached = 0;
      for (const id of order) {
        if (reached >= topP) break;
        nucleus.add(id);
        reached += probabilities[id]!;
      }
      const draw = sampler({ topP, seed: round });
      for (let k = 0; k < 30; k++) expect(nucleus.has(draw(values))).toBe(true);
    }
  });

  it('repeats with the same seed', () => {
    const run = (seed: number) => {
      const draw = sampler({ seed });
      return Array.from({ length: 30 }, () => draw(Float32Array.from(logits)));
    };
    expect(run(9)).toEqual(run(9));
    expect(run(9)).not.toEqual(run(10));
  });

  it.each<[string, SamplingOptions]>([
    ['a temperature of 0', { temperature: 0 }],
    ['a NaN temperature', { temperature: Number.NaN }],
    ['a top k of 0', { topK: 0 }],
    ['a fractional top k', { topK: 1.5 }],
    ['a top p of 0', { topP: 0 }],
    ['a top p above 1', { topP: 1.01 }],
    ['a negative seed', { seed: -1 }],
    ['a seed of 33 bits', { seed: 2 ** 32 }],
  ])('refuses %s', (_what, options) => {
    expect(() => sampler(options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
