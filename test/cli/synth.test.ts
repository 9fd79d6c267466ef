import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SYNTH_SIZES } from '../../src/models/zaya/synth.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

describe('zayascope synth', () => {
  it('writes a file and prints what it holds', async () => {
    const out = join(await temporaryFolder(), 'tiny.gguf');
    const args = ['synth', '--size', 'tiny', '--type', 'q4_k_m', '--out', out];
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^tensors {2}131, 7,655,660 parameters, seed 1$/m);
    const json = await runCommand([...args, '--overwrite', '--seed', '7', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ size: 'tiny', type: 'q4_k_m', seed: 7, out });
  });

  it('offers every size that there is', async () => {
    const { stdout } = await runCommand(['synth', '--help']);
    const [, listed] = /--size <size>.*?choices: ([^)]*)\)/s.exec(stdout)!;
    expect(listed!.match(/\w+/g)).toEqual(SYNTH_SIZES);
  });

  it('exits with 2 for misuse and leaves no file', async () => {
    const out = join(await temporaryFolder(), 'tiny.gguf');
    const required = ['synth', '--type', 'q8_0', '--out', out];
    const noSize = await runCommand(required);
    const wrongSize = await runCommand([...required, '--size', '9b']);
    const wrongSeed = await runCommand([...required, '--size', 'tiny', '--seed', '-1']);
    const wrongName = await runCommand(['synth', '--size', 'tiny', '--type', 'q8_0', '--out', `${out}.bin`]);
    expect([noSize.code, wrongSize.code, wrongSeed.code, wrongName.code]).toEqual([2, 2, 2, 2]);
    expect(existsSync(out)).toBe(false);
  });
});
