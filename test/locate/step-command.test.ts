import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { SMALL_CONFIG, writeRandomModel } from '../models/random-model.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-step-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const step = (...args: string[]) =>
  runCommand(['step', '--model', 'dumps/tiny/model', '--tokens', '257,91,87,101', ...args]);

describe('zayascope step', () => {
  it('stops at a value and prints its statistics and first elements', async () => {
    const { code, stdout, stderr } = await step('--break', 'layers.3.mlp.gate:router_probs');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^value +layers\.3\.mlp\.gate:router_probs \(\d+ of 372\)$/m);
    expect(stdout).toMatch(/^shape +T 4, E\+1 9; F32$/m);
    expect(stdout).toMatch(/^nan +0$/m);
    expect(stdout).toMatch(/^first +(\S+, ){7}\S+$/m);
  });

  it('prints one number for scripts, and everything as JSON', async () => {
    const at = ['--break', 'layers.0.mlp.gate:router_probs'];
    const mean = Number((await step(...at, '--print', 'mean')).stdout);
    expect(mean).toBeCloseTo(1 / 9, 6); // probabilities of 9 classes
    const json = JSON.parse((await step(...at, '--json')).stdout);
    expect(json).toMatchObject({ reason: at[1], shape: [4, 9], block: 0, stats: { mean } });
  });

  it('runs to the logits where nothing stops it, which is a failure only where something should have', async () => {
    const plain = await step('--print', 'nan');
    expect([plain.code, plain.stdout]).toEqual([0, '0\n']);
    expect((await step('--until', 'nan')).code).toBe(1);
  });

  it('stops where an overflow comes in', async () => {
    const model = await writeRandomModel(join(scratch, 'model'), SMALL_CONFIG, {
      dtype: 'F32',
      edit(name, values) {
        if (name === 'model.layers.1.self_attn.o_proj.weight') values.fill(3e38);
      },
    });
    const result = await runCommand([
      'step',
      '--model',
      model,
      '--tokens',
      '1,2,3',
      '--until',
      'nan',
      '--json',
    ]);
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ reason: 'nan', name: 'layers.1.self_attn.o_proj' });
  });

  it.each([
    ['no tokens', ['step', '--model', 'dumps/tiny/model']],
    [
      'a pattern that matches nothing',
      ['step', '--model', 'dumps/tiny/model', '--tokens', '1', '--break', 'nothing'],
    ],
    ['an unknown statistic', ['step', '--model', 'dumps/tiny/model', '--tokens', '1', '--print', 'median']],
  ])('exits with 2 for %s', async (_, args) => {
    expect((await runCommand(args)).code).toBe(2);
  });
});
