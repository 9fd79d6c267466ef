import { cpSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatLogitsCheck } from '../../src/diff/format/logits-check.js';
import { logitsBand } from '../../src/diff/logits/check.js';
import { openLogits } from '../../src/diff/logits/check-source.js';
import { verifyLogits } from '../../src/diff/logits/verify-logits.js';
import { toFloat32 } from '../../src/dump/float.js';
import { Dump } from '../../src/dump/reader.js';
import { temporaryFolder } from '../weights/fixtures.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const float32 = join(tiny, 'reference-float32');
const bfloat16 = join(tiny, 'reference-bfloat16');

async function raw(values: Float32Array | number[], tokens?: number[]): Promise<string> {
  const file = join(await temporaryFolder(), 'llamacpp-m.bin');
  await writeFile(file, new Uint8Array(Float32Array.from(values).buffer));
  if (tokens)
    await writeFile(file.replace('.bin', '-tokens.bin'), new Uint8Array(Int32Array.from(tokens).buffer));
  return file;
}

async function check(reference: string, tested: string, options = {}, vocabulary?: number) {
  return await verifyLogits(reference, tested, {
    ...options,
    ...(vocabulary === undefined ? {} : { vocabulary }),
  });
}

/** Rows of logits of a dump, in file order. */
async function rowsOf(folder: string): Promise<Float32Array[]> {
  await using dump = await Dump.open(folder);
  const { data, dtype, shape } = await dump.read('lm_head');
  const values = toFloat32(data, dtype);
  const [rows, width] = shape as [number, number];
  return Array.from({ length: rows }, (_, row) => values.slice(row * width, (row + 1) * width));
}

/** The metrics written down once more, without streaming. */
function naive(a: number[], b: number[], width: number) {
  const n = a.length;
  const sum = (terms: number[]): number => terms.reduce((total, term) => total + term, 0);
  const mse = sum(a.map((x, k) => (x - b[k]!) ** 2)) / n;
  const mean = sum(a) / n;
  const variance = sum(a.map((x) => (x - mean) ** 2)) / n;
  const energy = sum(a.map((x) => x * x)) / n;
  const absolute = a.map((x, k) => Math.abs(x - b[k]!));
  const kls: number[] = [];
  for (let row = 0; row < n / width; row++) {
    const logP = logSoftMax(a.slice(row * width, (row + 1) * width));
    const logQ = logSoftMax(b.slice(row * width, (row + 1) * width));
    kls.push(sum(logP.map((p, k) => Math.exp(p) * (p - logQ[k]!))));
  }
  return {
    mse,
    variance,
    nmseVariance: mse / variance,
    nmse: mse / energy,
    maxAbs: Math.max(...absolute),
    mae: sum(absolute) / n,
    klMean: sum(kls) / kls.length,
  };
}

function logSoftMax(logits: number[]): number[] {
  const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  return logits.map((logit) => logit - total);
}

