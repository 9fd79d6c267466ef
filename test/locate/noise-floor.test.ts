import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { Dump } from '../../src/dump/reader.js';
import { judge, noiseRatio } from '../../src/locate/faults/verdict.js';
import { commonRows } from '../../src/locate/noise/common-rows.js';
import { noiseFloor, TapNoiseSums } from '../../src/locate/noise/noise-floor.js';
import { openModel } from '../../src/models/runtime/model.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-noise-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Reproducible numbers, normally distributed. */
function normals(seed: number, count: number): Float64Array {
  let state = seed;
  const uniform = () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return (state + 0.5) / 2 ** 32;
  };
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const COUNT = 20_000;
const values = Float32Array.from(normals(1, COUNT));
const noisy = (seed: number, size: number, offset = 0) => {
  const errors = normals(seed, COUNT);
  return values.map((value, k) => value + size * errors[k]! + offset);
};

function noiseOf(tested: Float32Array, low = noisy(2, 1e-3)) {
  const sums = new TapNoiseSums({ name: 'norm', block: null });
  // in two parts, as a stream brings them
  for (const [from, to] of [
    [0, 777],
    [777, COUNT],
  ])
    sums.add(values.subarray(from, to), low.subarray(from, to), tested.subarray(from, to));
  return sums.report();
}

describe('a tap beside the noise', () => {
  it('with an error of the same size and shape is within noise', () => {
    const { ratio, bhattacharyya, verdict } = noiseOf(noisy(3, 1e-3));
    expect(ratio).toBeCloseTo(1, 1);
    expect(bhattacharyya).toBeGreaterThan(0.99);
    expect(verdict).toBe('within noise');
  });

  it('with twice the error is above noise, with ten times broken', () => {
    expect(noiseOf(noisy(3, 2e-3))).toMatchObject({ verdict: 'above noise' });
    expect(noiseOf(noisy(3, 2e-3)).bhattacharyya).toBeLessThan(0.99);
    expect(noiseOf(noisy(3, 1e-2))).toMatchObject({ verdict: 'broken' });
  });

  it('with errors of one sign has another histogram, though the same size', () => {
    const { ratio, bhattacharyya } = noiseOf(noisy(3, 1e-4, 1e-3));
    expect(ratio).toBeCloseTo(1, 1);
    expect(bhattacharyya).toBeLessThan(0.75);
  });

  it('without error is identical, with NaN broken', () => {
    expect(noiseOf(values)).toMatchObject({ nmse: 0, ratio: 0, verdict: 'identical' });
    const broken = Float32Array.from(values);
    broken[5] = Number.NaN;
    expect(noiseOf(broken)).toMatchObject({ nmse: Number.POSITIVE_INFINITY, verdict: 'broken' });
  });

  it('without noise is broken by any error', () => {
    expect(noiseOf(noisy(3, 1e-6), values)).toMatchObject({
      ratio: Number.POSITIVE_INFINITY,
      verdict: 'broken',
    });
    expect(noiseOf(values, values)).toMatchObject({ ratio: 0, bhattacharyya: 1, verdict: 'identical' });
  });
});

describe('verdicts', () => {
  it('follow the ratio of the errors, not of their energies', () => {
    expect(noiseRatio(9, 1)).toBe(3);
    expect(judge({ nmse: 2.25, noiseNmse: 1 })).toBe('within noise');
    expect(judge({ nmse: 2.26, noiseNmse: 1 })).toBe('above noise');
    expect(judge({ nmse: 2.26, noiseNmse: 1, bhattacharyya: 0.99 })).toBe('within noise');
    expect(judge({ nmse: 9.01, noiseNmse: 1, bhattacharyya: 1 })).toBe('broken');
  });

  it('without a floor follow fixed thresholds', () => {
    expect([0, 1e-8, 1.1e-8, 1e-2, 1.1e-2].map((nmse) => judge({ nmse }))).toEqual([
      'identical',
      'within noise',
      'above noise',
      'above noise',
      'broken',
    ]);
  });
});

describe('three dumps', () => {
  const open = (name: string) => Dump.open(join(tiny, name));

  it('tell that our BF16 is within the noise of the BF16 of transformers', async () => {
    using model = await openModel(join(tiny, 'model'), { policy: 'pytorch-bf16' });
    await using reference = await open('reference-float32');
    await using low = await open('reference-bfloat16');
    const out = join(scratch, 'ours');
    await capture(
      model,
      reference.manifest.sequences.map(({ tokens }) => tokens!),
      { out },
    );
    await using ours = await Dump.open(out);
    const report = await noiseFloor(reference, low, ours);
    expect(report.length).toBeGreaterThan(340);
    expect(report.filter(({ verdict }) => verdict === 'above noise' || verdict === 'broken')).toEqual([]);
    expect(report.filter(({ bhattacharyya }) => bhattacharyya > 0.99).length).toBeGreaterThan(300);
  });

  it('need not hold the same rows', async () => {
    using model = await openModel(join(tiny, 'model'));
    await using reference = await open('reference-float32');
    const { tokens } = reference.manifest.sequences[0]!;
    const out = join(scratch, 'part');
    await capture(model, [tokens!], { out, positions: '3:9', taps: 'layers.*,norm' });
    await using part = await Dump.open(out);
    const parts = [];
    for await (const [a, b] of commonRows([reference, part], 'layers.2')) {
      expect(b!.position).toEqual(a!.position);
      expect([...a!.position]).toEqual([3, 4, 5, 6, 7, 8]);
      parts.push(a!.shape[0]);
    }
    expect(parts).toEqual([6]);
    await using low = await open('reference-bfloat16');
    const report = await noiseFloor(reference, low, part);
    expect(report.map(({ tap }) => tap)).toEqual([
      ...Array.from({ length: 8 }, (_, k) => `layers.${k}`),
      'norm',
    ]);
    expect(report.every(({ verdict }) => verdict === 'within noise')).toBe(true);
  });

  it('without a row in common are refused', async () => {
    using model = await openModel(join(tiny, 'model'));
    await using reference = await open('reference-float32');
    const out = join(scratch, 'none');
    await capture(model, [[1, 2]], { out, taps: 'layers.0.mlp.gate:expert' });
    await using other = await Dump.open(out);
    await expect(noiseFloor(reference, reference, other)).rejects.toMatchObject({ code: 'UNPAIRED' });
  });
});
