import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadPolicy, POLICIES, type Policy, stochasticPolicy } from '../../src/graph/policy.js';
import { openPolicyRunner } from '../../src/locate/replay/policy-runner.js';
import { openModel } from '../../src/models/runtime/model.js';
import { modelPolicy } from '../../src/models/runtime/model-policy.js';
import { randomValues } from '../../src/models/runtime/random-leaf.js';
import { readZayaConfig } from '../../src/models/zaya/config.js';
import { temporaryFolder } from '../weights/fixtures.js';

const folder = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const { tokens } = JSON.parse(readFileSync(join(folder, '..', 'prompt.json'), 'utf8')) as {
  tokens: number[];
};
const short = tokens.slice(0, 12);

async function logits(policy: string | Policy, ids = short): Promise<Float32Array> {
  using model = await openModel(folder, { policy, threads: 1 });
  return await model.prefill(ids);
}

describe('a policy that rounds stochastically', () => {
  it('gives the same bits for the same seed, and others for another', async () => {
    const first = await logits('pytorch-bf16:stochastic=1');
    expect(await logits('pytorch-bf16:stochastic=1')).toEqual(first);
    expect(await logits('pytorch-bf16:stochastic=2')).not.toEqual(first);
    expect(await logits('pytorch-bf16')).not.toEqual(first);
  });

  it('rounds what ggml rounds inside products of half-width weights and caches', async () => {
    const cached: Policy = {
      name: 'cache',
      description: '',
      rules: [{ sites: '**:{k,v}_cache#dtype', set: 'F16' }],
    };
    for (const base of [POLICIES['bf16-weights']!, cached]) {
      const draws = await Promise.all([0, 1, 1].map((seed) => logits(stochasticPolicy(base, seed))));
      expect(draws[0]).not.toEqual(draws[1]);
      expect(draws[2]).toEqual(draws[1]);
    }
  });

  it('changes nothing where nothing is rounded', async () => {
    expect(await logits(stochasticPolicy(POLICIES.f32!, 5))).toEqual(await logits('f32'));
  });

  it('shows rounded values: each tap holds what the dtype does', async () => {
    using model = await openModel(folder, { policy: 'pytorch-bf16:stochastic=4', threads: 1 });
    const name = 'layers.1.self_attn.o_proj';
    using plan = model.plan({ tokens: short.length, taps: { wants: (tap) => tap === name } });
    const low: number[] = [];
    await plan.run(short, {
      async sink(_, values) {
        for (const { bytes } of values) low.push(...new Uint16Array(bytes.slice().buffer));
      },
    });
    expect(low.length).toBeGreaterThan(0);
    expect(low.filter((half, at) => at % 2 === 0 && half !== 0)).toEqual([]);
  });

  it('rounds a prompt the same in parts, in one piece and in a batch', () => {
    const whole = { batch: 1, tokens: 6, span: 6, padded: false };
    const at = (past: number, padding: number[] = []) => ({ past, padding });
    const draw = (
      sizes: typeof whole,
      place: ReturnType<typeof at>,
      shape: number[],
      tokens?: { axis: number; lead?: number },
    ) => randomValues(9, { site: 's#round', dtype: 'BF16', shape, tokens }, sizes, place);
    const rows = draw(whole, at(0), [6, 2, 5]);
    expect(draw({ ...whole, tokens: 2 }, at(4), [2, 2, 5])).toEqual(rows.slice(40));
    expect(draw(whole, at(0), [1, 2, 5])).toEqual(rows.slice(50)); // the head, of the last token
    const batch = draw({ ...whole, batch: 2, padded: true }, at(0, [2, 0]), [12, 2, 5]);
    expect(batch.slice(20, 60)).toEqual(rows.slice(0, 40));
    expect(batch.slice(60)).toEqual(rows);
    // The columns of [B, heads, T, S] and [B, lead + T, C].
    const scores = draw(whole, at(0), [1, 2, 6, 6], { axis: 2 });
    const later = draw({ ...whole, tokens: 1 }, at(5), [1, 2, 1, 8], { axis: 2 });
    expect(later.slice(0, 6)).toEqual(scores.slice(30, 36));
    expect(later.slice(8, 14)).toEqual(scores.slice(66, 72));
    const series = draw(whole, at(0), [1, 7, 3], { axis: 1, lead: 1 });
    expect(draw({ ...whole, tokens: 2 }, at(4), [1, 3, 3], { axis: 1, lead: 1 })).toEqual(series.slice(12));
    expect(new Set(rows).size).toBeGreaterThan(55);
  });

  it('is read from a name and from a file, and is of the family of the model', async () => {
    const named = await loadPolicy('pytorch-bf16:stochastic=7');
    expect(named).toMatchObject({ extends: 'pytorch-bf16', rounding: { mode: 'stochastic', seed: 7 } });
    expect(await loadPolicy(named.name)).toEqual(named);
    expect(stochasticPolicy(named, 8).name).toBe('pytorch-bf16:stochastic=8');
    const config = await readZayaConfig(folder);
    expect(modelPolicy(named, config)).toEqual(named);
    const file = join(await temporaryFolder(), 'p.json');
    const rounding = { mode: 'stochastic', seed: 3 };
    await writeFile(file, JSON.stringify({ name: 'p', extends: 'pytorch-f16', rules: [], rounding }));
    expect(await loadPolicy(file)).toMatchObject({ rounding });
    await writeFile(file, JSON.stringify({ name: 'p', rules: [], rounding: { mode: 'odd' } }));
    await expect(loadPolicy(file)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(loadPolicy('pytorch-bf16:stochastic=4294967296')).rejects.toThrow('a seed from 0');
  });

  it('is refused where single ops are recomputed', async () => {
    const policy = stochasticPolicy(POLICIES['pytorch-bf16']!, 1);
    await expect(openPolicyRunner(folder, [policy], short)).rejects.toThrow('rounds to nearest');
  });
});
