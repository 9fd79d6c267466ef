import { expect, it } from 'vitest';
import { tensorMetrics } from '../../src/index.js';

it('compares two tensors in memory', () => {
  const metrics = tensorMetrics(Float32Array.of(3, 4), Float32Array.of(3, 5));
  expect(metrics.nmse).toBe(1 / 25);
  expect(metrics.nmseVariance).toBe(0.5 / 0.25);
  expect(metrics.maxAbsIndex).toBe(1);
});

it('refuses tensors of different lengths', () => {
  expect(() => tensorMetrics(new Float32Array(2), new Float32Array(3))).toThrow(
    expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
  );
});
