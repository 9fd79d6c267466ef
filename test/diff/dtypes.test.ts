/**
 * Comparison of values in all dtypes, and of rows that are missing. Expected numbers are worked out here, in
 * doubles or by hand.
 */
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import { type FloatTapReport, type IntegerTapReport, reportToJson } from '../../src/diff/report.js';
import type { DumpDescription, TapDtype, TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter, type TapValue } from '../../src/dump/writer.js';
import { description, rowIndex, temporaryFolder } from '../dump/dump-fixture.js';

type Given = { tap: TapSpec; data: ArrayBufferView; rows?: number; present?: Uint8Array };

function tap(name: string, dtype: TapDtype, shape: number[], more: Partial<TapSpec> = {}): TapSpec {
  return {
    name,
    block: 0,
    dtype,
    scope: 'token',
    axes: ['T', ...shape.map((_, k) => `a${k}`)],
    shape,
    ...more,
  };
}

/** A dump of one step of `rows` positions. */
async function dumpOf(values: readonly Given[], rows: number, manifest: Partial<DumpDescription> = {}) {
  const dir = join(temporaryFolder(), 'dump');
  {
    const taps = values.map((value) => value.tap);
    await using writer = await DumpWriter.create(
      dir,
      description({ sequences: [{ tokens: [11, 12, 13, 14, 15, 16].slice(0, rows) }], ...manifest, taps }),
    );
    for (const block of new Set(taps.map((each) => each.block))) {
      const own = values.filter((value) => value.tap.block === block);
      const map = new Map<string, TapValue>(
        own.map(({ tap: { name, shape }, data, rows: count = rows, present }) => [
          name,
          {
            bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
            shape: [count, ...(shape as number[])],
            ...(present === undefined ? {} : { present }),
          },
        ]),
      );
      await writer.append(block, rowIndex(0, rows, 0), map);
    }
    await writer.finish();
  }
  const dump = await Dump.open(dir);
  onTestFinished(() => dump.close());
  return dump;
}

async function compare(a: Given, b: Given, rows: number) {
  return diffDumps(await dumpOf([a], rows), await dumpOf([b], rows));
}

describe('F64', () => {
  const a = Float64Array.of(1, 2, 3, 4);
  const b = Float64Array.of(1, 2, 3 + 1e-12, 4);

  it('is compared in doubles', async () => {
    const report = await compare(
      { tap: tap('x', 'F64', [2]), data: a },
      { tap: tap('x', 'F64', [2]), data: b },
      2,
    );
    const { metrics, worst, ulp, identical } = report.tapReports[0] as FloatTapReport;
    const error = b[2]! - 3;
    expect(metrics.nmse).toBeCloseTo(error ** 2 / 30, 40);
    expect(metrics.nmse).toBeGreaterThan(3e-26);
    expect(metrics.bitEqual).toBe(0.75);
    expect(identical).toBe(false);
    expect(worst).toEqual({ sequence: 0, position: 1, index: [0], reference: 3, tested: b[2] });
    // 1e-12 is 2251.8 units of 2^-51, the spacing between 2 and 4: entry 13 is up to 4096.
    expect(Math.round(error / 2 ** -51)).toBe(2252);
    expect(ulp).toEqual({
      dtype: 'F64',
      elements: 4,
      histogram: [3, ...Array(12).fill(0), 1],
      shareOverOne: 0.25,
    });
  });

  it('is compared with F32 in doubles: rounding shows', async () => {
    const third = Float64Array.of(1 / 3, 0.5);
    const report = await compare(
      { tap: tap('x', 'F64', [2]), data: third },
      { tap: tap('x', 'F32', [2]), data: Float32Array.from(third) },
      1,
    );
    const { metrics, ulp } = report.tapReports[0] as FloatTapReport;
    expect(metrics.maxAbs).toBe(Math.abs(Math.fround(1 / 3) - 1 / 3));
    // In units of the coarser side nothing differs.
    expect(ulp).toMatchObject({ dtype: 'F32', histogram: [2] });
  });

  it('counts NaN, and an infinity on one side fails', async () => {
    const report = await compare(
      { tap: tap('x', 'F64', [3]), data: Float64Array.of(Number.NaN, 1e300, 1) },
      { tap: tap('x', 'F64', [3]), data: Float64Array.of(Number.NaN, Number.POSITIVE_INFINITY, 1) },
      1,
    );
    const { metrics } = report.tapReports[0] as FloatTapReport;
    expect(metrics).toMatchObject({
      nan: { reference: 1, tested: 1 },
      nonFiniteMismatches: 2, // NaN equals nothing, not even the same NaN
      nmse: Infinity,
    });
  });
});

