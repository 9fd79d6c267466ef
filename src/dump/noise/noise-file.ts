/**
 * `noise.json` of a dump that is a noise floor: what rounding does to each value of its prompt, over many
 * runs that round stochastically (`docs/noise.md`).
 */

import { FieldCheck } from '../../field-check.js';
import { NOISE_FILE } from '../format.js';
import { readJsonFile, writeJsonFile } from '../json-file.js';

/** Quantiles of one token's errors: energy NMSE of its row of the value. */
export interface TokenQuantiles {
  /** As `DumpNoise.band` says. */
  low: readonly number[];
  median: readonly number[];
  high: readonly number[];
}

/** Errors of one value over the runs: energy NMSE against the reference, a number a run. */
export interface TapNoiseRuns {
  tap: string;
  block: number | null;
  /** Elements of a token's value, at least. */
  width: number;
  /** With each token sent where the reference sent it. */
  pinned: readonly number[];
  /** With routing as each run chose. */
  free: readonly number[];
  /**
   * Of the free runs, how many times as large as usual the error is of a token that flips have hardly
   * touched: the lower quartile, over the tokens that have taken the reference's experts so far, of the
   * token's error by the median that it has where all choices are pinned (to both 1e-12 is added). null for a
   * run in which no token has kept its experts.
   */
  smooth: readonly (number | null)[];
  /** By token, in the order of `DumpNoise.tokens`. */
  tokens: { pinned: TokenQuantiles; free: TokenQuantiles };
}

/** A token that took another expert than the reference in some run. */
export interface NoiseFlip {
  block: number;
  sequence: number;
  position: number;
  /** Runs of the pinned kind that would have, and free ones that did. */
  pinned: number;
  free: number;
}

/** Choices of experts over the runs. */
export interface NoiseRouting {
  /** By block: choices in a run, and how many differed from the reference's, a number a run. */
  blocks: readonly {
    block: number;
    choices: number;
    pinned: readonly number[];
    free: readonly number[];
  }[];
  flips: readonly NoiseFlip[];
}

/** A noise floor. */
export interface DumpNoise {
  version: 1;
  /** The policy that rounds, without a seed. */
  policy: string;
  /** What errors are measured against: a dump's name, or `f32` for a run of the same model in F32. */
  reference: string;
  /** A seed a run. The values of the dump are those of the first, with free routing. */
  seeds: readonly number[];
  /**
   * Probabilities that a further run lies below and above the band from `low` to `high`, whatever its
   * distribution: 0.05 each from 19 runs, 1 / (runs + 1) with fewer.
   */
  band: number;
  /** Sequence and position of each token. */
  tokens: readonly { sequence: number; position: number }[];
  taps: readonly TapNoiseRuns[];
  /** null for a model without experts. */
  routing: NoiseRouting | null;
}

/** Writes the file, whole or not at all. Throws `BAD_ARGUMENT` naming the field at fault, `IO`. */
export async function writeNoise(dir: string, noise: DumpNoise): Promise<void> {
  checkNoise(
    noise,
    new FieldCheck({ code: 'BAD_ARGUMENT', op: 'writeNoise', where: dir, tensor: NOISE_FILE }),
  );
  const text = JSON.stringify(noise, shortened);
  await writeJsonFile(dir, NOISE_FILE, text, { op: 'writeNoise', what: 'noise floor' });
}

/** Reads and checks the file. Throws `IO` where it cannot be read, `BAD_DUMP` naming the field at fault. */
export async function readNoise(dir: string): Promise<DumpNoise> {
  const value = await readJsonFile(dir, NOISE_FILE, 'openNoise');
  checkNoise(
    value,
    new FieldCheck({ code: 'BAD_DUMP', op: 'openNoise', where: `${dir}/${NOISE_FILE}`, tensor: NOISE_FILE }),
  );
  return value;
}

/** Six digits are more than any quantile is known to. */
function shortened(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function checkNoise(value: unknown, check: FieldCheck): asserts value is DumpNoise {
  const noise = check.object(value, 'the noise floor');
  check.equal(noise.version, [1], 'version');
  for (const key of ['policy', 'reference']) check.string(noise[key], key);
  const seeds = check.array(noise.seeds, 'seeds');
  for (const [k, seed] of seeds.entries()) check.integer(seed, 0, `seeds[${k}]`);
  if (seeds.length < 2) check.fail('seeds', 'two runs or more', seeds);
  const { band } = noise;
  if (typeof band !== 'number' || !(band > 0 && band <= 0.5)) check.fail('band', 'a probability', band);
  const tokens = check.array(noise.tokens, 'tokens');
  for (const [k, entry] of tokens.entries()) checkPlace(entry, `tokens[${k}]`, check);
  for (const [k, entry] of check.array(noise.taps, 'taps').entries()) {
    const tap = check.object(entry, `taps[${k}]`);
    check.string(tap.tap, `taps[${k}].tap`);
    check.integer(tap.width, 1, `taps[${k}].width`);
    if (tap.block !== null) check.integer(tap.block, 0, `taps[${k}].block`);
    for (const kind of ['pinned', 'free'] as const) {
      checkErrors(tap[kind], seeds.length, `taps[${k}].${kind}`, false, check);
      const byToken = check.object(tap.tokens, `taps[${k}].tokens`);
      const quantiles = check.object(byToken[kind], `taps[${k}].tokens.${kind}`);
      for (const name of ['low', 'median', 'high'])
        checkErrors(quantiles[name], tokens.length, `taps[${k}].tokens.${kind}.${name}`, false, check);
    }
    checkErrors(tap.smooth, seeds.length, `taps[${k}].smooth`, true, check);
  }
  if (noise.routing !== null) checkRouting(noise.routing, seeds.length, check);
}

function checkPlace(value: unknown, at: string, check: FieldCheck): void {
  const place = check.object(value, at);
  for (const key of ['sequence', 'position']) check.integer(place[key], 0, `${at}.${key}`);
}

function checkErrors(value: unknown, count: number, at: string, nullable: boolean, check: FieldCheck): void {
  const errors = check.array(value, at);
  if (errors.length !== count) check.fail(at, `${count} errors`, errors);
  for (const [k, error] of errors.entries())
    if (!(nullable && error === null) && !(typeof error === 'number' && error >= 0))
      check.fail(`${at}[${k}]`, 'an error from 0', error);
}

function checkRouting(value: unknown, runs: number, check: FieldCheck): void {
  const routing = check.object(value, 'routing');
  for (const [k, entry] of check.array(routing.blocks, 'routing.blocks').entries()) {
    const at = `routing.blocks[${k}]`;
    const block = check.object(entry, at);
    for (const key of ['block', 'choices']) check.integer(block[key], 0, `${at}.${key}`);
    for (const kind of ['pinned', 'free']) {
      const counts = check.array(block[kind], `${at}.${kind}`);
      if (counts.length !== runs) check.fail(`${at}.${kind}`, `${runs} counts`, counts);
      for (const [run, count] of counts.entries()) check.integer(count, 0, `${at}.${kind}[${run}]`);
    }
  }
  for (const [k, entry] of check.array(routing.flips, 'routing.flips').entries()) {
    checkPlace(entry, `routing.flips[${k}]`, check);
    const flip = entry as Record<string, unknown>;
    for (const key of ['block', 'pinned', 'free']) check.integer(flip[key], 0, `routing.flips[${k}].${key}`);
  }
}
