import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const float32 = join(tiny, 'reference-float32');
const bfloat16 = join(tiny, 'reference-bfloat16');

async function raw(values: number[]): Promise<string> {
  const file = join(await temporaryFolder(), 'logits.bin');
  writeFileSync(file, new Uint8Array(Float32Array.from(values).buffer));
  return file;
}

describe('zayascope verify-logits', () => {
  it('prints tokens, the likeliest side by side, the metrics and the verdict', async () => {
    const { code, stdout, stderr } = await runCommand(['verify-logits', float32, bfloat16]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('tokens: the same 56');
    expect(stdout).toMatch(/^ 1 +\d+ +-?\d+\.\d{4} +\d+ +-?\d+\.\d{4}/m);
    expect(stdout).toMatch(/^NMSE \(MSE \/ variance\) +\d\.\d+e-\d +-\d+\.\d\d dB$/m);
    expect(stdout).toMatch(/^PASS {2}/m);
  });

  it('gives the same as JSON, over all positions', async () => {
    const { code, stdout } = await runCommand(['verify-logits', float32, bfloat16, '--all', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ pass: true, rows: 56, vocabulary: 259, failAbove: 0.01 });
  });

  it('exits with 1 where the check fails', async () => {
    const { code, stdout } = await runCommand(['verify-logits', await raw([1, 2, 3]), await raw([1, 2, 5])]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}worse than random/m);
    expect(stdout).toContain('tokens: not compared, both sides come without');
  });

  it('names a trimmed vocabulary', async () => {
    const { code, stdout } = await runCommand([
      'verify-logits',
      await raw([1, 2, 3, 0]),
      await raw([1, 2, 3]),
    ]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^note: the reference has 4 logits a token, .* the first 3 are compared$/m);
    expect(stdout).toMatch(
      /^FAIL {2}only 75.0 % of the vocabulary compared \(1 logit of the reference left out, with 3.2 % of its probability\): more than padding; what was compared: perfect; NMSE/m,
    );
  });

  it('exits with 2 for what it cannot read', async () => {
    const { code, stderr } = await runCommand(['verify-logits', float32, 'no/such.bin']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^zayascope: IO: /);
    expect((await runCommand(['verify-logits', float32, float32, '--vocabulary', '0'])).code).toBe(2);
  });
});
