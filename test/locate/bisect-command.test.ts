import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { AttributionReport } from '../../src/locate/bisect/attribution.js';
import type { BisectReport } from '../../src/locate/bisect/bisect.js';
import { runCommand } from '../cli/run-command.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { portDtypes } from './port-dtypes.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const prompt = ['--tokens-file', join(tiny, 'prompt.json')];
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-bisect-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const [fixed, before] = ['llamacpp-f32-im2col', 'llamacpp'].map((name) => {
  const file = join(scratch, `${name}.json`);
  writeFileSync(file, JSON.stringify(portDtypes(name)));
  return file;
}) as [string, string];
const port = ['--model', model, '--good', fixed, '--bad', before];

describe('zayascope bisect', () => {
  it('prints the sites, the minimal set with its errors, and what it cost', async () => {
    const { code, stdout, stderr } = await runCommand(['bisect', ...port, ...prompt]);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toContain('8 sites: layers.{0..7}.self_attn.qkv_proj.conv_qk_grouped#patches');
    expect(stdout).toMatch(/minimal set +\d sites?, NMSE [\d.]+e-8, verified/);
    expect(stdout).toMatch(/cost +\d+\.\d forward passes in \d+ runs/);
  });

  it('prints JSON, takes the tokens of a reference, and keeps a state', async () => {
    const state = join(await temporaryFolder(), 'state.json');
    const args = [
      'bisect',
      ...port,
      '--reference',
      join(tiny, 'reference-float32'),
      '--state',
      state,
      '--json',
    ];
    const first = await runCommand(args);
    expect(first.code).toBe(0);
    const report = JSON.parse(first.stdout) as BisectReport;
    expect(report).toMatchObject({ against: 'reference', verified: true, sites: 8 });
    expect(JSON.parse(await readFile(state, 'utf8'))).toMatchObject({ format: 'zayascope-bisect-1' });
    const again = JSON.parse((await runCommand(args)).stdout) as BisectReport;
    expect(again.minimal).toEqual(report.minimal);
    expect(again.cost.runs).toBe(0);
  });

  it('exits with 1 where the passes do not suffice to verify a result', async () => {
    const args = ['--model', model, '--good', 'f32', '--bad', before, ...prompt];
    const found = await runCommand([
      'bisect',
      ...args,
      '--fail-above',
      '5e-8',
      '--max-passes',
      '7',
      '--json',
    ]);
    const report = JSON.parse(found.stdout) as BisectReport;
    expect(report.cost.forwardPasses).toBeLessThanOrEqual(7);
    expect(found.code).toBe(report.verified ? 0 : 1);
  });

  it.each([
    ['no tokens', [...port]],
    [
      'tokens that are not those of the reference',
      [...port, '--tokens', '5,6', '--reference', join(tiny, 'reference-float32')],
    ],
    ['an unknown policy', ['--model', model, '--good', 'f64', '--bad', 'f32', '--tokens', '5']],
    ['a threshold that is none', [...port, ...prompt, '--fail-above', 'much']],
    ['policies that agree', ['--model', model, '--good', 'f32', '--bad', 'f32', '--tokens', '5']],
  ])('exits with 2 for %s', async (_, args) => {
    expect((await runCommand(['bisect', ...args])).code).toBe(2);
  });

  it('draws its progress on a terminal only', async () => {
    const { stderr } = await runCommand(['bisect', ...port, ...prompt], { isInteractive: true });
    expect(stderr).toContain('forward passes');
  });
});

describe('zayascope attribute', () => {
  it('prints a row for each group, and as JSON the data of a waterfall', async () => {
    const args = ['attribute', ...port, ...prompt, '--by', 'block'];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(0);
    expect(stdout.match(/^block \d/gm)).toHaveLength(8);
    const report = JSON.parse((await runCommand([...args, '--json'])).stdout) as AttributionReport;
    expect(report.rows).toHaveLength(8);
    expect(report.rows.at(-1)!.cumulative).toBe(report.bad.error);
  });
});
