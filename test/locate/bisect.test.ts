import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toFloat32 } from '../../src/dump/float.js';
import { Dump } from '../../src/dump/reader.js';
import { policy } from '../../src/graph/policy.js';
import { type BisectOptions, bisect } from '../../src/locate/bisect/bisect.js';
import { expectedErrors } from '../../src/locate/bisect/shares/alone.js';
import { openPolicyTests, type PolicyProblem } from '../../src/locate/replay/policy-tests.js';
import { tapPattern } from '../../src/tap-pattern.js';
import { SMALL_CONFIG, writeRandomModel } from '../models/random-model.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { portDtypes } from './port-dtypes.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };

function problem(good: string, bad: string, model = join(tiny, 'model')): PolicyProblem {
  const of = (name: string) => (name.startsWith('llamacpp') ? portDtypes(name) : policy(name));
  return { model, tokens, good: of(good), bad: of(bad) };
}

/** Measures again, without the search, that a set fails and passes without any one of its units. */
async function isMinimal(of: PolicyProblem, units: readonly (readonly string[])[], failAbove: number) {
  using tests = await openPolicyTests(of, { threads: 1 });
  const fails = async (chosen: readonly (readonly string[])[]) =>
    !((await tests.measure(chosen.flat())) <= failAbove);
  if (!(await fails(units))) return false;
  for (const unit of units) if (await fails(units.filter((each) => each !== unit))) return false;
  return true;
}

