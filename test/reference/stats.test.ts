import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pythonJson, root } from './python.js';

interface Checked {
  rows: number;
  worst: Record<string, number>;
  odd: Record<string, string[]>;
}

describe.each(['float32', 'bfloat16'])('the statistics of the committed %s dump', (dtype) => {
  const checked = pythonJson<Checked>([
    join('test', 'reference', 'check_stats.py'),
    join(root, 'dumps', 'tiny', `reference-${dtype}`),
  ]);

  it('are those of the stored values', () => {
    const { mean, rms, ...exact } = checked.worst;
    expect(checked.rows).toBe(56 * (4 + 2 * 45) + 2);
    expect(Object.entries(exact).filter(([, difference]) => difference !== 0)).toEqual([]);
    // sums in float64, in another order
    expect(mean).toBeLessThan(1e-14);
    expect(rms).toBeLessThan(1e-14);
  });

  it('leave NaN and infinity out and count them', () => {
    expect(checked.odd).toEqual({
      min: ['-4.0', 'nan', '0.0'],
      max: ['3.0', 'nan', '0.0'],
      mean: ['-0.5', 'nan', '0.0'],
      rms: [String(Math.sqrt(12.5)), 'nan', '0.0'],
      absmax: ['4.0', 'nan', '0.0'],
      count: ['4', '4', '4'],
      nan: ['1', '3', '0'],
      inf: ['1', '1', '0'],
    });
  });
});
