import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { Dump } from '../../src/dump/reader.js';
import { localErrors } from '../../src/locate/faults/local.js';
import { replay } from '../../src/locate/replay/replay.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-replay-'));

let model: Model;
let reference: Dump;
beforeAll(async () => {
  model = await openModel(join(tiny, 'model'));
  reference = await Dump.open(join(tiny, 'reference-float32'));
});
afterAll(async () => {
  await reference.close();
  model.close();
  rmSync(scratch, { recursive: true });
});

/** A dump of ours with more than one sequence, of different lengths. */
async function ownDump(name: string, options: { taps?: string; positions?: string; tier?: 'stats' } = {}) {
  const out = join(scratch, name);
  await capture(model, [tokens.slice(0, 20), tokens.slice(7, 12), tokens.slice(30, 35)], { out, ...options });
  return Dump.open(out);
}

describe('an isolated replay', () => {
  it('of the reference in F32 makes at most 1e-11 of error in any op, and no other choice of expert', async () => {
    const errors = [...(await localErrors(model, reference, { right: 'dump' })).values()];
    expect(errors).toHaveLength(reference.taps.length);
    expect(errors.filter(({ nmse }) => !(nmse <= 1e-11))).toEqual([]);
    expect(errors.reduce((sum, { differing }) => sum + differing, 0)).toBe(0);
    // and the floor is not zero: the values were computed, not copied
    expect(errors.filter(({ nmse }) => nmse > 0).length).toBeGreaterThan(200);
  });

  it('of our own dump repeats every bit, whatever the number of sequences', async () => {
    await using dump = await ownDump('own');
    const visited = new Map<string, number>();
    const { replaced, missing } = await replay(model, {
      dump,
      visit({ tap, dumped, shown }) {
        expect(shown.data).toEqual(dumped.data);
        visited.set(tap.name, (visited.get(tap.name) ?? 0) + 1);
      },
    });
    expect(visited.size).toBe(dump.taps.length);
    expect([...visited.values()].every((count) => count === 3)).toBe(true);
    // of values nothing reads (margin, the logits) a replacement has no effect
    expect(replaced.size).toBeGreaterThanOrEqual(dump.taps.length - model.config.num_hidden_layers - 1);
    expect(missing).toEqual([]);
  });

  it('reaches back over values that the dump lacks, and names them', async () => {
    await using dump = await ownDump('some', { taps: 'layers.*,**.o_proj' });
    const shown: string[] = [];
    const { missing } = await replay(model, {
      dump,
      visit({ tap, dumped, shown: computed }) {
        expect(computed.data).toEqual(dumped.data);
        shown.push(tap.name);
      },
    });
    expect(new Set(shown)).toEqual(new Set(dump.taps.map(({ name }) => name)));
    expect(missing).toContain('layers.0.self_attn:attn_weights');
    expect(missing).not.toContain('layers.0');
  });

  it('shows values in execution order within a block, and reports each segment', async () => {
    const order: string[] = [];
    const progress: string[] = [];
    await replay(model, {
      dump: reference,
      visit: ({ tap }) => void order.push(tap.name),
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    const expected = reference.taps.map(({ name }) => name);
    const inBlock = (names: string[], block: number) =>
      names.filter((name) => name.startsWith(`layers.${block}`));
    expect(new Set(inBlock(order, 3))).toEqual(new Set(inBlock(expected, 3)));
    expect(progress.at(0)).toBe('1/10');
    expect(progress.at(-1)).toBe('10/10');
  });
});

describe('a plain run', () => {
  it('replaces nothing: errors of the ops before it add up', async () => {
    const local = await localErrors(model, reference, { right: 'dump' });
    const whole = new Map<string, number>();
    const { replaced } = await replay(model, {
      dump: reference,
      replace: null,
      visit({ tap, dumped, shown }) {
        if (tap.dtype !== 'F32') return;
        const a = dumped.data as Float32Array;
        const b = shown.data as Float32Array;
        whole.set(
          tap.name,
          a.reduce((sum, value, k) => sum + (value - b[k]!) ** 2, 0),
        );
      },
    });
    expect(replaced.size).toBe(0);
    // a copy makes no error of its own, but passes on what it gets
    expect(local.get('layers.7')!.nmse).toBe(0);
    expect(whole.get('layers.7')!).toBeGreaterThan(0);
  });
});

describe('own errors', () => {
  it('tell what rounding to the dtype of the dump would cost', async () => {
    await using low = await Dump.open(join(tiny, 'reference-bfloat16'));
    const errors = await localErrors(model, low, { right: 'computed' });
    const { rounding, precision, nmse } = errors.get('layers.2.self_attn.o_proj')!;
    const roundingNmse = rounding.BF16;
    expect(precision).toBe('BF16');
    // uniform rounding errors of 8 significant bits: between 2^-18/12 and 2^-16/12 of the energy
    expect(roundingNmse).toBeGreaterThan(2 ** -18 / 3);
    expect(roundingNmse).toBeLessThan(2 ** -16 / 3);
    // one op that rounds once makes just that error
    expect(nmse / roundingNmse).toBeGreaterThan(0.8);
    expect(nmse / roundingNmse).toBeLessThan(1.3);
    // the residual stream is F32 in the dump
    expect(errors.get('layers.2')!.precision).toBe('F32');
  });
});

describe('a dump that cannot be replayed', () => {
  const refused = (dump: Dump) => expect(replay(model, { dump, visit() {} })).rejects;

  it('of another tier is refused', async () => {
    await using dump = await ownDump('stats', { tier: 'stats' });
    await refused(dump).toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('tier full'),
    });
  });

  it('with a part of the positions is refused', async () => {
    await using dump = await ownDump('last', { positions: 'last' });
    await refused(dump).toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('positions'),
    });
  });

  it('with more positions than tokens is refused', async () => {
    const out = join(scratch, 'wrong-tokens');
    cpSync(join(tiny, 'reference-float32'), out, { recursive: true });
    const file = join(out, 'manifest.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    manifest.sequences = [{ tokens: tokens.slice(0, 10) }];
    writeFileSync(file, JSON.stringify(manifest));
    await using dump = await Dump.open(out);
    await refused(dump).toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringContaining('positions within the 10 that the manifest gives sequence 0'),
    });
  });

  it('stops where the caller says so', async () => {
    const controller = new AbortController();
    const run = replay(model, {
      dump: reference,
      visit() {},
      onProgress: (done) => {
        if (done === 3) controller.abort();
      },
      signal: controller.signal,
    });
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
    // and the model can run again
    await expect(replay(model, { dump: reference, visit() {} })).resolves.toBeDefined();
  });
});
