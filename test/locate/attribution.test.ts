import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { policy, resolvePolicy } from '../../src/graph/policy.js';
import { attribute } from '../../src/locate/bisect/attribution.js';
import type { PolicyProblem } from '../../src/locate/replay/policy-tests.js';
import { openModel } from '../../src/models/runtime/model.js';
import { tapPattern } from '../../src/tap-pattern.js';
import { nmse } from '../models/nmse.js';
import { portDtypes } from './port-dtypes.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const problem: PolicyProblem = { model, tokens, good: policy('f32'), bad: portDtypes() };

async function logits(sites: string, set: string, isRepair: boolean): Promise<Float32Array> {
  const { rules } = isRepair ? problem.bad : problem.good;
  const chosen = { name: 'mixture', description: '', rules: [...rules, { sites, set }] };
  using opened = await openModel(model, { policy: chosen, threads: 1 });
  return await opened.prefill(tokens);
}

describe('attribute', () => {
  it('gives the error of each op of the port alone, repaired, and added one after the other', async () => {
    const { rows, good, bad } = await attribute(problem, { threads: 1 });
    expect(rows.map(({ group, sites }) => [group, sites])).toEqual([
      ['self_attn.qkv_proj.conv_qk_grouped#patches', 8],
      ['self_attn.qkv_proj.conv_qk_grouped#kernel', 8],
      ['self_attn:rope#angles', 8],
      ['self_attn:k_cache#dtype', 8],
      ['self_attn:v_cache#dtype', 8],
      ['mlp.gate.router_mlp:act1#form', 8],
      ['mlp.gate.router_mlp:act2#form', 8],
    ]);
    expect(good.error).toBe(0);
    expect(rows.at(-1)!.cumulative).toBe(bad.error);
    expect(rows[0]!.cumulative).toBe(rows[0]!.alone);
    expect(rows.at(-1)!.repaired).toBe(rows.at(-2)!.cumulative);
    const of = (group: string) => rows.find((row) => row.group.endsWith(group))!;
    // The checkpoint's BF16 kernels nearly all fit F16.
    expect(of('#kernel').alone).toBeLessThan(1e-3 * bad.error);
    for (const group of ['#patches', 'k_cache#dtype', 'v_cache#dtype', 'act1#form', 'act2#form'])
      expect(of(group).alone).toBeGreaterThan(1e-2 * bad.error);
    const cache = of('k_cache#dtype');
    const reference = await logits(cache.pattern, 'F32', false);
    expect(nmse(reference, await logits(cache.pattern, 'F16', false))).toBeCloseTo(cache.alone, 12);
    expect(nmse(reference, await logits(cache.pattern, 'F32', true))).toBeCloseTo(cache.repaired, 12);
  });

  it.each([
    ['kind', 5],
    ['module', 5],
    ['op', 7],
    ['block', 8],
  ] as const)('by %s cuts the sites into %i groups, each site in one', async (by, count) => {
    const { rows, cost } = await attribute(problem, { threads: 1, by });
    expect(rows).toHaveLength(count);
    expect(rows.reduce((sum, { sites }) => sum + sites, 0)).toBe(56);
    expect(cost.runs).toBeLessThanOrEqual(3 * count + 2);
    const setting = resolvePolicy(problem.bad);
    const matchers = rows.map(({ pattern }) => tapPattern(pattern));
    const site = 'layers.3.self_attn:k_cache#dtype';
    expect(setting(site)).toBe('F16');
    expect(matchers.filter((matches) => matches(site))).toHaveLength(1);
  });

  it('reports its progress and stops when asked to', async () => {
    const done: number[] = [];
    await attribute(problem, { threads: 1, by: 'kind', onProgress: (count) => done.push(count) });
    expect(done).toEqual(Array.from({ length: 17 }, (_, index) => index + 1));
    const stopped = new AbortController();
    const run = attribute(problem, {
      threads: 1,
      signal: stopped.signal,
      onProgress: (count) => count === 3 && stopped.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('refuses policies that agree', async () => {
    await expect(attribute({ ...problem, bad: problem.good })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });
});
