import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../../src/families/families.js';
import { familyPolicies, listPresets, loadPolicy, type Policy, policy } from '../../src/graph/policy.js';
import { parseConfig } from '../../src/models/architectures.js';
import { openModel } from '../../src/models/runtime/model.js';
import { modelPolicy, settingOf } from '../../src/models/runtime/model-policy.js';
import { checkPolicy, modelSites } from '../../src/models/runtime/sites.js';
import { patternGlobs, tapPattern } from '../../src/tap-pattern.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { QWEN3_CONFIG, QWEN3_MOE_CONFIG, SMALL_CONFIG, writeRandomModel } from './random-model.js';

const EACH_FAMILY = { zaya: SMALL_CONFIG, 'qwen3, dense': QWEN3_CONFIG, qwen3_moe: QWEN3_MOE_CONFIG };
const CONFIGS: [string, Record<string, unknown>][] = Object.entries(EACH_FAMILY).flatMap(([name, json]) =>
  [1, 3].flatMap((blocks) =>
    [true, false].map((isTied): [string, Record<string, unknown>] => [
      `${name}, ${blocks} blocks, ${isTied ? 'tied' : 'untied'}`,
      { ...json, num_hidden_layers: blocks, tie_word_embeddings: isTied },
    ]),
  ),
);
CONFIGS.push([
  'qwen3_moe, no block with experts',
  { ...QWEN3_MOE_CONFIG, num_hidden_layers: 1, mlp_only_layers: [0] },
]);

/** Names of the presets that a model's type has. */
function presetsOf(type: unknown): string[] {
  return listPresets().flatMap(({ name, models }) => (models.includes(String(type)) ? [name] : []));
}

describe.each(CONFIGS)('presets fit every architecture: %s', (_, json) => {
  it('opens and runs under each', async () => {
    const folder = await writeRandomModel(join(await temporaryFolder(), 'model'), json);
    for (const name of presetsOf(json.model_type)) {
      using model = await openModel(folder, { policy: name, threads: 1 });
      const logits = await model.prefill([1, 5, 9]);
      expect([name, logits.length, logits.every(Number.isFinite)]).toEqual([
        name,
        3 * Number(json.vocab_size),
        true,
      ]);
      expect(new Set(logits).size).toBeGreaterThan(1);
    }
  });

  it('and under policies that extend them, whose own rules must match', async () => {
    const config = parseConfig(json);
    const file = join(await temporaryFolder(), 'own.json');
    for (const base of presetsOf(json.model_type)) {
      const write = (sites: string) =>
        writeFile(file, JSON.stringify({ name: 'own', extends: base, rules: [{ sites, set: 'BF16' }] }));
      await write('norm#round');
      const own = await loadPolicy(file);
      expect(() => checkPolicy(own, config)).not.toThrow();
      expect(settingOf(own, config)('norm#round')).toBe('BF16');
      await write('nrom#round');
      const wrong = await loadPolicy(file);
      // The rule is counted as in the file.
      expect(() => checkPolicy(wrong, config)).toThrow(/nrom#round in rule 0 \(own\)$/);
    }
  });
});

describe('a preset', () => {
  it('has no rule that matches nothing in all models of its family', () => {
    for (const family of FAMILIES) {
      const models = CONFIGS.map(([, json]) => parseConfig(json)).filter(({ model_type }) =>
        family.types.includes(model_type),
      );
      const sites = new Set(models.flatMap((config) => modelSites(config).map(({ name }) => name)));
      for (const { name, rules } of Object.values(familyPolicies(family)))
        for (const glob of rules.flatMap((rule) => patternGlobs(rule.sites)))
          expect([name, glob, [...sites].some(tapPattern(glob))]).toEqual([name, glob, true]);
    }
  });

  it("of another family is refused by name, with the model's own", async () => {
    const dense = parseConfig(QWEN3_CONFIG);
    const refused = /^policy: expected a preset for qwen3 and qwen3_moe: f32, .*, got llamacpp-f32-im2col/;
    expect(() => checkPolicy(policy('llamacpp-f32-im2col'), dense)).toThrow(refused);
    const file = join(await temporaryFolder(), 'own.json');
    await writeFile(file, JSON.stringify({ name: 'mine', extends: 'llamacpp-f32-im2col', rules: [] }));
    expect(() => checkPolicy({ ...policy('f32'), rules: [] }, dense)).not.toThrow();
    const mine = await loadPolicy(file);
    expect(() => checkPolicy(mine, dense)).toThrow(/got llamacpp-f32-im2col \(mine\)$/);
  });

  it('that another family lends its name is replaced, whichever family it was read for', () => {
    const [zaya, dense] = [parseConfig(SMALL_CONFIG), parseConfig(QWEN3_CONFIG)];
    for (const family of FAMILIES) {
      const preset = policy('llamacpp', family);
      expect(modelPolicy(preset, zaya)).toBe(policy('llamacpp', FAMILIES[0]));
      expect(modelPolicy(preset, dense)).toBe(policy('llamacpp', FAMILIES[1]));
      const rule = { sites: 'norm#round', set: 'F16' };
      const own: Policy = {
        name: 'own',
        description: '',
        extends: 'llamacpp',
        rules: [...preset.rules, rule],
      };
      expect(modelPolicy(own, zaya).rules).toEqual([...policy('llamacpp', FAMILIES[0]).rules, rule]);
      expect(modelPolicy(own, dense).rules).toEqual([...policy('llamacpp', FAMILIES[1]).rules, rule]);
    }
  });

  it('that is written out by hand is the rules of its writer', () => {
    const { rules } = policy('pytorch-bf16', FAMILIES[1]);
    const copied = { name: 'pytorch-bf16', description: '', rules };
    expect(() => checkPolicy(copied, parseConfig(QWEN3_CONFIG))).toThrow(/router_probs/);
    expect(() => checkPolicy(copied, parseConfig(QWEN3_MOE_CONFIG))).not.toThrow();
  });
});
