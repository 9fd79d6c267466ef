import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { convertModel } from '../../src/models/gguf/convert.js';
import { runCommand } from './run-command.js';

const root = join(import.meta.dirname, '..', '..');
const float32 = join(root, 'dumps', 'tiny', 'reference-float32');
const bfloat16 = join(root, 'dumps', 'tiny', 'reference-bfloat16');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-diff-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A copy of the F32 reference whose manifest lacks one tap's block file. */
async function withoutBlock(block: number): Promise<string> {
  const copy = join(folder, `without-${block}`);
  cpSync(float32, copy, { recursive: true });
  await using dump = await Dump.open(copy);
  const taps = dump.taps.filter((tap) => tap.block !== block);
  writeFileSync(join(copy, 'manifest.json'), JSON.stringify({ ...dump.manifest, taps }));
  rmSync(join(copy, `layers.${block}.arrow`));
  return copy;
}

describe('zayascope diff', () => {
  it('only reports without a threshold, with the first divergence above the table', async () => {
    const { code, stdout, stderr } = await runCommand(['diff', float32, bfloat16]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.split('\n');
    const divergence = lines.findIndex((line) => /^first that is not identical: input_affine /.test(line));
    const table = lines.findIndex((line) => /^block +taps +identical/.test(line));
    expect(divergence).toBeGreaterThan(0);
    expect(table).toBeGreaterThan(divergence);
  });

  it('exits with 1 where a tap exceeds the threshold, naming the first', async () => {
    const { code, stdout } = await runCommand(['diff', float32, bfloat16, '--fail-above', '1e-5']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}energy NMSE at most 0\.00001/m);
    expect(stdout).toMatch(/^first above the threshold: layers\.0\./m);
  });

  it('passes equal dumps at a threshold of zero', async () => {
    const { code, stdout } = await runCommand(['diff', float32, float32, '--fail-above', '0']);
    expect(code).toBe(0);
    expect(stdout).toContain('372 taps compared, 372 identical, 0 unpaired');
  });

  it('compares the selected taps only, and lists each when asked', async () => {
    const args = ['diff', float32, bfloat16, '--taps', 'embed_tokens,layers.3'];
    const brief = await runCommand(args);
    const all = await runCommand([...args, '--all']);
    expect(brief.stdout).toContain('2 taps compared');
    expect(brief.stdout).not.toMatch(/^layers\.3 +F32 +\d/m);
    expect(all.stdout).toMatch(/^layers\.3 +F32 +\d/m);
  });

  it('exits with 1 without a threshold where something cannot be paired', async () => {
    const { code, stdout } = await runCommand(['diff', float32, await withoutBlock(4)]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^unpaired {2}layers\.4\.input_layernorm is missing in the tested dump/m);
  });

  it('prints all metrics as one JSON document', async () => {
    const { code, stdout } = await runCommand(['diff', float32, bfloat16, '--json', '--fail-above', '1']);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ format: 'zayascope-diff', failAbove: 1, unpaired: [] });
    // Below the threshold in every tap, but experts differ: integers must be equal.
    expect({ code, pass: report.pass, flipped: report.routing.flipped }).toEqual({
      code: 1,
      pass: false,
      flipped: 6,
    });
  });

  it.each([
    ['a folder that is no dump', ['diff', 'no/such/dump', float32], 'IO'],
    ['a pattern without a match', ['diff', float32, bfloat16, '--taps', 'nothing'], 'BAD_ARGUMENT'],
  ])('exits with 2 for %s', async (_what, args, errorCode) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^zayascope: ${errorCode}: [^\n]*\n$`));
  });
});

describe('an installation without the native addon', () => {
  let main: string;
  beforeAll(() => {
    const installation = join(folder, 'installation');
    cpSync(join(root, 'dist'), join(installation, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(installation, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(installation, 'node_modules'));
    main = join(installation, 'dist', 'cli', 'main.js');
  });

  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });

  it('compares, inspects and exports dumps', () => {
    const out = join(folder, 'norm.safetensors');
    expect(run('diff', float32, float32, '--fail-above', '0')).toMatchObject({ status: 0, stderr: '' });
    expect(run('inspect', float32)).toMatchObject({ status: 0, stderr: '' });
    expect(run('export', float32, '--taps', 'norm', '--out', out)).toMatchObject({ status: 0, stderr: '' });
  });

  it('inspects a GGUF model and compares its weights', async () => {
    const model = join(root, 'dumps', 'tiny', 'model');
    const gguf = join(folder, 'tiny.gguf');
    await convertModel(model, { type: 'f32', out: gguf });
    const inspected = run('inspect', gguf);
    expect(inspected).toMatchObject({ status: 0, stderr: '' });
    expect(inspected.stdout).toContain('half-layers');
    const compared = run('diff-weights', model, gguf, '--fail-above', '0');
    expect(compared).toMatchObject({ status: 0, stderr: '' });
  });

  it('says how to build the addon when asked to capture', () => {
    const model = join(root, 'dumps', 'tiny', 'model');
    const { status, stderr } = run('capture', '--model', model, '--tokens', '1', '--out', join(folder, 'x'));
    expect(status).toBe(2);
    expect(stderr).toMatch(/^zayascope: BACKEND: .*npm rebuild zayascope/);
  });

  it('is diagnosed by doctor, which exits with 1', () => {
    const { status, stdout } = run('doctor');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^native addon +broken /m);
    expect(stdout).toContain('To get the native addon: npm rebuild zayascope');
  });
});
