import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReproReport } from '../../src/locate/repro/run.js';
import { runCommand } from '../cli/run-command.js';

const CONV = 'layers.3.self_attn.qkv_proj.conv_qk_grouped';
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-repro-command-'));
const folder = join(scratch, 'conv');
const dump = 'dumps/tiny/reference-float32';
const writeArguments = ['repro', dump, '--op', CONV, '--model', 'dumps/tiny/model'];

beforeAll(async () => {
  const { code, stdout, stderr } = await runCommand([...writeArguments, '--out', folder]);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain(`zayascope repro run ${folder} --dtype-variants`);
  expect(stdout).toContain('conv_qk_grouped#patches=F32');
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe('zayascope repro', () => {
  it.each([['--op'], ['--model'], ['--out']])('asks for %s', async (option) => {
    const args = [...writeArguments, '--out', join(scratch, 'none')];
    args.splice(args.indexOf(option), 2);
    const { code, stderr } = await runCommand(args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`got no ${option}`)]);
  });

  it('refuses an op that the model does not have, as JSON too', async () => {
    const args = [
      'repro',
      dump,
      '--op',
      'nothing',
      '--model',
      'dumps/tiny/model',
      '--out',
      join(scratch, 'none'),
      '--json',
    ];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'BAD_ARGUMENT', tensor: 'nothing' });
  });
});

describe('zayascope repro run', () => {
  it('prints a table of devices and variants', async () => {
    const { code, stdout, stderr } = await runCommand([
      'repro',
      'run',
      folder,
      '--backends',
      'cpu',
      '--dtype-variants',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/device +variant +NMSE to dump +max abs +>1 ULP +equal +NMSE to exact/);
    expect(stdout).toMatch(/CPU +policy f32 +\d\.\d\de-1[2-9] /);
    expect(stdout).toMatch(/CPU +self_attn.qkv_proj.conv_qk_grouped#patches=F16 +\d\.\d\de-[78] /);
  });

  it('prints the report as JSON', async () => {
    const { code, stdout } = await runCommand(['repro', 'run', folder, '--json']);
    const report = JSON.parse(stdout) as ReproReport;
    expect(code).toBe(0);
    expect(report).toMatchObject({ op: CONV, policy: 'f32', graphChanged: false });
    expect(report.results.map(({ variant }) => variant)).toContain('policy f32');
  });

  it('exits with 1 where the stored policy is further from the dump than --fail-above, whatever variants do', async () => {
    const run = (...more: string[]) => runCommand(['repro', 'run', folder, '--backends', 'cpu', ...more]);
    expect((await run('--fail-above', '1e-12', '--dtype-variants')).code).toBe(0);
    expect((await run('--fail-above', '1e-20')).code).toBe(1);
    const half = join(scratch, 'half');
    await runCommand([...writeArguments, '--policy', 'llamacpp', '--out', half]);
    expect(
      (await runCommand(['repro', 'run', half, '--backends', 'cpu', '--fail-above', '1e-12'])).code,
    ).toBe(1);
  });

  it.each([
    ['a folder that is none', ['nowhere']],
    ['no folder', []],
    ['an unknown device', [folder, '--backends', 'abacus']],
    ['an unknown option', [folder, '--nothing']],
  ])('exits with 2 for %s', async (_, args) => {
    expect((await runCommand(['repro', 'run', ...args])).code).toBe(2);
  });

  it('exits with 2 for a damaged folder, naming the file', async () => {
    const file = join(folder, 'repro.json');
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, 100));
    const { code, stderr } = await runCommand(['repro', 'run', folder]);
    writeFileSync(file, whole);
    expect([code, stderr]).toEqual([2, expect.stringContaining('repro.json')]);
  });
});
