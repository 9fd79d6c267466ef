/**
 * NaN and infinities in a diff: counted, named, never passed over. The right counts and errors are numpy's.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import type { FloatTapReport } from '../../src/diff/report.js';
import type { NameMap } from '../../src/dump/names/name-map.js';
import type { Dump } from '../../src/dump/reader.js';
import { noiseFloor } from '../../src/locate/noise/noise-floor.js';
import { reportVerdict } from '../../src/report/build/verdict-sentence.js';
import { TAPS } from '../dump/dump-fixture.js';
import { pythonJson } from '../reference/python.js';
import { randomNumbers } from './random-numbers.js';
import { dumpWith } from './two-dumps.js';

const { POSITIVE_INFINITY: INF, NaN: NAN } = Number;
const TAP = 'embed_tokens';

/** What numpy says of a pair of arrays. */
interface Measured {
  nan: { reference: number; tested: number };
  inf: { reference: number; tested: number };
  pairs: number;
  sameInfinities: number;
  bothNaN: number;
  nmse: number;
  maxAbs: number;
  first: number;
}

type Change = (values: Float32Array, others: Float32Array) => void;

const tap = TAPS.find(({ name }) => name === TAP)!;
const width = (tap.shape as number[]).reduce((all, size) => all * size, 1);
const random = randomNumbers(5);
const plain = Float32Array.from({ length: 6 * width }, () => random() - 0.5);

/** Arrays of the reference and the tested side. */
function pair(change: Change): [Float32Array, Float32Array] {
  const [a, b] = [plain.slice(), plain.slice()];
  change(a, b);
  return [a, b];
}

const PAIRS = {
  'the same NaN': pair((a, b) => {
    a[3] = NAN;
    b[3] = NAN;
  }),
  'the same infinity beside an error of 0.5': pair((a, b) => {
    a[1] = INF;
    b[1] = INF;
    b[5]! += 0.5;
  }),
  'infinities of different sign': pair((a, b) => {
    a[2] = INF;
    b[2] = -INF;
  }),
  'a NaN of the tested side': pair((_a, b) => {
    b[7] = NAN;
  }),
  'a NaN of the reference': pair((a) => {
    a[7] = NAN;
  }),
  'everything at once': pair((a, b) => {
    a[0] = -INF;
    b[0] = -INF;
    a[4] = NAN;
    b[4] = NAN;
    a[5] = INF;
    b[6] = NAN;
    b[8]! += 0.25;
  }),
} as const;

const measured = new Map<string, Measured>();

beforeAll(() => {
  const input = JSON.stringify(
    Object.values(PAIRS).map((sides) => sides.map((side) => Array.from(side, String).map(pythonFloat))),
  );
  const results = pythonJson<Measured[]>([join('test', 'diff', 'non_finite.py')], input);
  for (const [at, name] of Object.keys(PAIRS).entries()) measured.set(name, results[at]!);
});

function pythonFloat(text: string): string {
  return text.replace('Infinity', 'inf');
}

/** Two dumps that differ in one tap. */
async function dumps([a, b]: readonly [Float32Array, Float32Array]): Promise<[Dump, Dump]> {
  const side = (values: Float32Array) =>
    dumpWith({
      change: ({ name }, value) =>
        name === TAP ? { ...value, bytes: new Uint8Array(values.slice().buffer) } : value,
    });
  return [await side(a), await side(b)];
}

