import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SMALL_CONFIG, writeRandomModel } from '../models/random-model.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

describe('zayascope convert', () => {
  it('writes a GGUF file and prints what it holds', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const out = join(folder, 'out.gguf');
    const args = ['convert', model, '--type', 'bf16', '--out', out];
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^file {8}.*out\.gguf: bf16, /);
    expect(stdout).toMatch(/^tokenizer {3}none/m);
    const json = await runCommand([...args, '--overwrite', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ type: 'bf16', vocabulary: 61, fallbacks: [], out });
  });

  it('prints every fallback, and every tensor without importance', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'), { ...SMALL_CONFIG, hidden_size: 96 });
    const imatrix = join(folder, 'imatrix.dat');
    await writeFile(imatrix, dat('blk.0.attn_k.weight', new Float32Array(96).fill(1)));
    const args = [
      'convert',
      model,
      '--type',
      'q4_k_m',
      '--out',
      join(folder, 'out.gguf'),
      '--imatrix',
      imatrix,
    ];
    const { code, stderr, stdout } = await runCommand(args);
    expect(code).toBe(0);
    expect(stderr).toContain(
      'zayascope: blk.0.attn_q.weight: rows of 96 do not hold whole blocks of Q4_K, stored as Q5_0\n',
    );
    expect(stderr).toContain('zayascope: blk.1.ffn_down_exps.weight: rows of 20 do not hold whole blocks of');
    expect(stderr).toContain('zayascope: blk.0.attn_q.weight: quantised without importance');
    expect(stderr).not.toContain('blk.0.attn_k.weight: quantised without importance');
    expect(stdout).toMatch(/^importance {2}used for 1 tensors$/m);
  });

  it('says which importance it does not use as it stands', async () => {
    const folder = await temporaryFolder();
    const config = { ...SMALL_CONFIG, hidden_size: 96 };
    const model = await writeRandomModel(join(folder, 'model'), config);
    const imatrix = join(folder, 'imatrix.dat');
    const { num_experts: experts, hidden_size: columns } = config;
    const name = 'blk.1.ffn_gate_up_exps.weight';
    // The last expert was never reached, and the first saw nothing of its first column.
    const values = new Float32Array(experts * columns).fill(1);
    values.fill(0, (experts - 1) * columns);
    values[0] = 0;
    await writeFile(imatrix, dat(name, values));
    const args = [
      'convert',
      model,
      '--type',
      'q4_0',
      '--out',
      join(folder, 'out.gguf'),
      '--imatrix',
      imatrix,
    ];
    const { code, stderr } = await runCommand(args);
    expect(code).toBe(0);
    expect(stderr).toContain(
      `zayascope: ${name}: the calibration reached no token of 1 matrix, all columns count alike`,
    );
    expect(stderr).toContain(
      `zayascope: ${name}: 1 columns of importance 0, whose weights count for nothing`,
    );
  });

  it('draws a progress bar on a terminal and erases it', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const args = ['convert', model, '--type', 'f32', '--out', join(folder, 'out.gguf')];
    const { stderr } = await runCommand(args, { isInteractive: true });
    expect(stderr).toContain('convert [');
    expect(stderr.endsWith('\r\x1b[K')).toBe(true);
  });

  it('exits with 2 for misuse and leaves no file', async () => {
    const folder = await temporaryFolder();
    const out = join(folder, 'out.gguf');
    const noType = await runCommand(['convert', folder, '--out', out]);
    const wrongType = await runCommand(['convert', folder, '--out', out, '--type', 'q3_k']);
    const noModel = await runCommand(['convert', folder, '--out', out, '--type', 'f32', '--json']);
    expect([noType.code, wrongType.code, noModel.code]).toEqual([2, 2, 2]);
    expect(JSON.parse(noModel.stdout)).toMatchObject({ error: { code: 'IO' } });
    expect(existsSync(out)).toBe(false);
  });
});

/** An importance matrix in the older format with one entry. */
function dat(name: string, importance: Float32Array): Uint8Array {
  const integer = (value: number) => Buffer.from(Int32Array.of(value).buffer);
  const values = Buffer.from(importance.buffer);
  return Buffer.concat([
    integer(1),
    integer(name.length),
    Buffer.from(name),
    integer(1),
    integer(importance.length),
    values,
  ]);
}