describe('integers', () => {
  it('of 64 bits are compared exactly, and shown in full', async () => {
    const big = 2n ** 53n;
    const report = await compare(
      { tap: tap('x', 'I64', [3]), data: BigInt64Array.of(big, 5n, -7n) },
      { tap: tap('x', 'I64', [3]), data: BigInt64Array.of(big + 1n, 5n, -7n) },
      1,
    );
    const { metrics, first } = report.tapReports[0] as IntegerTapReport;
    expect(metrics).toEqual({ elements: 3, differing: 1 });
    expect(first[0]!.exact).toEqual({ reference: '9007199254740992', tested: '9007199254740993' });
    expect(formatReport(report)).toContain('9007199254740992 and 9007199254740993');
    expect(() => reportToJson(report)).not.toThrow();
  });

  it.each<[TapDtype, ArrayBufferView, TapDtype, ArrayBufferView, number]>([
    ['I8', Int8Array.of(-128, 127), 'I64', BigInt64Array.of(-128n, 127n), 0],
    ['I32', Int32Array.of(2 ** 31 - 1, 0), 'I16', Int16Array.of(-1, 0), 1],
    ['U8', Uint8Array.of(255, 1), 'I8', Int8Array.of(-1, 1), 1],
    ['BOOL', Uint8Array.of(1, 0), 'BOOL', Uint8Array.of(1, 1), 1],
  ])('%s %o against %s %o', async (left, a, right, b, differing) => {
    const report = await compare(
      { tap: tap('x', left, [2]), data: a },
      { tap: tap('x', right, [2]), data: b },
      1,
    );
    expect(report.tapReports[0]).toMatchObject({ kind: 'integer', metrics: { elements: 2, differing } });
  });

  it.each<[TapDtype, TapDtype]>([
    ['I32', 'F32'],
    ['BOOL', 'U8'],
  ])('%s and %s are not compared', async (left, right) => {
    const bytes = { F32: 4, I32: 4, BOOL: 1, U8: 1 } as Record<string, number>;
    const side = (dtype: TapDtype) => ({ tap: tap('x', dtype, [1]), data: new Uint8Array(bytes[dtype]!) });
    const report = await compare(side(left), side(right), 1);
    expect(report.pass).toBe(false);
    expect(report.unpaired[0]).toMatchObject({ tap: 'x', reason: `has dtypes ${left} and ${right}` });
  });
});

describe('quantised values', () => {
  // One block: scale 0.5 (half 0x3800), then -16..15.
  const block = Uint8Array.of(0, 0x38, ...Array.from({ length: 32 }, (_, k) => (k - 16) & 255));
  const values = Float32Array.from({ length: 32 }, (_, k) => (k - 16) / 2);

  it('are compared by what they decode to', async () => {
    const q = { tap: tap('x', 'Q8_0', [32]), data: block };
    const same = await compare(q, { tap: tap('x', 'F32', [32]), data: values }, 1);
    expect(same.tapReports[0]).toMatchObject({
      kind: 'float',
      identical: true,
      metrics: { elements: 32, nmse: 0 },
    });
    const other = block.slice();
    other[2] = 0;
    const report = await compare(q, { tap: tap('x', 'Q8_0', [32]), data: other }, 1);
    const power = values.reduce((sum, value) => sum + value * value, 0);
    expect((report.tapReports[0] as FloatTapReport).metrics.nmse).toBe(64 / power);
  });

  it('that only ggml decodes are equal or refused by name', async () => {
    const bytes = new Uint8Array(2 * 66).map((_, k) => k);
    const side = (data: Uint8Array) => ({ tap: tap('x', 'IQ2_XXS', [256]), data });
    const same = await compare(side(bytes), side(bytes), 2);
    expect(same).toMatchObject({ pass: true, tapReports: [{ identical: true, metrics: { elements: 512 } }] });
    const report = await compare(side(bytes), side(bytes.map((byte, k) => (k === 100 ? 1 : byte))), 2);
    expect(report.pass).toBe(false);
    expect(report.unpaired).toEqual([
      {
        tap: 'x',
        file: 'layers.0.arrow',
        side: 'both',
        reason: expect.stringContaining('has IQ2_XXS values that differ, and only ggml decodes them'),
        rows: 1,
        example: 'sequence 0 position 1',
      },
    ]);
  });
});

