import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import type { DiffReport, TapReport } from '../../src/diff/report.js';
import { Dump } from '../../src/dump/reader.js';
import { readReferenceManifest } from '../reference/manifest.js';
import { pythonJson, root } from '../reference/python.js';
import { plantFaults, removeFaults } from './faults.js';

// While tests are collected: each fault is a test.
const { faults, unaltered, restored } = plantFaults();
const dumpOf = (name: string) => faults.find((fault) => fault.name === name)!.dump;

afterAll(removeFaults);

/** The diff of a dump against the unaltered model's. */
async function compare(folder: string): Promise<DiffReport> {
  await using reference = await Dump.open(unaltered);
  await using tested = await Dump.open(folder);
  const report = await diffDumps(reference, tested);
  expect(report.unpaired).toEqual([]);
  expect(report.tapReports).toHaveLength(reference.taps.length);
  return report;
}

/** True where a tap differs by more than rounding; NaN counts. */
function differs(tap: TapReport): boolean {
  if (tap.kind === 'integer') return tap.metrics.differing > 0;
  return tap.kind === 'float' && !(tap.metrics.nmse <= 1e-12);
}

const firstOf = (report: DiffReport) => report.tapReports.find(differs)?.name ?? null;

describe('the list of faults', () => {
  it('has distinct names and sentences, and nearly all of them show', () => {
    expect(new Set(faults.map(({ name }) => name)).size).toBe(faults.length);
    expect(new Set(faults.map(({ says }) => says)).size).toBe(faults.length);
    expect(faults.filter(({ shows }) => shows).length).toBeGreaterThanOrEqual(40);
    expect(faults.filter(({ shows }) => !shows).map(({ name }) => name)).toEqual(['l2-epsilon-missing']);
  });

  it('reaches every part of the model', () => {
    const suffixes = new Set(faults.map(({ expectedTap }) => expectedTap.replace(/^layers\.\d+/, '')));
    expect(suffixes.size).toBeGreaterThanOrEqual(30);
    expect([...suffixes]).toEqual(
      expect.arrayContaining(['input_affine', 'norm', 'lm_head', '.mlp.experts']),
    );
  });
});

describe('a planted fault', () => {
  it.each(faults)(
    '$name first shows at $expectedTap (shows: $shows)',
    async ({ expectedTap, shows, dump }) => {
      const report = await compare(dump);
      const expected = shows ? expectedTap : null;
      expect(firstOf(report)).toBe(expected);
      // and what comes before is not only close, but the same bits
      expect(report.firstDivergence?.tap ?? null).toBe(expected);
    },
  );

  it('is named in its manifest', () => {
    expect(readReferenceManifest(dumpOf('gelu-tanh')).producer).toMatchObject({ fault: 'gelu-tanh' });
  });
});

describe('the unaltered model', () => {
  it('gives the same bits after all faults were made and undone', async () => {
    const report = await compare(restored);
    expect(report.tapReports.filter((tap) => !tap.identical)).toEqual([]);
    expect(readReferenceManifest(unaltered).producer).not.toHaveProperty('fault');
  });

  it('agrees with the committed reference', async () => {
    expect(firstOf(await compare(join(root, 'dumps', 'tiny', 'reference-float32')))).toBeNull();
  });
});

describe('planted.py', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'zayascope-planted-'));
  let results: { status: number; stderr: string }[];

  beforeAll(() => {
    writeFileSync(join(scratch, 'occupied'), '');
    const source = [
      '--model',
      join('dumps', 'tiny', 'model'),
      '--tokens-file',
      join('dumps', 'tiny', 'prompt.json'),
    ];
    const call = (out: string, fault: string) => [...source, '--out', join(scratch, out), '--fault', fault];
    const calls = [
      call('one', 'weight-is-nan'),
      call('two', 'gelu-tan'),
      call('occupied', 'gelu-tanh'),
      ['--all', '--model', 'm'],
    ];
    results = pythonJson([join('test', 'faults', 'call_planted.py')], JSON.stringify(calls));
  }, 120_000);

  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('dumps one fault alone as it does among all', () => {
    expect(results[0]).toEqual({ status: 0, stderr: '' });
    const files = readdirSync(dumpOf('weight-is-nan')).filter((file) => file.endsWith('.arrow'));
    expect(files).toHaveLength(10);
    for (const file of files) {
      const [among, alone] = [dumpOf('weight-is-nan'), join(scratch, 'one')].map((folder) =>
        readFileSync(join(folder, file)),
      );
      expect([file, among!.equals(alone!)]).toEqual([file, true]);
    }
  });

  it.each([
    ['an unknown fault', 1, /invalid choice: 'gelu-tan'/],
    ['an occupied folder', 2, /expected --out not to exist/],
    ['missing options', 3, /expected --model, --tokens-file and --out/],
  ])('refuses %s and writes nothing', (_, call, message) => {
    expect(results[call]).toEqual({ status: 2, stderr: expect.stringMatching(message) });
    expect(readdirSync(scratch).toSorted()).toEqual(['occupied', 'one']);
  });
});
