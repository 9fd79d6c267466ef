import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type DiffReport, Dump, diffDumps } from '../../src/index.js';
import { allTapNames } from '../reference/e2-taps.js';

const root = join(import.meta.dirname, '..', '..');
const float32 = join(root, 'dumps', 'tiny', 'reference-float32');
const bfloat16 = join(root, 'dumps', 'tiny', 'reference-bfloat16');

/** The demo's output without what differs between machines: device, times, figures. */
function withoutFigures(text: string): string {
  return text
    .replaceAll(/on .*, threads: \d+/g, 'on a device')
    .replaceAll(/ \+\d+/g, '')
    .replaceAll(/\d[\d.]*(e[-+]\d+)?/g, '#')
    .replaceAll(/ +/g, ' ')
    .trim();
}

describe('the demo', () => {
  it('passes, compares every tap of E.2, fits 110 columns, and prints what the README shows', async () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'demo.mjs')], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^PASS {2}policy f32: all 372 taps within 1e-10 of PyTorch/m);
    expect(stdout.split('\n').filter((line) => line.length > 110)).toEqual([]);
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const shown = /^\$ npm run --silent demo\n([\s\S]*?)^```$/m.exec(readme)![1]!;
    expect(withoutFigures(stdout)).toBe(withoutFigures(shown));
    await using dump = await Dump.open(join(root, 'out', 'demo', 'f32'));
    expect(dump.taps.map(({ name }) => name).sort()).toEqual([...allTapNames(8)].sort());
  });
});

describe('the gate of the demo', () => {
  const names = allTapNames(8);
  let demoProblems: (report: DiffReport, names: readonly string[]) => string[];
  let same: DiffReport;
  let different: DiffReport;
  beforeAll(async () => {
    const gate = join(root, 'scripts', 'demo-gate.mjs');
    ({ demoProblems } = (await import(gate)) as { demoProblems: typeof demoProblems });
    await using reference = await Dump.open(float32);
    await using low = await Dump.open(bfloat16);
    same = await diffDumps(reference, reference);
    different = await diffDumps(reference, low);
  });

  it('passes equal dumps', () => {
    expect(demoProblems(same, names)).toEqual([]);
  });

  it('names taps that are too far off and experts that differ', () => {
    const problems = demoProblems(different, names);
    expect(problems).toContainEqual(expect.stringMatching(/^input_affine has an energy NMSE of 5\.\d+e-6$/));
    expect(problems).toContain('layers.0.mlp.gate:expert differs for 2 tokens');
  });

  it('names taps that were not compared', () => {
    const tapReports = same.tapReports.filter(({ name }) => name !== 'layers.5.mlp.gate:margin');
    expect(demoProblems({ ...same, tapReports }, names)).toEqual([
      'layers.5.mlp.gate:margin was not compared',
    ]);
  });

  it('names what is unpaired', () => {
    const entry = {
      tap: 'norm',
      file: 'model.arrow',
      side: 'tested',
      reason: 'is missing',
      rows: 0,
      example: null,
    } as const;
    expect(demoProblems({ ...same, unpaired: [entry] }, names)).toEqual(['norm is missing']);
  });

  it('rejects an error that is NaN, and a diff that fails for a reason of its own', () => {
    const [first, ...rest] = same.tapReports;
    if (first?.kind !== 'float') throw new Error('expected a tap of floats');
    const nan = { ...first, metrics: { ...first.metrics, nmse: Number.NaN } };
    expect(demoProblems({ ...same, tapReports: [nan, ...rest] }, names)).toHaveLength(1);
    expect(demoProblems({ ...same, pass: false }, names)).toEqual(['the diff does not pass']);
  });
});
