import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../../src/capture/capture.js';
import { Dump } from '../../../src/dump/reader.js';
import type { FloorJudgement } from '../../../src/locate/noise/floor/judge.js';
import { measureNoise } from '../../../src/locate/noise/floor/measure.js';
import { firstBeyondLine, floorRoutingLines } from '../../../src/locate/noise/floor/words.js';
import { judgeNoise, type NoiseJudgement } from '../../../src/locate/noise/noise-floor.js';
import { openModel } from '../../../src/models/runtime/model.js';
import { rewriteDump } from '../../cli/special-dumps.js';
import { root } from '../../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const folder = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-judge-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (name: string) => join(scratch, name);

async function draw(name: string, policy: string): Promise<void> {
  using model = await openModel(folder, { policy });
  await capture(model, [tokens], { out: at(name) });
}

async function judged(tested: string, noise = at('floor')): Promise<NoiseJudgement> {
  await using reference = await Dump.open(at('f32'));
  await using floor = await Dump.open(noise);
  await using dump = await Dump.open(tested);
  return await judgeNoise(reference, floor, dump);
}

let fresh: NoiseJudgement;
let own: FloorJudgement;

beforeAll(async () => {
  await draw('f32', 'f32');
  await draw('fresh', 'pytorch-bf16:stochastic=501');
  await measureNoise(folder, [tokens], { out: at('floor'), runs: 12 });
  fresh = await judged(at('fresh'));
  own = fresh.floor!;
});

describe('a run that is nothing but noise', () => {
  it('is not accused, and neither is one that rounds to nearest', async () => {
    expect(own.first).toBeNull();
    expect(own.notJudged).toBe(0);
    expect(own.taps.length).toBeGreaterThan(340);
    expect(firstBeyondLine(fresh.taps, own)).toMatch(
      /^nothing beyond the noise floor: errors of 3\d\d values, and \d+ flips?, as in 12 runs of pytorch-bf16$/,
    );
    await draw('nearest', 'pytorch-bf16');
    const nearest = await judged(at('nearest'));
    expect(nearest.floor!.first).toBeNull();
    expect(nearest.taps.filter(({ verdict }) => verdict === 'above noise' || verdict === 'broken')).toEqual(
      [],
    );
    const transformers = await judged(join(tiny, 'reference-bfloat16'));
    expect(transformers.floor!.first).toBeNull();
  });

  it('is judged by pinned runs up to its first flip, and by free ones behind it', () => {
    const { routing, taps } = own;
    expect(routing!.flipped).toBeGreaterThan(0);
    const place = taps.findIndex(({ block }) => block === routing!.first!.block);
    expect(taps.slice(0, place).every(({ kind, smooth }) => kind === 'pinned' && smooth === null)).toBe(true);
    expect(taps.at(-1)).toMatchObject({ tap: 'lm_head', kind: 'free' });
    expect(taps.at(-1)!.smooth!.ratio).toBeGreaterThan(0);
    expect(floorRoutingLines(own)[0]).toMatch(
      /^Routing: \d+ of 448 choices flipped \(.* in runs with free routing\): as in noise/,
    );
  });

  it('says in one sentence what flips do to the final error', () => {
    const { last } = own.routing!;
    expect(last!.nmse / last!.keptNmse!).toBeGreaterThan(1);
    const told = (nmse: number) =>
      floorRoutingLines({
        ...own,
        routing: { ...own.routing!, flipped: 1, last: { ...last!, nmse, keptNmse: 1e-6 } },
      });
    expect(told(1e-4).join(' ')).toMatch(
      /1 flip, the first in block \d+ position \d+ \(where \d+ of 12 runs flip\), makes the error of lm_head 100 times larger: 1\.0e-4, over tokens that kept their experts 1\.0e-6\./,
    );
    expect(told(5e-6)).toHaveLength(1);
  });
});

describe('a fault', () => {
  /** Adds an error of `times` the usual size to a value of the fresh run. */
  async function plant(tap: string, times: number): Promise<NoiseJudgement> {
    const usual = own.taps.find((each) => each.tap === tap)!;
    await using reference = await Dump.open(at('f32'));
    const { data } = await reference.read(tap);
    const energy = (data as Float32Array).reduce((sum, value) => sum + value * value, 0) / data.length;
    const floor = await Dump.open(at('floor'));
    const pinned = (await floor.noise())!.taps.find((each) => each.tap === tap)!.pinned;
    await floor.close();
    const middle = [...pinned].sort((a, b) => a - b)[pinned.length >> 1]!;
    const size = times * Math.sqrt(middle * energy);
    const name = `${usual.tap}-${times}`;
    await rewriteDump(at('fresh'), at(name), (each, values) => {
      if (each.name === tap) for (let k = 0; k < values.length; k++) values[k]! += k % 2 === 0 ? size : -size;
    });
    return await judged(at(name));
  }

  it('of three times the floor is the first beyond it, with and without flips before it', async () => {
    for (const tap of ['layers.0.self_attn.o_proj', 'layers.5.self_attn.o_proj']) {
      const { floor, taps } = await plant(tap, 3);
      expect(floor!.first).toMatchObject({ tap, beyond: 'smooth error' });
      expect(firstBeyondLine(taps, floor)).toContain(`first beyond the noise floor: ${tap} (`);
      const verdict = taps.find((each) => each.tap === tap)!;
      expect(['above noise', 'broken']).toContain(verdict.verdict);
      expect(verdict.band).not.toBeNull();
    }
  });

  it('of a tenth of the floor is not seen', async () => {
    expect((await plant('layers.3.self_attn.o_proj', 0.1)).floor!.first).toBeNull();
  });
});

describe('noise of a single run', () => {
  it('judges as before, and is called a single run', async () => {
    const { taps, floor } = await judged(at('fresh'), join(tiny, 'reference-bfloat16'));
    expect(floor).toBeNull();
    expect(taps.every(({ band, probability }) => band === null && probability === null)).toBe(true);
    expect(firstBeyondLine(taps, null)).toMatch(/single/);
  });
});