describe('bisect', () => {
  it('names the im2col sites, and no others, as the difference of the port before and after its fix', async () => {
    const report = await bisect(problem('llamacpp-f32-im2col', 'llamacpp'), { threads: 1 });
    expect(report.groups).toEqual(['layers.{0..7}.self_attn.qkv_proj.conv_qk_grouped#patches']);
    expect(report.sites).toBe(8);
    expect(report.verified).toBe(true);
    expect(report.level).toBe('site');
    const matches = tapPattern(report.groups[0]!);
    for (const { sites, good, bad } of report.minimal) {
      expect(sites.every(matches)).toBe(true);
      expect([good, bad]).toEqual(['F32', 'F16']);
    }
    expect(report.good.error).toBe(0);
    expect(report.error).toBeGreaterThan(report.failAbove);
  });

  it('takes its order from estimates: single sites within the passes that else give groups', async () => {
    const of = problem('f32', 'llamacpp');
    const expected = await expectedErrors(of, { threads: 1 });
    expect(expected.size).toBe(56);
    const report = await bisect(of, { threads: 1, maxPasses: 30, expected });
    expect(report).toMatchObject({ level: 'site', verified: true });
    const units = report.minimal.map(({ sites }) => sites);
    expect(await isMinimal(of, units, report.failAbove)).toBe(true);
  });

  it('explains half of the port with single sites, none of which can be left out', async () => {
    const of = problem('f32', 'llamacpp');
    const report = await bisect(of, { threads: 1, maxPasses: 200 });
    expect(report.failAbove).toBeCloseTo(report.bad.error / 2, 12);
    expect(report).toMatchObject({ level: 'site', verified: true });
    const units = report.minimal.map(({ sites }) => sites);
    expect(units.length).toBeGreaterThan(1);
    expect(await isMinimal(of, units, report.failAbove)).toBe(true);
    const alone = report.minimal.map((unit) => unit.alone!);
    expect(alone).toEqual(alone.toSorted((a, b) => b - a));
    const [largest] = report.interactions;
    expect(Math.abs(largest!.excess)).toBeGreaterThan(0);
  });

  it('explains it within 30 forward passes by groups of sites', async () => {
    const of = problem('f32', 'llamacpp');
    const report = await bisect(of, { threads: 1 });
    expect(report.verified).toBe(true);
    expect(report.cost.forwardPasses).toBeLessThanOrEqual(30);
    const units = report.minimal.map(({ sites }) => sites);
    expect(await isMinimal(of, units, report.failAbove)).toBe(true);
  });

  it('measures against reference logits when it has some', async () => {
    const of = problem('f32', 'llamacpp');
    await using dump = await Dump.open(join(tiny, 'reference-float32'));
    const { data, dtype } = await dump.read('lm_head');
    const reference = toFloat32(data, dtype);
    const report = await bisect({ ...of, reference }, { threads: 1, maxPasses: 8 });
    expect(report.against).toBe('reference');
    // transformers and our F32 differ by rounding only, but they do.
    expect(report.good.error).toBeGreaterThan(0);
    expect(report.good.error).toBeLessThan(1e-11);
    expect(report.failAbove).toBeCloseTo((report.good.error + report.bad.error) / 2, 15);
    const short = bisect({ ...of, reference: reference.slice(1) }, { threads: 1 });
    await expect(short).rejects.toMatchObject({ code: 'SHAPE_MISMATCH', tensor: 'lm_head' });
  });

  it('gives the same report again, also from a state file of a search that was stopped', async () => {
    const of = problem('f32', 'llamacpp');
    const stateFile = join(await temporaryFolder(), 'state.json');
    const { cost: fullCost, ...full } = await bisect(of, { threads: 1 });
    const stopped = new AbortController();
    const options: BisectOptions = {
      threads: 1,
      stateFile,
      signal: stopped.signal,
      onProgress: (passes) => passes > 10 && stopped.abort(),
    };
    await expect(bisect(of, options)).rejects.toMatchObject({ code: 'CANCELLED' });
    const { cost: restCost, ...rest } = await bisect(of, { threads: 1, stateFile });
    expect(rest).toEqual(full);
    expect(restCost.countedPasses).toBe(fullCost.countedPasses);
    expect(restCost.resumed).toBeGreaterThan(5);
    expect(restCost.runs).toBeLessThan(fullCost.runs);
    const { cost: noCost, ...again } = await bisect(of, { threads: 1, stateFile });
    expect(again).toEqual(full);
    expect(noCost.runs).toBe(0);
  });

  it('refuses the state of another bisect and a file that is none', async () => {
    const stateFile = join(await temporaryFolder(), 'other.json');
    await bisect(problem('llamacpp-f32-im2col', 'llamacpp'), { threads: 1, stateFile });
    await expect(bisect(problem('f32', 'llamacpp'), { threads: 1, stateFile })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const before = await readFile(stateFile, 'utf8');
    await writeFile(stateFile, before.slice(0, -20));
    await expect(
      bisect(problem('llamacpp-f32-im2col', 'llamacpp'), { threads: 1, stateFile }),
    ).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it.each([
    ['policies that agree', problem('f32', 'f32'), {}],
    ['a good run that fails', problem('f32', 'llamacpp'), { failAbove: -1 }],
    ['a bad run that passes', problem('f32', 'llamacpp'), { failAbove: 1 }],
    ['less than two passes', problem('f32', 'llamacpp'), { maxPasses: 1 }],
  ])('refuses %s', async (_, of, options) => {
    await expect(bisect(of, { threads: 1, ...options })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it.each([
    ['llamacpp-f32-im2col', 'llamacpp'],
    ['f32', 'llamacpp'],
    ['f32', 'pytorch-bf16'],
    ['f32', 'bf16-weights'],
  ])('on 24 blocks costs at most 30 forward passes and verifies its result: %s, %s', async (good, bad) => {
    const model = await writeRandomModel(await temporaryFolder(), { ...SMALL_CONFIG, num_hidden_layers: 24 });
    const of = {
      ...problem(good, bad, model),
      tokens: Array.from({ length: 12 }, (_, index) => (index * 7) % 61),
    };
    const report = await bisect(of, { threads: 1 });
    expect(report.cost.blockRuns).toBeLessThanOrEqual(30 * 24);
    expect(report.cost.forwardPasses).toBe(report.cost.blockRuns / 24);
    expect(report.verified).toBe(true);
    const units = report.minimal.map(({ sites }) => sites);
    expect(await isMinimal(of, units, report.failAbove)).toBe(true);
  });
});
