import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffWeightsByContent } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { makeCheckpoints, newFolder, type Sources } from './tiny-models.js';
import { judgeWeights } from './weights-truth.js';

const FAMILIES = ['llama', 'qwen3moe', 'gemma3', 'gpt2', 'mamba2', 'deepseek2', 'lfm2', 'gptneox'];

/** Of Llama: how many tensors stand elsewhere, and what is said of one. */
const MISPLACED: Record<string, [count: number, note: string]> = {
  'down of other blocks': [
    2,
    'blk.2.ffn_down.weight: stands in block 2 and holds model.layers.0.mlp.down_proj.weight, of another block',
  ],
  'whole blocks swapped': [
    18,
    'blk.0.attn_q.weight: stands in block 0 and holds model.layers.2.self_attn.q_proj.weight, of another block',
  ],
  'gate and up swapped in all': [
    6,
    'blk.1.ffn_up.weight: is called up and holds model.layers.1.mlp.gate_proj.weight, called gate',
  ],
  'norms swapped in one block': [
    2,
    'blk.1.ffn_norm.weight: in other blocks blk.*.ffn_norm.weight holds model.layers.{l}.post_attention_layernorm.weight',
  ],
};

describe('diff-weights by content', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let sources: Sources;
  beforeAll(() => {
    const faults: Record<string, { fault: string }> = {
      llama: { fault: 'gate and up swapped' },
      mamba2: { fault: 'ssm conv reversed' },
      gemma3: { fault: 'no output norm' },
    };
    const misplaced = Object.fromEntries(Object.keys(MISPLACED).map((fault) => [fault, { fault }]));
    sources = makeCheckpoints(
      FAMILIES.map((family) => ({
        family,
        folder: at(family),
        checkpoint: true,
        ggufs: {
          model: {},
          q8_0: { type: 'Q8_0' },
          q4_0: { type: 'Q4_0' },
          ...(faults[family] && { fault: faults[family] }),
          ...(family === 'llama' && misplaced),
        },
      })),
    ).sources;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(FAMILIES)('pairs every tensor of %s, none wrongly, and all elements agree', async (family) => {
    const report = await diffWeightsByContent(at(family, 'checkpoint'), at(family, 'model.gguf'));
    expect(judgeWeights(report, sources[family]!)).toEqual({ wrong: [], missed: [] });
    // All but the logarithms of Mamba, whose exponential two programs round differently.
    expect(report.tensors.filter(({ metrics }) => !(metrics.nmse < 1e-14))).toEqual([]);
    expect(report).toMatchObject({ pass: true, unpaired: [] });
  });

  it.each(FAMILIES.flatMap((family) => [[family, 'q8_0', 1e-4] as const, [family, 'q4_0', 0.02] as const]))(
    'pairs every tensor of %s in %s, none wrongly, with its error',
    async (family, type, most) => {
      const report = await diffWeightsByContent(at(family, 'checkpoint'), at(family, `${type}.gguf`));
      expect(judgeWeights(report, sources[family]!)).toEqual({ wrong: [], missed: [] });
      expect(report.unpaired).toEqual([]);
      const quantised = report.tensors.filter(({ dtypes }) => dtypes.tested.startsWith('Q'));
      expect(quantised.length).toBeGreaterThan(1);
      for (const { metrics } of quantised) expect(metrics.nmse).toBeLessThan(most);
      for (const { metrics } of quantised) expect(metrics.nmse).toBeGreaterThan(most / 50);
    },
  );

  it('names the permutation of q and k, joined experts, parts and transposes', async () => {
    const layouts = async (family: string): Promise<Record<string, string>> => {
      const { tensors } = await diffWeightsByContent(at(family, 'checkpoint'), at(family, 'model.gguf'));
      return Object.fromEntries(tensors.map(({ from, layout }) => [from!, layout!]));
    };
    const rotation = 'rotation: halves of each 64 rows as neighbours';
    expect(await layouts('llama')).toMatchObject({
      'blk.1.attn_q.weight': rotation,
      'blk.1.attn_k.weight': rotation,
      'blk.1.attn_v.weight': '',
    });
    expect(await layouts('deepseek2')).toMatchObject({
      'blk.1.attn_k_b.weight': 'transposed; 32 of every 96 rows',
      'blk.1.attn_v_b.weight': '64 of every 96 rows from 32',
      'blk.1.ffn_up_exps.weight': '8 joined',
    });
    expect((await layouts('gpt2'))['blk.0.ffn_up.weight']).toBe('transposed');
    expect((await layouts('gemma3'))['blk.0.attn_norm.weight']).toBe('plus 1');
    expect((await layouts('mamba2'))['blk.0.ssm_a']).toMatch(/^other axes; minus exp of it/);
  });

  it('tells a tensor that holds what another should', async () => {
    const args = ['diff-weights', at('llama', 'checkpoint'), at('llama', 'fault.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}.*30 tensors compared/m);
    expect(stdout).toMatch(
      /^note: blk\.1\.ffn_gate\.weight: is called gate and holds \S+up_proj\.weight, called up; in other blocks blk\.\*\.ffn_gate\.weight holds model\.layers\.\{l\}\.mlp\.gate_proj\.weight$/m,
    );
  });

  it.each(Object.entries(MISPLACED))(
    'fails where tensors stand elsewhere: %s',
    async (fault, [count, note]) => {
      const args = ['diff-weights', at('llama', 'checkpoint'), at('llama', `${fault}.gguf`), '--all'];
      const { code, stdout } = await runCommand(args);
      expect(code).toBe(1);
      expect(stdout).toContain(`30 identical, 0 unpaired, ${count} IN ANOTHER'S PLACE\n`);
      expect(stdout.split('\n')).toContain(`note: ${note}`);
      expect(stdout).toMatch(
        fault === 'gate and up swapped in all'
          ? /^blk\.\*\.ffn_up\.weight +model\.layers\.\*\.mlp\.gate_proj\.weight +3$/m
          : /^blk\.\*\.ffn_up\.weight +model\.layers\.\*\.mlp\.up_proj\.weight +3$/m,
      );
    },
  );

  it('pairs a tensor that a conversion spoilt as other blocks have it, with its error', async () => {
    const report = await diffWeightsByContent(at('mamba2', 'checkpoint'), at('mamba2', 'fault.gguf'));
    expect(judgeWeights(report, sources.mamba2!).wrong).toEqual([]);
    const [worst] = report.tensors;
    expect(worst).toMatchObject({
      from: 'blk.1.ssm_conv1d.weight',
      name: 'backbone.layers.1.mixer.conv1d.weight',
    });
    expect(worst!.metrics.nmse).toBeGreaterThan(0.5);
  });

  it('lists what one side lacks', async () => {
    const own = at('gemma3', 'checkpoint');
    const report = await diffWeightsByContent(own, at('gemma3', 'fault.gguf'));
    const reason = 'is in no tensor of the tested model';
    expect(report).toMatchObject({ pass: false, unpaired: [{ name: 'model.norm.weight', reason }] });
    const { unpaired } = await diffWeightsByContent(at('gemma3', 'fault.gguf'), own);
    expect(unpaired).toEqual([
      {
        name: 'model.norm.weight of the tested model',
        reason: expect.stringMatching(/^holds no tensor that the reference has; the nearest of its size is/),
      },
    ]);
  });
});