describe('the logits check', () => {
  it('compares the last token of two dumps', async () => {
    const [a, b] = [(await rowsOf(float32)).at(-1)!, (await rowsOf(bfloat16)).at(-1)!];
    const expected = naive([...a], [...b], a.length);
    const report = await check(float32, bfloat16);
    expect(report).toMatchObject({
      pass: true,
      rows: 1,
      vocabulary: 259,
      tokens: { outcome: 'same', reference: 56 },
    });
    expect(report.metrics!.mse).toBeCloseTo(expected.mse, 12);
    expect(report.referenceVariance! / expected.variance).toBeCloseTo(1, 9);
    expect(report.metrics!.nmseVariance / expected.nmseVariance).toBeCloseTo(1, 9);
    expect(report.metrics!.nmse / expected.nmse).toBeCloseTo(1, 9);
    expect(report.metrics!.maxAbs).toBe(expected.maxAbs);
    expect(report.metrics!.mae / expected.mae).toBeCloseTo(1, 9);
    expect(report.logits!.klMean).toBeCloseTo(expected.klMean, 9);
    const order = [...a.keys()].sort((x, y) => a[y]! - a[x]!).slice(0, 10);
    expect(report.top!.reference).toEqual(order.map((id) => ({ id, logit: a[id] })));
  });

  it('aggregates all positions when asked', async () => {
    const flat = async (folder: string) => (await rowsOf(folder)).flatMap((row) => [...row]);
    const expected = naive(await flat(float32), await flat(bfloat16), 259);
    const report = await check(float32, bfloat16, { all: true });
    expect(report.rows).toBe(56);
    expect(report.metrics!.nmseVariance / expected.nmseVariance).toBeCloseTo(1, 9);
    expect(report.referenceVariance! / expected.variance).toBeCloseTo(1, 9);
    expect(report.logits!.klMean / expected.klMean).toBeCloseTo(1, 6);
  });

  it('compares the raw files of llama.cpp with each other and with dumps', async () => {
    const last = (await rowsOf(float32)).at(-1)!;
    const { tokens } = JSON.parse(await readFile(join(tiny, 'prompt.json'), 'utf8'));
    const file = await raw(last, tokens);
    expect(await check(float32, file)).toMatchObject({
      pass: true,
      band: 'perfect',
      tokens: { outcome: 'same' },
    });
    expect(await check(file, await raw(last))).toMatchObject({
      pass: true,
      tokens: { outcome: 'unknown', reference: 56, tested: null },
    });
  });

  it('reads raw files of several rows with the length of a row', async () => {
    const rows = await rowsOf(float32);
    const file = await raw(rows.slice(-3).flatMap((row) => [...row]));
    expect(await check(file, file, { all: true }, 259)).toMatchObject({ rows: 3, pass: true });
    expect(await check(float32, file, {}, 259)).toMatchObject({ rows: 1, band: 'perfect' });
    await expect(check(float32, file, { all: true }, 259)).rejects.toMatchObject({ code: 'UNPAIRED' });
  });

  it('fails for other tokens without comparing what follows them', async () => {
    const [a, b] = [await raw([1, 2, 3], [5, 6]), await raw([1, 2, 3], [5, 7])];
    expect(await check(a, b)).toMatchObject({
      pass: false,
      rows: 0,
      metrics: null,
      tokens: { outcome: 'different', first: { sequence: 0, position: 1, reference: 6, tested: 7 } },
    });
    expect(await check(a, await raw([1, 2, 3], [5, 6, 9]))).toMatchObject({
      tokens: { outcome: 'different', first: { position: 2, tested: 9 }, reference: 2, tested: 3 },
    });
  });

  it('compares up to the end of a trimmed vocabulary', async () => {
    const kept = Array.from({ length: 18 }, (_, id) => id % 7);
    const report = await check(await raw([...kept, -99]), await raw(kept));
    expect(report).toMatchObject({
      vocabulary: 18,
      pass: true,
      band: 'perfect',
      reference: { vocabulary: 19 },
    });
    expect(report.top!.reference[0]).toEqual({ id: 6, logit: 6 });
  });

  it('passes up to the limit only', async () => {
    const [a, b] = [await raw([0, 2]), await raw([0.1, 2])];
    const { nmseVariance } = (await check(a, b)).metrics!;
    expect(nmseVariance).toBeCloseTo(0.005, 6);
    expect((await check(a, b, { failAbove: nmseVariance })).pass).toBe(true);
    expect((await check(a, b, { failAbove: nmseVariance * 0.999 })).pass).toBe(false);
    expect((await check(a, a, { failAbove: 0 })).pass).toBe(true);
  });

  it('says that logits which are all equal tell nothing', async () => {
    const flat = await check(await raw(new Float32Array(16)), await raw(new Float32Array(16)));
    expect(flat).toMatchObject({ pass: true, band: 'perfect', referenceVariance: 0 });
    expect(formatLogitsCheck(flat)).toContain('note: the logits of the reference are all equal');
    const other = await check(await raw(new Float32Array(16)), await raw([1, ...new Float32Array(15)]));
    expect([other.pass, other.band]).toEqual([false, 'worse than random']);
    const usual = await check(float32, bfloat16);
    expect(usual.notes).toEqual([]);
  });

  it('fails for a NaN on one side', async () => {
    const report = await check(await raw([0, 1, 2]), await raw([0, Number.NaN, 2]));
    expect(report).toMatchObject({
      pass: false,
      band: null,
      metrics: { nonFiniteMismatches: 1 },
      nonFinite: {
        counted: 1,
        nan: { reference: 0, tested: 1 },
        first: { sequence: 0, position: -1, id: 1, reference: 1, tested: Number.NaN },
      },
    });
    const text = formatLogitsCheck(report);
    expect(text).toContain(
      'FAIL  NOT FINITE: 1 of 3 pairs of logits (tested 1 NaN), first token 1: 1 and NaN',
    );
    expect(text).toContain('the tested side has none: NaN or +Infinity is among its logits');
  });

  it('never passes over NaN, nor over an infinity on both sides unless asked to', async () => {
    const nothing = await raw([Number.NaN, Number.NaN]);
    for (const allowNonFinite of [false, true])
      expect(await check(nothing, nothing, { allowNonFinite })).toMatchObject({ pass: false, band: null });
    const [a, b] = [
      await raw([0, 2, 4, Number.POSITIVE_INFINITY]),
      await raw([0, 2, 4, Number.POSITIVE_INFINITY]),
    ];
    expect(await check(a, b)).toMatchObject({
      pass: false,
      nonFinite: { counted: 1 },
      top: { reference: [] },
    });
    expect(await check(a, b, { allowNonFinite: true })).toMatchObject({
      pass: true,
      nonFinite: { allowed: 1, counted: 0, first: null },
    });
    const wrong = await raw([0, 2.5, 4, Number.POSITIVE_INFINITY]);
    // numpy: mean([0, .25, 0]) / var([0, 2, 4]) = 0.03125
    const report = await check(a, wrong, { allowNonFinite: true });
    expect(report).toMatchObject({ pass: false, metrics: { maxAbs: 0.5 } });
    expect(report.metrics!.nmseVariance).toBeCloseTo(0.03125, 12);
  });

  it('takes the variance around the mean even of large logits', async () => {
    const values = [1e4, 1e4 + 1, 1e4 + 2];
    const report = await check(await raw(values), await raw(values));
    expect(report.referenceVariance).toBeCloseTo(2 / 3, 9);
  });

  it.each([
    [0, 'perfect'],
    [9e-7, 'essentially identical'],
    [1e-6, 'excellent'],
    [1e-4, 'very good'],
    [3.9e-3, 'good'],
    [1.23e-2, 'acceptable'],
    [0.1, 'poor'],
    [1, 'worse than random'],
    [Number.POSITIVE_INFINITY, 'worse than random'],
  ])('calls %d %s', (nmse, band) => {
    expect(logitsBand(nmse)).toBe(band);
  });
});

