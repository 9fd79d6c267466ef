import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorBatch } from '../../src/dump/reader.js';
import { Dump } from '../../src/dump/reader.js';
import { policy } from '../../src/graph/policy.js';
import { locateDumps, locatePolicy } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { RoutingSums } from '../../src/locate/routing/drift.js';
import { runScripts } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-routing-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** One row a token. */
function rows(name: string, data: number[][], integers = false): TensorBatch {
  const flat = data.flat();
  const count = data.length;
  const tap = { name, block: 0, dtype: integers ? 'I32' : 'F32', scope: 'token' } as TensorBatch['tap'];
  return {
    tap,
    dtype: integers ? 'I32' : 'F32',
    shape: [count, data[0]!.length],
    data: integers ? Int32Array.from(flat) : Float32Array.from(flat),
    sequence: new Int32Array(count),
    position: Int32Array.from({ length: count }, (_, k) => k),
    tokenId: new Int32Array(count),
    step: new Int32Array(count),
  };
}

/** Adds a block in which each token has three classes. */
function addBlock(
  sums: RoutingSums,
  block: number,
  reference: number[][],
  tested: number[][],
  choices?: number[],
): void {
  const best = (row: number[]) => row.indexOf(Math.max(...row));
  const gate = `layers.${block}.mlp.gate`;
  sums.add(rows(`${gate}:biased_router_probs`, reference), rows(`${gate}:biased_router_probs`, tested));
  const experts = (list: number[]) =>
    rows(
      `${gate}:expert`,
      list.map((expert) => [expert]),
      true,
    );
  sums.add(experts(reference.map(best)), experts(choices ?? tested.map(best)));
  sums.add(rows(`layers.${block}`, reference), rows(`layers.${block}`, tested));
}

describe('why a token took another expert', () => {
  const calm = [0.7, 0.2, 0.1];
  const tight = [0.41, 0.4, 0.19];
  const turned = [0.4, 0.41, 0.19];

  it('is a close call where others err as much', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [calm, tight], [[0.69, 0.21, 0.1], turned]);
    const { flips, blocks } = sums.report()!;
    expect(flips).toMatchObject([
      {
        block: 0,
        position: 1,
        reference: 0,
        tested: 1,
        cause: 'close call',
        margin: expect.closeTo(0.01, 6),
      },
    ]);
    expect(blocks).toMatchObject([{ flipped: 1, choices: 2, sameTokens: 1, sameRatio: null }]);
    expect(blocks[0]!.flippedNmse).toBeGreaterThan(blocks[0]!.sameNmse!);
  });

  it('is no close call where a tenth of all choices flip, which rounding does not do', () => {
    const sums = new RoutingSums();
    const tokens = (flipped: number, own: number[], others: number[]) =>
      Array.from({ length: 40 }, (_, row) => (row < flipped ? own : others));
    const addFlips = (to: RoutingSums, flipped: number) =>
      addBlock(to, 0, tokens(flipped, tight, calm), tokens(flipped, turned, [0.69, 0.21, 0.1]));
    addFlips(sums, 4);
    expect(sums.report()!.flips.map(({ cause }) => cause)).toEqual(Array(4).fill('close call'));
    const many = new RoutingSums();
    addFlips(many, 14);
    expect(many.report()!.flips.map(({ cause }) => cause)).toEqual(Array(14).fill('large error'));
    // Unless the noise run does so too.
    expect(many.report(many)!.flips.map(({ cause }) => cause)).toEqual(Array(14).fill('close call'));
  });

  it('is a wrong choice where it contradicts the own probabilities', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [calm, calm], [calm, calm], [0, 1]);
    expect(sums.report()!.flips).toMatchObject([{ position: 1, cause: 'wrong choice', error: 0 }]);
  });

  it('is a large error where others do not err so', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [calm, calm], [calm, [0.2, 0.7, 0.1]]);
    expect(sums.report()!.flips).toMatchObject([{ position: 1, cause: 'large error' }]);
  });

  it('is inherited, and no close call, where the token itself flipped before and is off by more than others', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [calm, tight], [[0.69, 0.21, 0.1], turned]);
    addBlock(
      sums,
      1,
      [calm, tight],
      [
        [0.69, 0.21, 0.1],
        [0.3, 0.5, 0.2],
      ],
    );
    expect(sums.report()!.flips.map(({ block, position, cause }) => [block, position, cause])).toEqual([
      [0, 1, 'close call'],
      [1, 1, 'inherited'],
    ]);
  });

  it('is inherited where a token that it sees flipped in a block before', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [tight, calm, calm], [turned, [0.69, 0.21, 0.1], calm]);
    addBlock(sums, 1, [calm, calm, calm], [calm, calm, [0.2, 0.7, 0.1]]);
    const { flips, blocks } = sums.report()!;
    expect(flips.map(({ block, position, cause }) => [block, position, cause])).toEqual([
      [0, 0, 'close call'],
      [1, 2, 'inherited'],
    ]);
    // who flipped in a block counts as flipped in those after it
    expect(blocks.map(({ sameTokens }) => sameTokens)).toEqual([2, 1]);
  });

  it('is unknown without probabilities', () => {
    const sums = new RoutingSums();
    const gate = 'layers.0.mlp.gate:expert';
    sums.add(rows(gate, [[1]], true), rows(gate, [[2]], true));
    expect(sums.report()).toMatchObject({
      flips: [{ cause: 'unknown', margin: null, error: null }],
      blocks: [{ sameNmse: null, flippedNmse: null }],
    });
  });

  it('is unknown, as its margin is, where the probability of a choice was not held', () => {
    const sums = new RoutingSums();
    addBlock(sums, 0, [calm], [calm], [3]);
    expect(sums.report()).toMatchObject({ flips: [{ tested: 3, cause: 'unknown', margin: null }] });
  });

  it('is not asked where no expert was compared', () => {
    expect(new RoutingSums().report()).toBeNull();
  });
});

