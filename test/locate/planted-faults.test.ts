import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { Dump } from '../../src/dump/reader.js';
import { locateDumps } from '../../src/locate/faults/dumps.js';
import { formatLocate } from '../../src/locate/faults/format.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { plantFaults, removeFaults } from '../faults/faults.js';
import { root } from '../reference/python.js';

// While tests are collected: each fault is a test.
const { faults, unaltered, restored } = plantFaults();
const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');

afterAll(removeFaults);

async function locate(
  folder: string,
  options: { model?: string; noise?: string } = {},
): Promise<LocateReport> {
  await using reference = await Dump.open(unaltered);
  await using tested = await Dump.open(folder);
  await using noise = options.noise === undefined ? null : await Dump.open(options.noise);
  return await locateDumps(reference, tested, options.model, noise === null ? {} : { noise });
}

/** The kind of op that the report names first, and where it first fails. */
const named = ({ kinds, firstFault, found }: LocateReport) => ({
  found,
  kind: kinds[0]?.kind ?? null,
  firstFault,
});
const kindOf = (tap: string) => tap.replace(/^layers\.\d+/, '');

describe('a planted fault', () => {
  it.each(faults)(
    '$name: locate names $expectedTap first (shows: $shows)',
    async ({ expectedTap, shows, dump }) => {
      const report = await locate(dump, { model });
      const expected = shows ? { found: true, kind: kindOf(expectedTap), firstFault: expectedTap } : silent;
      expect(named(report)).toEqual(expected);
      expect(formatLocate(report).split('\n').length).toBeLessThanOrEqual(40);
    },
  );

  it.each(faults)(
    '$name: where its error begins is told without a model',
    async ({ expectedTap, shows, dump }) => {
      const report = await locate(dump);
      expect(named(report)).toEqual(
        shows ? { found: true, kind: kindOf(expectedTap), firstFault: expectedTap } : silent,
      );
      expect(report.kinds.every(({ share }) => share === null)).toBe(true);
      expect(report.notes.join()).toContain('Without --model');
    },
  );

  const dumpOf = (name: string) => faults.find((fault) => fault.name === name)!.dump;

  it('of one weight row is told as one column of one block', async () => {
    const { kinds } = await locate(dumpOf('output-row-corrupted'), { model });
    expect(kinds).toHaveLength(1);
    expect(kinds[0]).toMatchObject({ blocks: [3], share: expect.closeTo(1, 3) });
    expect(kinds[0]!.spread!.columns).toMatchObject({ count: 1, largest: [17] });
    expect(kinds[0]!.sentence).toContain('column 17');
  });

  it('that is a choice of dtype is explained by it', async () => {
    const [im2col] = (await locate(dumpOf('grouped-im2col-f16'), { model })).kinds;
    expect(im2col!.sentence).toMatch(
      /^Im2col in F16 rounds the inputs of the grouped convolution: recomputed so/,
    );
    const [residual] = (await locate(dumpOf('residual-in-bf16'), { model })).kinds;
    expect(residual!.sentence).toMatch(/^BF16 rounds the residual sum after attention: .* to 0\.$/);
  });

  it('of NaN is told with its count, and what it poisons is not blamed', async () => {
    const report = await locate(dumpOf('weight-is-nan'), { model });
    expect(report.nonFinite).toMatchObject({ tap: 'layers.5.mlp.experts:down', block: 5 });
    expect(report.nonFinite!.count).toBeGreaterThan(0);
    expect(report.ops.filter(({ verdict }) => verdict === 'fault').map(({ tap }) => tap)).toEqual([
      'layers.5.mlp.experts:down',
    ]);
    expect(report.kinds[0]!.sentence).toMatch(/NaN or infinite arise/);
  });
});

describe('a planted fault in BF16', () => {
  const low = plantFaults('bfloat16');
  const right = Dump.open(low.unaltered);

  /** Elements of all values that are not those of the right model. */
  async function differing(folder: string): Promise<number> {
    await using tested = await Dump.open(folder);
    const { tapReports } = await diffDumps(await right, tested);
    return tapReports.reduce((sum, tap) => {
      if (tap.kind === 'integer') return sum + tap.metrics.differing;
      return tap.kind === 'float' && !tap.identical
        ? sum + Math.max(1, Math.round((1 - tap.metrics.bitEqual) * tap.metrics.elements))
        : sum;
    }, 0);
  }

  afterAll(async () => (await right).close());

  // BF16 hides what only rounds to BF16, or to more digits than it has: those dumps hold the right model's bits, or all but one element.
  const hidden = [
    'grouped-im2col-f16',
    'attention-softmax-bf16',
    'router-softmax-bf16',
    'l2-epsilon-missing',
  ];

  it.each(low.faults)(
    '$name: locate names $expectedTap first, recomputed in BF16',
    async ({ name, expectedTap, dump }) => {
      const isHidden = hidden.includes(name);
      expect((await differing(dump)) <= 1).toBe(isHidden);
      const expected = isHidden
        ? silent
        : { found: true, kind: kindOf(expectedTap), firstFault: expectedTap };
      expect(named(await locate(dump, { model, noise: low.unaltered }))).toEqual(expected);
    },
  );

  it('is found without the noise measured, too', async () => {
    for (const { name, expectedTap, dump } of low.faults.filter((_, index) => index % 4 === 0))
      if (!hidden.includes(name)) expect((await locate(dump, { model })).firstFault).toBe(expectedTap);
  });

  it('is none where nothing was altered', async () => {
    expect(named(await locate(low.restored, { model, noise: low.unaltered }))).toEqual(silent);
    expect(named(await locate(low.restored, { model }))).toEqual(silent);
  });
});

const silent = { found: false, kind: null, firstFault: null };

describe('the unaltered model', () => {
  it('is not accused in F32, with and without a model', async () => {
    expect(named(await locate(restored, { model }))).toEqual(silent);
    expect(named(await locate(restored))).toEqual(silent);
    expect(named(await locate(join(tiny, 'reference-float32'), { model }))).toEqual(silent);
  });

  it('is not accused in BF16, with and without its noise measured', async () => {
    const bfloat16 = join(tiny, 'reference-bfloat16');
    expect(named(await locate(bfloat16, { model, noise: bfloat16 }))).toEqual(silent);
    expect(named(await locate(bfloat16, { model }))).toEqual(silent);
    expect(named(await locate(restored, { model, noise: bfloat16 }))).toEqual(silent);
  });
});