describe('the logits check refuses', () => {
  it('all positions of a raw file of one row', async () => {
    const file = await raw([1, 2]);
    await expect(check(file, file, { all: true })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('a negative limit', async () => {
    const file = await raw([1, 2]);
    await expect(check(file, file, { failAbove: -1 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('a dump without logits', async () => {
    const folder = join(await temporaryFolder(), 'dump');
    cpSync(float32, folder, { recursive: true });
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
    manifest.taps = manifest.taps.filter(({ name }: { name: string }) => name !== 'lm_head');
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    await expect(openLogits(folder)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it.each([
    ['no values', [], undefined, undefined],
    ['rows that do not fit', [1, 2, 3], undefined, 2],
    ['more rows than tokens', [1, 2, 3, 4], [7], 2],
  ])('a raw file with %s', async (_what, values, tokens, vocabulary) => {
    await expect(openLogits(await raw(values, tokens), vocabulary)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('bytes that are not whole numbers, in logits and in tokens', async () => {
    const file = await raw([1, 2]);
    writeFileSync(file.replace('.bin', '-tokens.bin'), 'abc');
    await expect(openLogits(file)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    writeFileSync(file, 'abcde');
    await expect(openLogits(file)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('what is not there', async () => {
    await expect(openLogits(join(tiny, 'absent.bin'))).rejects.toMatchObject({ code: 'IO' });
  });
});
