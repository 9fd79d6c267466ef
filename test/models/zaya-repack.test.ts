import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { loadPolicy } from '../../src/graph/policy.js';
import { loadWeights } from '../../src/models/runtime/loader.js';
import { openModel } from '../../src/models/runtime/model.js';
import { synthZaya } from '../../src/models/zaya/synth.js';
import { nmse } from './nmse.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-repack-'));
const file = join(folder, 'small.gguf');
const tokens = Array.from({ length: 12 }, (_, i) => (37 * i + 5) % 200);
beforeAll(async () => {
  await synthZaya({ size: 'small', type: 'q4_0', out: file });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('a model with repacked weights', () => {
  it('predicts what it does with plain ones, as near to F32, in one go and token by token', async () => {
    const options = { policy: 'bf16-weights', threads: 2 };
    using plain = await openModel(file, options);
    using repacked = await openModel(file, { ...options, repack: true });
    using exact = await openModel(file, { threads: 2 });
    expect(plain.weights.repackedBytes).toBe(0);
    expect(repacked.weights.repackedBytes).toBeGreaterThan(40e6);
    expect(repacked.weights.repackedBytes + repacked.weights.mappedBytes).toBe(plain.weights.mappedBytes);

    const [reference, a, b] = [
      await exact.prefill(tokens),
      await plain.prefill(tokens),
      await repacked.prefill(tokens),
    ];
    // Quantised activations against F32 ones: the noise of the dtype, which repacking must not add to.
    expect(nmse(reference, b)).toBeLessThan(1.5 * nmse(reference, a));
    expect(nmse(a, b)).toBeLessThan(nmse(reference, a));

    using session = repacked.session({ capacity: 32 });
    const stepwise: number[] = [];
    for (const token of tokens) stepwise.push(...(await session.forward([token])));
    expect(nmse(reference, stepwise)).toBeLessThan(1.5 * nmse(reference, a));
  });

  it('is refused where its copies do not fit, with the way out', async () => {
    using backend = openBackend('cpu');
    const load = loadWeights(file, backend, await loadPolicy('bf16-weights'), {
      repack: true,
      memoryBytes: 1e6,
    });
    await expect(load).rejects.toThrow(
      /of free memory to repack the weights, got 1000000; without repacking/,
    );
  });

  it.each([file, 'dumps/tiny/model'])(
    'stays as it is where a policy widens the weights: %s',
    async (path) => {
      using model = await openModel(path, { policy: 'f32', repack: true });
      expect(model.weights.repackedBytes).toBe(0);
    },
  );
});