describe('24 random blocks, where BF16 flips experts', () => {
  const at = (name: string) => join(scratch, name);
  let run: LocateReport;
  let dumps: LocateReport;

  beforeAll(async () => {
    const tokens = Array.from({ length: 64 }, (_, i) => (i * i * 7 + 11 * i + 3) % 199);
    const dump = (dtype: string) => ({
      script: 'dump' as const,
      args: [
        '--model',
        at('model'),
        '--tokens',
        tokens.join(),
        '--dtype',
        dtype,
        '--out',
        at(dtype),
        '--no-verify',
      ],
    });
    const flags = '--seed 15 --layers 24 --hidden 128 --skip-share 0.1';
    const results = runScripts([
      { script: 'random_checkpoint', args: ['--out', at('model'), ...flags.split(' ')] },
      dump('float32'),
      dump('bfloat16'),
    ]);
    expect(results.filter(({ status }) => status !== 0)).toEqual([]);
    await using reference = await Dump.open(at('float32'));
    await using noise = await Dump.open(at('bfloat16'));
    run = await locatePolicy(reference, at('model'), policy('pytorch-bf16'), { noise });
    dumps = await locateDumps(reference, noise, at('model'));
  });

  it('has tokens that flipped and tokens that did not, with errors of their own', () => {
    const { flipped, choices, blocks } = run.routing!;
    expect(flipped / choices).toBeGreaterThan(0.01);
    const mixed = blocks.filter(({ sameTokens, choices: all }) => sameTokens > 0 && sameTokens < all);
    expect(mixed.length).toBeGreaterThan(5);
    for (const { sameNmse, flippedNmse } of mixed) expect(flippedNmse!).toBeGreaterThan(sameNmse!);
  });

  it('has the error of tokens that did not flip within noise', () => {
    const judged = run.routing!.blocks.filter(({ sameTokens }) => sameTokens > 0);
    expect(judged.length).toBeGreaterThan(5);
    expect(judged.filter(({ sameRatio }) => !(sameRatio! < 1.5))).toEqual([]);
  });

  it('has no flip that rounding does not explain, and no op at fault', () => {
    for (const report of [run, dumps]) {
      expect(report.found).toBe(false);
      expect(
        report.routing!.flips.filter(({ cause }) => cause === 'wrong choice' || cause === 'unknown'),
      ).toEqual([]);
    }
  });

  it('loses nearly all of its error with routing pinned, and says what a dump alone cannot', () => {
    const { finalNmse, freeNmse, flipped } = run.routing!.pinned!;
    expect(finalNmse).toBeLessThan(freeNmse / 20);
    expect(flipped).toBeLessThan(run.routing!.flipped);
    expect(dumps.routing!.pinned).toBeNull();
    expect(dumps.notes.join()).toContain('routing pinned');
  });
});
