import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { type TensorSource, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { readTensor } from '../../src/weights/tensor-data.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');

/** A copy of the tiny model with one byte of the final norm changed, and one tensor left out if asked for. */
async function changed(leftOut?: string): Promise<string> {
  const folder = join(await temporaryFolder(), 'changed');
  cpSync(model, folder, { recursive: true });
  const { tensors } = await openCheckpoint(model);
  const kept = [...tensors.values()].filter(({ name }) => name !== leftOut);
  const sources = kept.map(async (tensor) => {
    const bytes = await readTensor(tensor);
    if (tensor.name === 'model.norm.weight') bytes[0]! ^= 1;
    return { ...tensor, chunks: [bytes] } as TensorSource;
  });
  await writeSafetensors(join(folder, 'model.safetensors'), await Promise.all(sources));
  return folder;
}

describe('zayascope diff-weights', () => {
  it('says so where all values are identical', async () => {
    const { code, stdout, stderr } = await runCommand(['diff-weights', model, model]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      'PASS  no limit given (--fail-above); 259 tensors compared, 259 identical, 0 unpaired',
    );
    expect(stdout).toContain('every compared value is identical');
  });

  it('lists the tensors that differ and judges by the threshold', async () => {
    const other = await changed();
    const plain = await runCommand(['diff-weights', model, other]);
    expect(plain.code).toBe(0);
    expect(plain.stdout).toMatch(/^model\.norm\.weight +BF16 +\[128\] +\d\.\de-\d+ /m);
    const strict = await runCommand(['diff-weights', model, other, '--fail-above', '0', '--json']);
    expect(strict.code).toBe(1);
    const report = JSON.parse(strict.stdout);
    expect(report.tensors[0]).toMatchObject({ name: 'model.norm.weight', identical: false });
    const elsewhere = ['diff-weights', model, other, '--fail-above', '0', '--tensors', 'model.layers.**'];
    expect((await runCommand(elsewhere)).code).toBe(0);
  });

  it('exits with 1 where a tensor is on one side only', async () => {
    const { code, stdout } = await runCommand([
      'diff-weights',
      model,
      await changed('model.input_hidden_states_bias'),
    ]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL .* 1 unpaired$/m);
    expect(stdout).toMatch(/^unpaired +model\.input_hidden_states_bias is not in the tested model$/m);
  });

  it('exits with 2 for what it cannot read', async () => {
    const { code, stderr } = await runCommand(['diff-weights', model, 'no/such/model']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^zayascope: IO: /);
  });
});
