// How often verdicts by a noise floor are right, on the tiny model with floors of 16 runs over 16 prompts of
// 24 tokens: coverage of the bands by fresh runs, runs accused that are nothing but noise, and planted faults
// found. Prints what docs/noise.md states. Run after `npm run build`: npm run bench -- noise-rates
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture } from '../../dist/capture/capture.js';
import { Dump } from '../../dist/dump/reader.js';
import { bandOf } from '../../dist/locate/noise/floor/band.js';
import { judgeByFloor } from '../../dist/locate/noise/floor/judge.js';
import { measureNoise } from '../../dist/locate/noise/floor/measure.js';
import { openModel } from '../../dist/models/runtime/model.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const folder = join(tiny, 'model');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8'));
/** The text begun at 16 places. */
const PROMPTS = Array.from({ length: 16 }, (_, k) => [tokens[0], ...tokens.slice(1 + 2 * k, 24 + 2 * k)]);
/** Unaltered runs of each prompt. */
const DRAWS = 7;
const PLANTS = 80;

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-rates-'));
const at = (name) => join(scratch, name);
const floors = [];
/** Runs of other seeds, which the floors have not seen. */
const others = [];

async function run() {
  for (const [prompt, ids] of PROMPTS.entries()) {
    const model = await openModel(folder, { policy: 'f32', threads: 1 });
    await capture(model, [ids], { out: at(`f32-${prompt}`) });
    const reference = await Dump.open(at(`f32-${prompt}`));
    const common = { reference, threads: 1, policy: 'pytorch-bf16' };
    floors.push((await measureNoise(folder, [ids], { ...common, out: at(`floor-${prompt}`) })).noise);
    const fresh = { ...common, out: at(`other-${prompt}`), runs: 2, seed: 7000 };
    others.push((await measureNoise(folder, [ids], fresh)).noise);
    await reference.close();
    model.close();
    for (let k = 0; k < DRAWS; k++) {
      const drawn = await openModel(folder, { policy: `pytorch-bf16:stochastic=${1000 + k}`, threads: 1 });
      await capture(drawn, [ids], { out: at(`draw-${prompt}-${k}`) });
      drawn.close();
    }
  }
  console.log(`tiny model, ${PROMPTS.length} prompts of 24 tokens, floors of 16 runs of pytorch-bf16`);
  coverage('pinned');
  coverage('free');
  await falseAlarms();
  await plants();
}

function coverage(kind) {
  let [inside, all] = [0, 0];
  for (const [prompt, { taps }] of others.entries())
    for (const [place, tap] of taps.entries()) {
      const { low, high } = bandOf(floors[prompt].taps[place][kind]);
      if (high === 0) continue; // nothing is rounded there
      all += tap[kind].length;
      inside += tap[kind].filter((error) => error >= low && error <= high).length;
    }
  console.log(`bands, ${kind}: ${((100 * inside) / all).toFixed(1)} % of ${all} tap-runs inside`);
}

async function judged(prompt, tested) {
  const reference = await Dump.open(at(`f32-${prompt}`));
  try {
    return await judgeByFloor(reference, tested, floors[prompt]);
  } finally {
    await reference.close();
  }
}

async function falseAlarms() {
  let [accused, flips] = [0, 0];
  for (const prompt of PROMPTS.keys())
    for (let k = 0; k < DRAWS; k++) {
      const dump = await Dump.open(at(`draw-${prompt}-${k}`));
      const { first, routing } = await judged(prompt, dump);
      if (routing.isBeyond || first !== null) accused++;
      if (routing.flipped > 0) flips++;
      await dump.close();
    }
  console.log(`unaltered runs accused: ${accused} of ${PROMPTS.length * DRAWS}, ${flips} with flips`);
}

async function plants() {
  const names = floors[0].taps.filter(({ pinned }) => Math.min(...pinned) > 0).map(({ tap }) => tap);
  const found = { 3: { pinned: [0, 0], free: [0, 0] }, 1.5: { pinned: [0, 0], free: [0, 0] } };
  for (let plant = 0; plant < PLANTS; plant++) {
    const prompt = plant % PROMPTS.length;
    const name = names[Math.floor(((plant + 0.5) * names.length) / PLANTS)];
    const dump = await Dump.open(at(`draw-${prompt}-${Math.floor(plant / PROMPTS.length)}`));
    for (const times of [3, 1.5]) {
      const { first, taps } = await judged(prompt, altered(dump, name, times, floors[prompt], plant + 1));
      const counts = found[times][taps.find(({ tap }) => tap === name).kind];
      counts[1]++;
      if (first?.tap === name) counts[0]++;
    }
    await dump.close();
  }
  for (const [times, { pinned, free }] of Object.entries(found).reverse())
    console.log(
      `fault of ${times} times the floor named first: ${pinned.join(' of ')} before the first flip, ${free.join(' of ')} behind it`,
    );
}

/** A dump in which each token of a value errs by so many times what it usually does, besides. */
function altered(dump, name, times, noise, seed) {
  const { tokens: usual } = noise.taps.find(({ tap }) => tap === name);
  let state = seed;
  const sign = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state < 0 ? -1 : 1;
  };
  return {
    ...{
      dir: dump.dir,
      manifest: dump.manifest,
      roles: dump.roles,
      taps: dump.taps,
      prefixes: dump.prefixes,
    },
    tap: (tap) => dump.tap(tap),
    rows: (tap) => dump.rows(tap),
    read: (tap, options) => dump.read(tap, options),
    stream: (tap) => dump.stream(tap),
    isWhole: (tap) => dump.isWhole(tap),
    stats: () => dump.stats(),
    hashes: () => dump.hashes(),
    async readRows(tap, from, to) {
      const batch = await dump.readRows(tap, from, to);
      if (tap !== name || batch === undefined) return batch;
      const data = Float32Array.from(batch.data);
      const rows = batch.shape[0];
      const width = data.length / rows;
      for (let row = 0; row < rows; row++) {
        const own = data.subarray(row * width, (row + 1) * width);
        const energy = own.reduce((sum, value) => sum + value * value, 0);
        const median = usual.pinned.median[batch.position[row]];
        const size = times * Math.sqrt((median * energy) / width);
        for (let k = 0; k < width; k++) own[k] += sign() * size;
      }
      return { ...batch, data };
    },
  };
}

try {
  await run();
} finally {
  rmSync(scratch, { recursive: true });
}
