import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { runCommand } from './run-command.js';

const dump = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'reference-bfloat16');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-export-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('zayascope export', () => {
  it('writes the selected taps under their names, dtypes kept', async () => {
    const out = join(folder, 'blocks.safetensors');
    const result = await runCommand([
      'export',
      dump,
      '--taps',
      'layers.{0..1}.mlp.gate:{expert,router_probs}',
      '--out',
      out,
      '--json',
    ]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const { tensors } = await openCheckpoint(out);
    expect([...tensors.keys()].sort()).toEqual(JSON.parse(result.stdout).keys.sort());
    const dtypes = [...tensors.values()].map(({ name, dtype, shape }) => `${name} ${dtype} [${shape}]`);
    expect(dtypes.sort()).toEqual([
      'layers.0.mlp.gate:expert I32 [56]',
      'layers.0.mlp.gate:router_probs BF16 [56,9]',
      'layers.1.mlp.gate:expert I32 [56]',
      'layers.1.mlp.gate:router_probs BF16 [56,9]',
    ]);
  });

  it('exits with 2 and leaves no file where nothing matches or there is no dump', async () => {
    const out = join(folder, 'none.safetensors');
    const noMatch = await runCommand(['export', dump, '--taps', 'nothing', '--out', out]);
    const noDump = await runCommand(['export', folder, '--out', out]);
    expect([noMatch.code, noDump.code]).toEqual([2, 2]);
    expect(noMatch.stderr).toMatch(/^zayascope: BAD_ARGUMENT: /);
    expect(noDump.stderr).toMatch(/^zayascope: IO: /);
    expect(existsSync(out)).toBe(false);
  });
});