describe.each(Object.keys(PAIRS) as (keyof typeof PAIRS)[])('%s', (name) => {
  it('is counted and named, and does not pass', async () => {
    const numpy = measured.get(name)!;
    const report = await diffDumps(...(await dumps(PAIRS[name])), { failAbove: 1 });
    const found = report.tapReports[0] as FloatTapReport;
    expect(found.nonFinite).toMatchObject({
      nan: numpy.nan,
      inf: numpy.inf,
      counted: numpy.pairs,
      masked: 0,
    });
    expect(found.nonFinite!.first).toMatchObject({
      position: Math.floor(numpy.first / width),
      reference: PAIRS[name][0][numpy.first],
      tested: PAIRS[name][1][numpy.first],
    });
    expect([report.pass, found.identical]).toEqual([false, false]);
    expect(report.firstDivergence).toMatchObject({ tap: TAP, criterion: 'threshold' });
    expect(report.nonFinite).toMatchObject({ counted: numpy.pairs, taps: 1, first: { tap: TAP } });
    const text = formatReport(report);
    expect(text).toMatch(/^FAIL .*\nNOT FINITE: /m);
    expect(text).not.toMatch(/PASS|is identical$/m);
    const { outcome, sentence } = reportVerdict(report, null, null);
    expect(outcome).toBe('FAIL');
    expect(sentence).toContain('NOT FINITE');
  });

  it('leaves the same on both sides out where that is asked for', async () => {
    const numpy = measured.get(name)!;
    const report = await diffDumps(...(await dumps(PAIRS[name])), { failAbove: 1, allowNonFinite: true });
    const found = report.tapReports[0] as FloatTapReport;
    const same = numpy.sameInfinities + numpy.bothNaN;
    expect(found.nonFinite).toMatchObject({ allowed: same, counted: numpy.pairs - same });
    expect(report.pass).toBe(same === numpy.pairs);
    expect(found.identical).toBe(false);
    if (same < numpy.pairs) expect(found.metrics.nmse).toBe(INF);
    else {
      expect(Math.abs(found.metrics.nmse - numpy.nmse)).toBeLessThanOrEqual(1e-12 * numpy.nmse);
      expect(found.metrics.maxAbs).toBe(numpy.maxAbs);
      expect(formatReport(report)).toContain(`allowed: ${same} pair`);
    }
  });
});

it('passes over the same infinity of a value marked as masked, and over nothing else of it', async () => {
  const map: NameMap = { name: 'marks', rules: [{ from: TAP, tap: TAP, masked: true }] };
  const numpy = measured.get('everything at once')!;
  const report = await diffDumps(...(await dumps(PAIRS['everything at once'])), { failAbove: 1, map });
  expect(report.nonFinite).toMatchObject({ masked: 1, counted: numpy.pairs - 1 });
  expect(report.tapReports[0]!.nonFinite!.first).toMatchObject({ reference: NAN, tested: NAN });
  const error = await diffDumps(...(await dumps(PAIRS['the same infinity beside an error of 0.5'])), {
    failAbove: 1e-6,
    map,
  });
  expect(error.nonFinite).toMatchObject({ masked: 1, counted: 0 });
  expect(error.pass).toBe(false);
  const mask = pair((a, b) => {
    a.fill(-INF, 0, 9);
    b.fill(-INF, 0, 9);
  });
  const same = await diffDumps(...(await dumps(mask)), { failAbove: 0, map });
  expect(same).toMatchObject({ pass: true, nonFinite: { masked: 9, counted: 0 } });
  expect(same.tapReports[0]!.identical).toBe(true);
  expect(formatReport(same)).toContain('masked: 9 infinities at the same places');
});

it('says of a noise floor that it is NaN instead of calling everything within it', async () => {
  const [reference, noisy] = await dumps(PAIRS['a NaN of the tested side']);
  const [, off] = await dumps(
    pair((_a, b) => {
      b[9]! += 1;
    }),
  );
  const [noise] = await noiseFloor(reference, noisy, off);
  expect(noise).toMatchObject({ tap: TAP, nonFinite: { tested: 0, noise: 1 }, ratio: NAN });
  expect(noise!.verdict).not.toBe('within noise');
  const [own] = await noiseFloor(reference, off, noisy);
  expect(own).toMatchObject({ nonFinite: { tested: 1, noise: 0 }, verdict: 'broken' });
});
