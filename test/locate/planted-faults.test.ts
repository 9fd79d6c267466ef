/**
 * What is said of planted faults, and of the committed dumps. That each is named first, in every kind of
 * dump, is the suite's: `test/planted`.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { formatLocate } from '../../src/locate/faults/format.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { PlantServer } from '../planted/plant-server.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const planting = { model, tokens: join(tiny, 'prompt.json'), dtype: 'float32' } as const;
const FAULTS = [
  'output-row-corrupted',
  'grouped-im2col-f16',
  'residual-in-bf16',
  'weight-is-nan',
  'norms-epsilon',
];
const server = new PlantServer();
const dumps = new Map<string, string>();

beforeAll(async () => {
  dumps.set('unaltered', await server.plant(planting));
  for (const fault of FAULTS) dumps.set(fault, await server.plant({ ...planting, fault }));
  dumps.set('restored', await server.plant(planting));
  for (const fault of [undefined, 'norms-epsilon'])
    dumps.set(
      `bf16 ${fault}`,
      await server.plant({ ...planting, dtype: 'bfloat16', ...(fault ? { fault } : {}) }),
    );
});
afterAll(async () => server[Symbol.asyncDispose]());

async function locate(
  folder: string,
  options: { model?: string; noise?: string } = {},
): Promise<LocateReport> {
  await using reference = await Dump.open(dumps.get('unaltered')!);
  await using tested = await Dump.open(folder);
  await using noise = options.noise === undefined ? null : await Dump.open(options.noise);
  return await locateDumps(reference, tested, options.model, noise === null ? {} : { noise });
}

const dumpOf = (name: string) => dumps.get(name)!;
const named = ({ kinds, firstFault, found }: LocateReport) => ({
  found,
  kind: kinds[0]?.kind ?? null,
  firstFault,
});
const silent = { found: false, kind: null, firstFault: null };

describe('a planted fault', () => {
  it('without a model has no share', async () => {
    const report = await locate(dumpOf('residual-in-bf16'));
    expect(report.kinds.every(({ share }) => share === null)).toBe(true);
    expect(report.notes.join()).toContain('Without --model');
  });

  it('of one weight row is told as one column of one block', async () => {
    const report = await locate(dumpOf('output-row-corrupted'), { model });
    const { kinds } = report;
    expect(kinds).toHaveLength(1);
    expect(kinds[0]).toMatchObject({ blocks: [3], share: expect.closeTo(1, 3) });
    expect(kinds[0]!.spread!.columns).toMatchObject({ count: 1, largest: [17] });
    expect(kinds[0]!.sentence).toContain('column 17');
    expect(formatLocate(report).split('\n').length).toBeLessThanOrEqual(40);
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

  it('that changes 2 elements of 1000 in BF16 shows over all blocks', async () => {
    const first = 'layers.0.input_layernorm';
    for (const noise of [undefined, dumpOf('bf16 undefined')]) {
      const report = await locate(dumpOf('bf16 norms-epsilon'), { model, ...(noise ? { noise } : {}) });
      expect(named(report)).toEqual({ found: true, kind: '.input_layernorm', firstFault: first });
    }
  });
});

describe('the unaltered model', () => {
  it('is not accused in F32, with and without a model', async () => {
    expect(named(await locate(dumpOf('restored'), { model }))).toEqual(silent);
    expect(named(await locate(dumpOf('restored')))).toEqual(silent);
    expect(named(await locate(join(tiny, 'reference-float32'), { model }))).toEqual(silent);
  });

  it('is not accused in BF16, with and without its noise measured', async () => {
    const bfloat16 = join(tiny, 'reference-bfloat16');
    expect(named(await locate(bfloat16, { model, noise: dumpOf('bf16 undefined') }))).toEqual(silent);
    expect(named(await locate(bfloat16, { model }))).toEqual(silent);
    expect(named(await locate(dumpOf('restored'), { model, noise: bfloat16 }))).toEqual(silent);
  });
});
