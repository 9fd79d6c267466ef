import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { QWEN3 } from '../../src/families/qwen3.js';
import { loadPolicy, POLICIES, type Policy, policy, resolvePolicy } from '../../src/graph/policy.js';
import { blockPattern, groupSites, policyDiff, siteOp } from '../../src/locate/replay/policy-sites.js';
import { parseConfig } from '../../src/models/architectures.js';
import { openModel } from '../../src/models/runtime/model.js';
import { modelPolicy, settingOf } from '../../src/models/runtime/model-policy.js';
import { checkPolicy, modelSites } from '../../src/models/runtime/sites.js';
import { modelTaps } from '../../src/models/runtime/trace.js';
import { parseZayaConfig, readZayaConfig } from '../../src/models/zaya/config.js';
import { tapPattern } from '../../src/tap-pattern.js';
import { SMALL_CONFIG } from '../models/random-model.js';
import { temporaryFolder } from '../weights/fixtures.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const config = await readZayaConfig(tiny);
const full = parseZayaConfig({ model_type: 'zaya' });

function custom(...rules: Policy['rules']): Policy {
  return { name: 'custom', description: '', rules };
}

describe('the sites of a model', () => {
  it('are found once each, with their block and segment', () => {
    const sites = modelSites(config);
    expect(new Set(sites.map(({ name }) => name)).size).toBe(sites.length);
    for (const { name, block, segments } of sites) {
      expect(/^layers\.(\d+)/.exec(name)?.[1]).toBe(block === null ? undefined : String(block));
      if (block !== null) expect(segments).toEqual([block + 1]);
    }
    const embedding = sites.find(({ name }) => name === 'embed_tokens#weight')!;
    expect(embedding.segments).toEqual([0, config.num_hidden_layers + 1]); // tied to the head
    expect(sites.some(({ name }) => name === 'layers.0.mlp.gate:eda_product#round')).toBe(false);
    expect(sites.some(({ name }) => name === 'layers.1.mlp.gate:eda_product#round')).toBe(true);
  });

  it('round at every tap of F32 that is no part of another, and take a dtype for every matrix', () => {
    const names = new Set(modelSites(config).map(({ name }) => name));
    const taps = modelTaps(config).filter(({ dtype }) => dtype === 'F32');
    const without = taps.filter(({ name }) => !names.has(`${name}#round`)).map(({ name }) => siteOp(name));
    expect([...new Set(without)].sort()).toEqual([
      'mlp.gate:margin',
      'self_attn.qkv_proj.conv_qk_depthwise:lead',
    ]);
    const matrices = ['q_proj', 'k_proj', 'v_proj_current', 'v_proj_delayed'];
    for (const name of matrices) expect(names).toContain(`layers.7.self_attn.qkv_proj.${name}#weight`);
  });

  it('are the same whatever a policy has chosen, and found for ZAYA1-8B without its weights', () => {
    const sites = modelSites(full);
    expect(new Set(sites.map(({ block }) => block)).size).toBe(41);
    expect(sites.length).toBeGreaterThan(40 * 90);
  });

  it('have the head of a model that is not tied', () => {
    const untied = parseZayaConfig({ ...SMALL_CONFIG, tie_word_embeddings: false });
    const head = modelSites(untied).find(({ name }) => name === 'lm_head#weight');
    expect(head?.segments).toEqual([SMALL_CONFIG.num_hidden_layers + 1]);
  });
});

describe('checkPolicy', () => {
  it.each(Object.keys(POLICIES))('accepts %s on the tiny model, on ZAYA1-8B and on one block', (name) => {
    for (const each of [config, full, parseZayaConfig({ ...SMALL_CONFIG, num_hidden_layers: 1 })])
      expect(() => checkPolicy(policy(name), each)).not.toThrow();
  });

  it.each([
    ['a name that no module has', custom({ sites: '**.conv_qk_groupd#patches', set: 'F16' })],
    ['a block that the model does not have', custom({ sites: 'layers.8.**#round', set: 'BF16' })],
    ['one glob of several', custom({ sites: '**:k_cache#dtype,**:v_cahce#dtype', set: 'F16' })],
    [
      'a value of another kind in a list of kinds',
      custom({ sites: 'embed_tokens#weight,**:act1#round', set: 'stored' }),
    ],
  ])('refuses %s', (_, wrong) => {
    expect(() => checkPolicy(wrong, config)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });

  it('is asked before a model is loaded', async () => {
    const wrong = custom({ sites: 'layers.99.**#round', set: 'BF16' });
    await expect(openModel(tiny, { policy: wrong })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      op: 'checkPolicy',
    });
  });
});

