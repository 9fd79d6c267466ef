import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../../src/capture/capture.js';
import type { DumpNoise } from '../../../src/dump/noise/noise-file.js';
import { Dump } from '../../../src/dump/reader.js';
import { bandEdge, bandOf } from '../../../src/locate/noise/floor/band.js';
import { formatNoise } from '../../../src/locate/noise/floor/format.js';
import {
  errorOfProbability,
  probabilityOfError,
  studentTail,
} from '../../../src/locate/noise/floor/improbable.js';
import { type MeasuredNoise, measureNoise } from '../../../src/locate/noise/floor/measure.js';
import { openModel } from '../../../src/models/runtime/model.js';
import { pythonJson, root } from '../../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const folder = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const short = tokens.slice(0, 20);
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-floor-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (name: string) => join(scratch, name);

interface Checked {
  tail: number[];
  nmse: Record<string, { all: number; tokens: number[] }>;
  flips: number[][];
}

let measured: MeasuredNoise;
let noise: DumpNoise;
let checked: Checked;

beforeAll(async () => {
  for (const [policy, out] of [
    ['f32', 'f32'],
    ['pytorch-bf16:stochastic=4', 'draw'],
  ] as const) {
    using model = await openModel(folder, { policy });
    await capture(model, [short], { out: at(out) });
  }
  measured = await measureNoise(folder, [short], { out: at('floor'), runs: 4, seed: 3 });
  await using dump = await Dump.open(at('floor'));
  noise = (await dump.noise())!;
  checked = pythonJson(['test/locate/noise/check_floor.py', at('f32'), at('draw')]);
});

describe('a noise floor', () => {
  it('is a dump of its first run, with the errors of all in a file of their own', async () => {
    await using dump = await Dump.open(at('floor'));
    expect(dump.manifest).toMatchObject({ version: 2, status: 'complete', noise: { file: 'noise.json' } });
    expect(dump.manifest.policy).toMatchObject({
      name: 'pytorch-bf16:stochastic=3',
      rounding: { mode: 'stochastic', seed: 3 },
    });
    expect(noise).toMatchObject({ policy: 'pytorch-bf16', reference: 'f32', seeds: [3, 4, 5, 6], band: 0.2 });
    expect(noise.tokens).toHaveLength(short.length);
    expect(noise.taps.length).toBeGreaterThan(340);
    expect(noise.taps.map(({ tap }) => tap)).not.toContain('layers.0.mlp.gate:expert');
    await using plain = await Dump.open(at('f32'));
    expect(await plain.noise()).toBeUndefined();
  });

  it('has the errors of each run, as numpy finds them in a dump of that run', () => {
    const run = noise.seeds.indexOf(4);
    for (const [name, { all }] of Object.entries(checked.nmse))
      expect(noise.taps.find(({ tap }) => tap === name)!.free[run]! / all, name).toBeCloseTo(1, 4);
    const flips = noise.routing!.blocks.map(({ free }) => free[run]);
    expect(flips).toEqual(checked.flips.map(({ length }) => length));
    for (const [block, positions] of checked.flips.entries())
      for (const position of positions)
        expect(
          noise.routing!.flips.find((flip) => flip.block === block && flip.position === position)?.free,
        ).toBeGreaterThan(0);
  });

  it('has bands by token, in which the token of each run lies', () => {
    for (const [name, { tokens: own }] of Object.entries(checked.nmse)) {
      const { low, high, median } = noise.taps.find(({ tap }) => tap === name)!.tokens.free;
      for (const [token, error] of own.entries()) {
        expect(error, `${name} ${token}`).toBeGreaterThanOrEqual(low[token]! * (1 - 1e-4));
        expect(error, `${name} ${token}`).toBeLessThanOrEqual(high[token]! * (1 + 1e-4));
        expect(median[token]).toBeGreaterThanOrEqual(low[token]!);
      }
    }
  });

  it('is the same with routing free and pinned in a run up to its first flip', () => {
    const order = noise.taps.map(({ block }) => block);
    for (const [run] of noise.seeds.entries()) {
      const first = noise.routing!.blocks.find(({ free }) => free[run]! > 0)?.block ?? Infinity;
      const before = noise.taps.filter((_, place) => (order[place] ?? -1) < first && order[place] !== null);
      for (const { pinned, free, tap } of before) expect(free[run], tap).toBe(pinned[run]);
      const flipped = noise.routing!.blocks.find(({ block }) => block === first);
      if (flipped !== undefined) expect(flipped.pinned[run]).toBe(flipped.free[run]);
    }
  });

  it('is told to people block by block', () => {
    const text = formatNoise(measured, 'out/floor');
    expect(text).toContain('from the smallest to the largest run, in which 60 % of further runs lie');
    expect(text).toMatch(/7 {2}layers\.7 +\d\.\de-\d/);
    expect(text).toMatch(/routing, free: .* of 160 choices flip in a run/);
  });

  it('is refused where its file is broken, and where nothing is rounded', async () => {
    cpSync(at('floor'), at('broken'), { recursive: true });
    const broken = { ...noise, seeds: [1] };
    writeFileSync(join(at('broken'), 'noise.json'), JSON.stringify(broken));
    await using dump = await Dump.open(at('broken'));
    await expect(dump.noise()).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringContaining('seeds'),
    });
    rmSync(join(at('broken'), 'noise.json'));
    await expect(Dump.open(at('broken'))).rejects.toMatchObject({ code: 'BAD_DUMP' });
    const out = at('none');
    await expect(measureNoise(folder, [short], { out, policy: 'f32' })).rejects.toThrow('rounds something');
    await expect(measureNoise(folder, [short], { out, runs: 1 })).rejects.toThrow('at least 2 runs');
    await using reference = await Dump.open(at('f32'));
    await expect(measureNoise(folder, [short.slice(1)], { out, reference })).rejects.toThrow('same tokens');
  });
});

describe('bands', () => {
  it('are order statistics, beyond which further draws lie as often as they say', () => {
    expect(bandEdge(16)).toBe(1 / 17);
    expect(bandEdge(99)).toBe(0.05);
    const draws = Array.from({ length: 99 }, (_, k) => (k * 37) % 99);
    expect(bandOf(draws)).toEqual({ low: 4, median: 49, high: 94 });
    expect(bandOf([3, 1, 2])).toEqual({ low: 1, median: 2, high: 3 });
  });
});

describe('the probability of an error', () => {
  it("is Student's, of one draw more", () => {
    for (const [k, t] of [-1, 0, 1, 2, 5.6].entries())
      expect(studentTail(t, 15) / checked.tail[k]!).toBeCloseTo(1, 6);
    const draws = [1e-4, 1.2e-4, 0.9e-4, 1.1e-4];
    expect(
      probabilityOfError(draws, Math.exp(draws.reduce((sum, x) => sum + Math.log(x), 0) / 4)),
    ).toBeCloseTo(0.5, 5);
    expect(probabilityOfError(draws, 0)).toBe(1);
    expect(probabilityOfError(draws, Number.NaN)).toBe(0);
    expect(probabilityOfError(draws, errorOfProbability(draws, 1e-4)) / 1e-4).toBeCloseTo(1, 3);
  });

  it('does not accuse what sums in another order where rounding changes nothing', () => {
    expect(probabilityOfError([0, 0, 0, 0], 1e-14)).toBeGreaterThan(0.3);
    expect(probabilityOfError([0, 0, 0, 0], 1e-8)).toBeLessThan(1e-4);
  });
});