describe('rows that are missing', () => {
  const x = tap('x', 'F32', [1], { nullable: true });
  const y = { tap: tap('y', 'F32', [1]), data: new Float32Array(4) };
  const side = (present: number[], values: number[], manifest: Partial<DumpDescription> = {}) =>
    dumpOf(
      [
        { tap: x, data: Float32Array.from(values), rows: values.length, present: Uint8Array.from(present) },
        y,
      ],
      4,
      { sequences: [{ tokens: [11, 12, 13, 14] }], ...manifest },
    );

  it('on both sides leave the others to be compared, at their positions', async () => {
    const report = await diffDumps(await side([0, 1, 0, 1], [5, 7]), await side([0, 1, 0, 1], [5, 8]));
    expect(report.unpaired).toEqual([]);
    expect(report.tapReports[0]).toMatchObject({ rows: 2, worst: { position: 3, reference: 7, tested: 8 } });
  });

  it('on one side fail', async () => {
    const report = await diffDumps(await side([1, 1, 0, 1], [4, 5, 7]), await side([0, 1, 1, 1], [5, 6, 7]));
    expect(report.pass).toBe(false);
    expect(report.tapReports[0]).toMatchObject({ rows: 2, identical: true });
    expect(
      report.unpaired.map(({ tap: name, side: at, rows, example }) => [name, at, rows, example]),
    ).toEqual([
      ['x', 'tested', 1, 'sequence 0 position 0'],
      ['x', 'reference', 1, 'sequence 0 position 2'],
    ]);
  });

  it('unless that side was not asked for them', async () => {
    const selection = { taps: '**', positions: '1:' };
    const report = await diffDumps(
      await side([1, 1, 0, 1], [4, 5, 7]),
      await side([0, 1, 0, 1], [5, 7], { selection }),
    );
    expect(report).toMatchObject({ pass: true, notCaptured: [{ side: 'tested', rows: 1 }] });
  });
});

describe('roles', () => {
  const expert = { ...tap('moe.pick', 'I64', [2]), block: 3 };
  const head = { ...tap('head', 'F64', [3]), block: null };
  const roles = { 'router.expert': ['moe.pick'], logits: ['head'] };
  const side = (picks: bigint[], logits: number[], manifest: Partial<DumpDescription>) =>
    dumpOf(
      [
        { tap: expert, data: BigInt64Array.from(picks) },
        { tap: head, data: Float64Array.from(logits) },
      ],
      2,
      { model: { name: 'net' }, ...manifest },
    );
  const reference = (manifest: Partial<DumpDescription>) =>
    side([0n, 1n, 2n, 3n], [1, 2, 0, 5, 1, 0], manifest);
  const tested = (manifest: Partial<DumpDescription>) => side([1n, 0n, 2n, 7n], [1, 2, 0, 1, 5, 0], manifest);

  it('say which taps are experts and logits, whatever their names', async () => {
    const report = await diffDumps(await reference({ roles }), await tested({}));
    // The order of a token's experts does not matter: one of four choices is another.
    expect(report.routing).toEqual({
      choices: 4,
      same: 0.75,
      flipped: 1,
      nonFinite: 0,
      firstNonFinite: null,
      blocks: [{ block: 3, choices: 4, flipped: 1, nonFinite: 0 }],
      flips: [
        { block: 3, sequence: 0, position: 1, reference: 3, tested: 7, margin: null, marginIsLeast: false },
      ],
    });
    expect(report.logits!.top1Agreement).toBe(0.5);
    expect(report.notes.join()).not.toContain('no roles');
  });

  it('that nobody states leave routing and logits out, with a note', async () => {
    const report = await diffDumps(await reference({}), await tested({}));
    expect([report.routing, report.logits]).toEqual([null, null]);
    expect(report.notes).toContainEqual(expect.stringContaining('routing and logits are left out'));
  });
});
