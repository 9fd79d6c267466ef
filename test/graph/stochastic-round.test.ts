import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { type HalfDtype, RANDOM_BITS, stochasticRound } from '../../src/graph/stochastic-round.js';
import { randomValues } from '../../src/models/runtime/random-leaf.js';
import { pythonJson } from '../reference/python.js';
import { Random } from './random.js';

let backend: Backend;
beforeAll(() => {
  backend = openBackend('cpu', { threads: 1 });
});
afterAll(() => backend.close());

async function rounded(x: Float32Array, random: Float32Array, dtype: HalfDtype): Promise<Float32Array> {
  const graph = new Graph('rounding');
  const shape = [x.length];
  graph.output('y', stochasticRound(graph.input('x', 'F32', shape), graph.input('u', 'F32', shape), dtype));
  const compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  only.setInput('x', x);
  only.setInput('u', random);
  await backend.native.compute([only.native]);
  const result = new Float32Array(only.outputs()[0]!.bytes.slice().buffer);
  compiled.close();
  return result;
}

const bitsOf = (values: Float32Array) => Array.from(new Uint32Array(values.buffer));
const fromBits = (bits: readonly number[]) => new Float32Array(Uint32Array.from(bits).buffer);

/** Numbers of every exponent that is no subnormal of F32, with random digits and signs. */
function wide(count: number, seed: number, lowest: number, highest: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => {
    const exponent = lowest + Math.floor(random.unit() * (highest - lowest + 1));
    return Math.fround((random.unit() < 0.5 ? -1 : 1) * (1 + random.unit()) * 2 ** exponent);
  });
}

/** Where grids change: powers of two and their neighbours in F32, ties, the largest values, zeros. */
const EDGES = [
  0,
  -0,
  ...[-126, -24, -25, -14, -15, -1, 0, 1, 7, 15, 100, 127].flatMap((exponent) => {
    const power = 2 ** exponent;
    const near = [power, power * (1 + 2 ** -23), power * (1 + 2 ** -9), power * (1 + 2 ** -8)];
    const tie = power * (1 + 2 ** -12);
    return [...near, tie, ...(exponent > -126 ? [power * (1 - 2 ** -24), power * (1 - 2 ** -10)] : [])];
  }),
  ...[65504, 65505, 65519, 65520, 65535, 65536, 3e38, 3.3895e38, 3.4e38, Infinity, NaN],
  ...[1e-9, 2 ** -48, 5.9e-8, 6e-8, 6.1e-5, 2 ** -126],
].flatMap((value) => [value, -value]);

describe.each(['BF16', 'F16'] as const)('rounding to %s up or down', (dtype) => {
  const unit = 2 ** -RANDOM_BITS[dtype];

  it('gives the bits of the definition, in every range of the dtype', async () => {
    const random = new Random(3);
    const values = [...wide(1500, 1, -126, 127), ...wide(1500, 2, -30, 16)];
    for (const edge of EDGES) for (let k = 0; k < 8; k++) values.push(edge);
    const x = Float32Array.from(values);
    const u = Float32Array.from(x, (_, at) =>
      at % 4 === 0 ? [0, 1 - unit, unit, 0.5][(at >> 2) % 4]! : Math.floor(random.unit() / unit) * unit,
    );
    const result = await rounded(x, u, dtype);
    const expected = fromBits(
      pythonJson<number[]>(
        ['test/graph/stochastic_round.py'],
        JSON.stringify({ dtype, bits: bitsOf(x), random: Array.from(u) }),
      ),
    );
    const wrong = values.flatMap((value, at) =>
      Object.is(result[at], expected[at]) ? [] : [[value, u[at], result[at], expected[at]]],
    );
    expect(wrong).toEqual([]);
    expect(expected.some((value, at) => Number.isFinite(value) && value !== x[at])).toBe(true);
  });

  it('keeps what the dtype holds, whatever the random number', async () => {
    const every = Float32Array.from({ length: 65536 }, (_, bits) => halfValue(dtype, bits));
    for (const u of [0, unit, 0.5, 1 - unit]) {
      const result = await rounded(every, new Float32Array(every.length).fill(u), dtype);
      // BF16 has subnormals of F32, which some processors cast to 0.
      const kept = (at: number) =>
        Object.is(result[at], every[at]) || (dtype === 'BF16' && Math.abs(every[at]!) < 2 ** -126);
      expect([...every.keys()].filter((at) => !kept(at))).toEqual([]);
    }
  });

  it('goes up exactly as often as it should over all random numbers', async () => {
    const steps = 65536;
    const u = Float32Array.from({ length: steps }, (_, k) => k / steps);
    const cut = dtype === 'BF16' ? 2 ** -23 : 2 ** -20;
    for (const part of [1, 2, 3, 1001, 4096, 5000]) {
      const value = Math.fround(1 + part * cut);
      const gap = dtype === 'BF16' ? 2 ** -7 : 2 ** -10;
      const odds = (value - Math.floor((value - 1) / gap) * gap - 1) / gap;
      const result = await rounded(new Float32Array(steps).fill(-value), u, dtype);
      const low = -(1 + Math.floor((value - 1) / gap) * gap);
      const beyond = result.filter((each) => each !== low).length;
      expect(beyond / steps, `${part}`).toBe(odds);
    }
  });

  it('is unbiased over seeds: the means lie within their standard errors', async () => {
    const x = Float32Array.from([...wide(400, 9, -3, 3), ...wide(100, 10, -22, -12)]);
    const sums = new Float64Array(x.length);
    const seeds = 400;
    const sizes = { batch: 1, tokens: x.length, span: x.length, padded: false };
    for (let seed = 1; seed <= seeds; seed++) {
      const leaf = { site: 'a#round', dtype, shape: [x.length], tokens: undefined };
      const result = await rounded(x, randomValues(seed, leaf, sizes, { past: 0, padding: [] }), dtype);
      for (let k = 0; k < x.length; k++) sums[k]! += result[k]! - x[k]!;
    }
    const digits = dtype === 'BF16' ? 7 : 10;
    const scores = Array.from(x).flatMap((value, k) => {
      const exponent = Math.floor(Math.log2(Math.abs(value))) - digits;
      const gap = 2 ** (dtype === 'F16' ? Math.max(exponent, -24) : exponent);
      const odds = (value / gap) % 1;
      const part = odds < 0 ? odds + 1 : odds;
      // So that the mean of 400 draws is near enough to normal.
      return part < 0.05 || part > 0.95 ? [] : [sums[k]! / (gap * Math.sqrt(part * (1 - part) * seeds))];
    });
    expect(scores.length).toBeGreaterThan(420);
    // Standard normal: none of 450 beyond 4.5, their mean within 4 of its errors, their variance 1.
    expect(Math.max(...scores.map(Math.abs))).toBeLessThan(4.5);
    const mean = scores.reduce((sum, z) => sum + z, 0) / scores.length;
    expect(Math.abs(mean) * Math.sqrt(scores.length)).toBeLessThan(4);
    const variance = scores.reduce((sum, z) => sum + z * z, 0) / scores.length;
    expect(variance).toBeGreaterThan(0.75);
    expect(variance).toBeLessThan(1.25);
  });
});

/** The value of 16 bits, from their fields. */
function halfValue(dtype: HalfDtype, bits: number): number {
  if (dtype === 'BF16') return fromBits([(bits << 16) >>> 0])[0]!;
  const [sign, exponent, digits] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return digits === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * digits * 2 ** -24 : sign * (1 + digits / 1024) * 2 ** (exponent - 15);
}
