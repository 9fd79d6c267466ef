import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Policy, policy, resolvePolicy, type Setting } from '../../src/graph/policy.js';
import { openPolicyRunner } from '../../src/locate/replay/policy-runner.js';
import { openModel } from '../../src/models/runtime/model.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const prompt = tokens.slice(0, 20);

async function whole(chosen: Policy): Promise<Float32Array> {
  using opened = await openModel(model, { policy: chosen, threads: 1 });
  return await opened.prefill(prompt);
}

/** As `good`, but with the sites of a pattern as in another policy. */
function mixture(good: Policy, sites: string, set: string): Policy {
  return { name: 'mixture', description: '', rules: [...good.rules, { sites, set }] };
}

describe('a policy runner', () => {
  it('gives the logits of whole runs, whatever it computed before', async () => {
    const [good, bad] = [policy('f32'), policy('llamacpp')];
    using runner = await openPolicyRunner(model, [good, bad], prompt, { threads: 1 });
    const policies = [
      good,
      bad,
      mixture(good, 'layers.5.self_attn:k_cache#dtype', 'F16'),
      mixture(good, 'layers.{2,5}.**:act1#form', 'tanh'),
      mixture(bad, 'layers.3.**#patches', 'F32'),
      good,
    ];
    for (const each of policies) expect(await runner.run(resolvePolicy(each))).toEqual(await whole(each));
  });

  it('computes from the first block that differs only', async () => {
    const good = policy('f32');
    using runner = await openPolicyRunner(model, [good, policy('llamacpp')], prompt, { threads: 1 });
    const blocks = async (setting: Setting) => {
      const before = runner.cost.blockRuns;
      await runner.run(setting);
      return runner.cost.blockRuns - before;
    };
    const at = (block: number) =>
      resolvePolicy(mixture(good, `layers.${block}.self_attn:k_cache#dtype`, 'F16'));
    expect(await blocks(resolvePolicy(good))).toBe(8);
    expect(await blocks(at(6))).toBe(2);
    expect(await blocks(at(0))).toBe(8);
    expect(await blocks(resolvePolicy(good))).toBe(0);
    expect(runner.cost).toEqual({ runs: 4, blockRuns: 18, forwardPasses: 18 / 8 });
  });

  it('forgets states and graphs that exceed their memory, and computes them again', async () => {
    const [good, bad] = [policy('f32'), policy('llamacpp')];
    const limits = { threads: 1, stateBytes: 1, graphBytes: 1 };
    using runner = await openPolicyRunner(model, [good, bad], prompt, limits);
    for (const each of [good, bad, good])
      expect(await runner.run(resolvePolicy(each))).toEqual(await whole(each));
    expect(runner.cost.blockRuns).toBeGreaterThan(16);
  });

  it('mixes weights of two dtypes', async () => {
    const [good, bad] = [policy('f32'), policy('bf16-weights')];
    using runner = await openPolicyRunner(model, [good, bad], prompt, { threads: 1 });
    const policies = [
      mixture(good, 'layers.4.mlp.experts.*#weight', 'stored'),
      mixture(bad, 'embed_tokens#weight', 'F32'),
    ];
    for (const each of policies) expect(await runner.run(resolvePolicy(each))).toEqual(await whole(each));
  });

  it('refuses a weight dtype that it has not loaded, no token, no policy, and ids outside the vocabulary', async () => {
    const good = policy('f32');
    using runner = await openPolicyRunner(model, [good], prompt, { threads: 1 });
    await expect(runner.run(resolvePolicy(policy('bf16-weights')))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      tensor: 'embed_tokens#weight',
    });
    const badCalls = [
      openPolicyRunner(model, [good], []),
      openPolicyRunner(model, [], prompt),
      openPolicyRunner(model, [good], [100_000]),
    ];
    for (const call of badCalls) await expect(call).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