describe('a policy file', () => {
  async function file(text: string): Promise<string> {
    const path = join(await temporaryFolder(), 'policy.json');
    await writeFile(path, text);
    return path;
  }

  it('adds its rules to those of the preset that it extends, and opens a model by its path', async () => {
    const rules = [{ sites: 'layers.0.**#patches', set: 'F32' }];
    const path = await file(JSON.stringify({ name: 'mine', extends: 'llamacpp', rules }));
    const mine = await loadPolicy(path);
    expect(mine.rules).toEqual([...policy('llamacpp').rules, ...rules]);
    using model = await openModel(tiny, { policy: path, threads: 1 });
    expect(model.policy).toEqual(mine);
    const setting = resolvePolicy(mine);
    expect(setting('layers.0.self_attn.qkv_proj.conv_qk_grouped#patches')).toBe('F32');
    expect(setting('layers.1.self_attn.qkv_proj.conv_qk_grouped#patches')).toBe('F16');
  });

  it('extends the preset that the model has, of whatever family it is', async () => {
    const rules = [{ sites: 'layers.0.**#round', set: 'F16' }];
    const mine = await loadPolicy(
      await file(JSON.stringify({ name: 'mine', extends: 'pytorch-bf16', rules })),
    );
    const qwen3 = parseConfig({ model_type: 'qwen3' });
    const used = modelPolicy(mine, qwen3);
    expect(used.rules).toEqual([...QWEN3.policies['pytorch-bf16'].rules, ...rules]);
    expect(used.rules).not.toEqual(mine.rules);
    expect(modelPolicy(used, qwen3)).toBe(used);
    expect(settingOf(mine, qwen3)('layers.1.mlp.gate:router_probs#round')).toBe('none');
    expect(modelPolicy(mine, config)).toBe(mine);
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['no name', '{"rules": []}'],
    ['no rules', '{"name": "x"}'],
    ['a rule without a value', '{"name": "x", "rules": [{"sites": "**#round"}]}'],
    ['a value of no kind', '{"name": "x", "rules": [{"sites": "**#round", "set": "F64"}]}'],
    ['a site without a kind', '{"name": "x", "rules": [{"sites": "**", "set": "F16"}]}'],
    ['an unknown preset to extend', '{"name": "x", "extends": "f64", "rules": []}'],
  ])('is refused with %s', async (_, text) => {
    await expect(loadPolicy(await file(text))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('is refused where it cannot be read', async () => {
    await expect(loadPolicy(join(tiny, 'none.json'))).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('policyDiff', () => {
  it('lists what two policies choose where they differ', () => {
    const differences = policyDiff(policy('llamacpp'), policy('llamacpp-f32-im2col'), config);
    expect(differences.map(({ site, a, b }) => [site.name, a, b])).toEqual(
      Array.from({ length: 8 }, (_, block) => [
        `layers.${block}.self_attn.qkv_proj.conv_qk_grouped#patches`,
        'F16',
        'F32',
      ]),
    );
    expect(policyDiff(policy('f32'), policy('f32'), config)).toEqual([]);
  });
});

describe('groups of sites', () => {
  it('have a pattern that matches exactly their sites', () => {
    const sites = modelSites(config);
    const chosen = sites.filter(({ block }, index) => block === null || (index * 7 + block) % 3 === 0);
    const groups = groupSites(chosen);
    for (const { pattern, sites: members } of groups) {
      const matches = tapPattern(pattern);
      const matched = sites.map(({ name }) => name).filter(matches);
      expect(matched.sort()).toEqual([...members].sort());
    }
    expect(groups.flatMap((group) => group.sites)).toHaveLength(chosen.length);
  });

  it.each([
    [[3], '3'],
    [[3, 4], '{3,4}'],
    [[0, 1, 2, 3], '{0..3}'],
    [[0, 2, 3, 4, 9], '{0,{2..4},9}'],
    [[0, 1, 5, 6, 7], '{0,1,{5..7}}'],
  ])('write blocks %j as %s', (blocks, pattern) => {
    expect(blockPattern(blocks)).toBe(pattern);
    const matches = tapPattern(pattern);
    const matched = Array.from({ length: 12 }, (_, block) => block).filter((block) => matches(String(block)));
    expect(matched).toEqual(blocks);
  });

  it('refuse no block', () => {
    expect(() => blockPattern([])).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
