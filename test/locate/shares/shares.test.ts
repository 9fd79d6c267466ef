import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { policy, resolvePolicy } from '../../../src/graph/policy.js';
import { adjointShares } from '../../../src/locate/bisect/shares/shares.js';
import { openPolicyRunner } from '../../../src/locate/replay/policy-runner.js';
import { portDtypes } from '../port-dtypes.js';

const tiny = join(import.meta.dirname, '..', '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const f32 = policy('f32');
const options = { threads: 1 } as const;

/** Σ (b − a) · c. */
function along(a: Float32Array, b: Float32Array, c: Float32Array): number {
  return c.reduce((sum, value, at) => sum + value * (b[at]! - a[at]!), 0);
}

describe('adjointShares', () => {
  it.each([
    ['pytorch-f16', 0, false],
    ['pytorch-bf16', 5, true],
  ])('add up under %s, where %i tokens change their experts', async (name, flips, isPinned) => {
    const { run, free } = await adjointShares(
      { model, tokens, good: f32, bad: policy(name) },
      { ...options, probes: 0 },
    );
    expect(run.sites.length).toBeGreaterThan(500);
    expect([(free ?? run).flips, run.pinned]).toEqual([flips, isPinned]);
    expect(run.sum).toBeGreaterThan(0.95);
    expect(run.sum).toBeLessThan(1.05);
    expect(run.holds).toBe(true);
    expect(free?.holds ?? false).toBe(false);
    expect(run.sum).toBeCloseTo(
      run.sites.reduce((sum, { share }) => sum + share, 0),
      10,
    );
  });

  it('are what a run with one choice alone moves the logits by, where choices err the same in both', async () => {
    // None of the four reads what another has rounded.
    const projections = 'layers.6.self_attn.qkv_proj.{q_proj,k_proj,v_proj_current,v_proj_delayed}#round';
    const rules = [{ sites: projections, set: 'BF16' }];
    const bad = { name: 'forms', description: '', rules };
    const { run } = await adjointShares({ model, tokens, good: f32, bad }, { ...options, probes: 32 });
    using runner = await openPolicyRunner(model, [f32, bad], tokens, options);
    const [goodSetting, badSetting] = [resolvePolicy(f32), resolvePolicy(bad)];
    const good = await runner.run(goodSetting);
    const whole = await runner.run(badSetting);
    const difference = whole.map((value, at) => value - good[at]!);
    const energy = along(good, whole, difference);
    const power = good.reduce((sum, value) => sum + value * value, 0);
    expect(run.sites).toHaveLength(4);
    for (const { site, share, alone } of run.sites) {
      const logits = await runner.run((each) => (each === site ? badSetting : goodSetting)(each));
      const moved = logits.map((value, at) => value - good[at]!);
      expect(Math.abs(share - along(good, logits, difference) / energy), site).toBeLessThan(0.02);
      const ratio = alone! / (along(good, logits, moved) / power);
      expect(Math.abs(Math.log(ratio)), site).toBeLessThan(Math.log(3));
    }
  });

  it('say where choices of experts change, which no gradient sees', async () => {
    const { run, free } = await adjointShares(
      { model, tokens, good: f32, bad: policy('llamacpp') },
      { ...options, probes: 0 },
    );
    const choosing = run.sites.filter(({ chooses }) => chooses).map(({ site }) => site);
    expect(choosing).toEqual(Array.from({ length: 8 }, (_, block) => `layers.${block}.mlp.gate:expert#skip`));
    expect(free!.sum).toBeLessThan(0.1);
    expect(run.holds).toBe(true);
  });

  it('take weights of a GGUF type for sites as they do values', async () => {
    const bad = { name: 'q8', description: '', rules: [{ sites: '**#weight', set: 'q8_0' }] };
    const { run } = await adjointShares({ model, tokens, good: f32, bad }, { ...options, routing: 'pinned' });
    expect(run.holds).toBe(true);
    expect(run.sites.every(({ site }) => site.endsWith('#weight'))).toBe(true);
  });

  it('measure the growth of the error against a reference', async () => {
    const problem = { model, tokens, good: f32, bad: portDtypes() };
    using runner = await openPolicyRunner(model, [f32], tokens, options);
    const reference = (await runner.run(resolvePolicy(f32))).map((value) => value * (1 + 1e-6));
    const { run, against } = await adjointShares({ ...problem, reference }, { ...options, probes: 0 });
    expect([against, run.holds]).toEqual(['reference', true]);
  });

  it('refuse policies that agree, and a bad run that is none', async () => {
    await expect(adjointShares({ model, tokens, good: f32, bad: f32 })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const bad = {
      name: 'b',
      description: '',
      rules: [{ sites: 'layers.0.self_attn:k_cache#dtype', set: 'F16' }],
    };
    using runner = await openPolicyRunner(model, [bad], tokens, options);
    const reference = await runner.run(resolvePolicy(bad));
    await expect(adjointShares({ model, tokens, good: f32, bad, reference })).rejects.toThrow(/got nearer/);
  });

  it('stop when asked to', async () => {
    const stopped = new AbortController();
    const work = adjointShares(
      { model, tokens, good: f32, bad: portDtypes() },
      { ...options, signal: stopped.signal, onProgress: (done) => done === 3 && stopped.abort() },
    );
    await expect(work).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
