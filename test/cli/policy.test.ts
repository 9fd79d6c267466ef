import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { POLICIES } from '../../src/graph/policy.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');

describe('zayascope policy', () => {
  it('lists the presets', async () => {
    const { code, stdout } = await runCommand(['policy', 'list']);
    expect(code).toBe(0);
    for (const name of Object.keys(POLICIES)) expect(stdout).toContain(name);
    const listed = JSON.parse((await runCommand(['policy', 'list', '--json'])).stdout) as {
      name: string;
      models: string[];
    }[];
    // One for each family that has rules of its own.
    expect(listed.filter(({ name }) => name === 'llamacpp').map(({ models }) => models)).toEqual([
      ['zaya'],
      ['qwen3', 'qwen3_moe'],
    ]);
    expect(stdout).toMatch(/^llamacpp-f32-im2col +zaya +the public/m);
    expect([...new Set(listed.map(({ name }) => name))]).toEqual([
      'f32',
      'bf16-weights',
      'pytorch-bf16',
      'pytorch-f16',
      'llamacpp',
      'llamacpp-f32-im2col',
      ...['bf16', 'f16', 'q8_0', 'q6_k', 'q4_0'].map((type) => `llamacpp-${type}`),
    ]);
  });

  it('shows what a preset sets where, without a model for ZAYA1-8B', async () => {
    const tiny = await runCommand(['policy', 'show', 'llamacpp', '--model', model]);
    expect(tiny.stdout).toMatch(
      /patches +F16 +8 +layers\.\{0\.\.7\}\.self_attn\.qkv_proj\.conv_qk_grouped#patches/,
    );
    expect((await runCommand(['policy', 'show', 'llamacpp'])).stdout).toContain('layers.{0..39}');
    const json = JSON.parse(
      (await runCommand(['policy', 'show', 'f32', '--model', model, '--json'])).stdout,
    ) as {
      sites: { site: string; value: string }[];
    };
    expect(json.sites).toContainEqual({ site: 'embed_tokens#weight', kind: 'weight', value: 'F32' });
  });

  it('shows the difference of two policies by groups, and exits with 1 if there is one', async () => {
    const { code, stdout } = await runCommand(['policy', 'diff', 'llamacpp', 'f32', '--model', model]);
    expect(code).toBe(1);
    expect(stdout).toContain('64 sites differ');
    expect(stdout).toMatch(/layers\.\{0\.\.7\}\.self_attn:k_cache#dtype +8 +F16 +F32/);
    const same = await runCommand(['policy', 'diff', 'f32', 'f32']);
    expect(same).toMatchObject({ code: 0, stdout: 'f32 and f32 agree at every site\n' });
  });

  it('takes policy files here and wherever a run has a policy, and refuses rules that match nothing', async () => {
    const folder = await temporaryFolder();
    const [good, wrong] = [join(folder, 'good.json'), join(folder, 'wrong.json')];
    await writeFile(good, JSON.stringify({ name: 'mine', rules: [{ sites: '**.norm#round', set: 'BF16' }] }));
    await writeFile(
      wrong,
      JSON.stringify({ name: 'typo', rules: [{ sites: '**.nrom#round', set: 'BF16' }] }),
    );
    expect((await runCommand(['policy', 'show', good, '--model', model])).stdout).toContain('mine');
    expect((await runCommand(['policy', 'show', wrong])).stderr).toContain('**.nrom#round');
    const capture = ['capture', '--model', model, '--tokens', '5,6', '--taps', 'norm', '--json', '--out'];
    const run = await runCommand([...capture, join(folder, 'out'), '--policy', good]);
    expect(JSON.parse(run.stdout)).toMatchObject({ policy: 'mine' });
    const refused = await runCommand([...capture, join(folder, 'none'), '--policy', wrong]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('**.nrom#round');
  });
});
