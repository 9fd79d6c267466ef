import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import type { FloatTapReport, StatisticsTapReport } from '../../src/diff/report.js';
import type { DumpDescription, TapSpec } from '../../src/dump/format.js';
import type { Dump } from '../../src/dump/reader.js';
import { rowStats } from '../../src/dump/row-stats.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { createReport } from '../../src/report/report.js';
import { description, rowIndex, temporaryFolder } from '../dump/dump-fixture.js';
import { dumpWith, opened } from './two-dumps.js';

const VECTOR: TapSpec = { name: 'v', block: 0, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [4] };
const LEAD: TapSpec = { name: 'lead', block: 0, dtype: 'F32', scope: 'step', axes: ['C'], shape: [2] };
const ROWS = 3;
const VALUES = Float32Array.from({ length: 4 * ROWS }, (_, k) => k - 5);

/** A dump of the tier with the same values as the others, but for `scale`. */
async function dumpOfTier(
  tier: DumpDescription['tier'],
  scale: number | Float32Array = 1,
  change: Partial<DumpDescription> = {},
): Promise<Dump> {
  const dir = join(temporaryFolder(), 'dump');
  const values = typeof scale === 'number' ? VALUES.map((value) => value * scale) : scale;
  const lead = Float32Array.of(typeof scale === 'number' ? scale : 1, 2);
  const index = rowIndex(0, ROWS, 0);
  await using writer = await DumpWriter.create(
    dir,
    description({ tier, taps: [VECTOR, LEAD], sequences: [{ tokens: [11, 12, 13] }], ...change }),
  );
  const bytes = { v: new Uint8Array(values.buffer), lead: new Uint8Array(lead.buffer) };
  if (tier === 'full')
    await writer.append(
      0,
      index,
      new Map([
        ['v', { bytes: bytes.v, shape: [ROWS, 4] }],
        ['lead', { bytes: bytes.lead, shape: [2] }],
      ]),
    );
  if (tier === 'hash') {
    const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
    await writer.appendHash(
      0,
      0,
      ROWS,
      new Map([
        ['v', sha256(bytes.v)],
        ['lead', sha256(bytes.lead)],
      ]),
    );
  } else
    await writer.appendStats(
      index,
      new Map([
        ['v', { count: 4, values: rowStats(values, 'F32', 4) }],
        ['lead', { count: 2, values: rowStats(lead, 'F32', 2) }],
      ]),
    );
  await writer.finish();
  return opened(dir);
}

it('compares statistics where one side holds no more, and bounds the error from below', async () => {
  const same = await diffDumps(await dumpOfTier('full'), await dumpOfTier('stats'), { failAbove: 0 });
  expect(same).toMatchObject({
    kind: 'statistics',
    pass: false,
    outcome: 'NOT JUDGED',
    firstDivergence: null,
  });
  expect(same.tapReports).toMatchObject([
    { name: 'v', rows: 3, identical: false, equal: true, known: false },
    { name: 'lead', rows: 1, identical: false, equal: true, known: false },
  ]);
  expect(same.notes).toHaveLength(1);

  const report = await diffDumps(await dumpOfTier('stats'), await dumpOfTier('full', 1.5), {
    failAbove: 0.1,
  });
  expect(report).toMatchObject({ pass: false, firstDivergence: { tap: 'v', criterion: 'threshold' } });
  const bound = (report.tapReports[0] as StatisticsTapReport).nmseAtLeast;
  const exact = (await diffDumps(await dumpOfTier('full'), await dumpOfTier('full', 1.5)))
    .tapReports[0] as FloatTapReport;
  // The error of a change of scale is all in the RMS, so here the bound is the error itself.
  expect(bound).toBeCloseTo(exact.metrics.nmse, 12);
  expect((report.tapReports[0] as StatisticsTapReport).worstRelative).toBeCloseTo(0.5, 12);
});

it('does not call values with equal statistics identical, and judges none by them', async () => {
  const turned = VALUES.map((_, at) => VALUES[at - (at % 4) + 3 - (at % 4)]!);
  const sides = [await dumpOfTier('stats'), await dumpOfTier('stats', turned)] as const;
  // Differences of 3, 1, 1 and 3 in each of three rows; the values are -5 to 6.
  const real = await diffDumps(await dumpOfTier('full'), await dumpOfTier('full', turned), { taps: 'v' });
  expect((real.tapReports[0] as FloatTapReport).metrics.nmse).toBeCloseTo(60 / 146, 12);
  for (const failAbove of [undefined, 1e-9]) {
    const report = await diffDumps(...sides, failAbove === undefined ? {} : { failAbove });
    expect([report.outcome, report.pass]).toEqual(['NOT JUDGED', failAbove === undefined]);
    const text = formatReport(report, { verbose: true });
    const page = await createReport(...sides, failAbove === undefined ? {} : { failAbove });
    for (const said of [text, page.sentence, page.html.slice(page.html.indexOf('<main'))])
      expect(said.replaceAll(/<script[\s\S]*?<\/script>/g, '')).not.toMatch(/PASS|identical/);
    expect(text).toContain('statistics equal in 2,');
    expect(page.outcome).toBe('NOT JUDGED');
  }
  const apart = await diffDumps(sides[0], await dumpOfTier('stats', 2), { failAbove: 0.1 });
  expect([apart.outcome, apart.pass]).toEqual(['FAIL', false]);
});

it('sees a change of sign in the mean and in the extremes, not in the RMS', async () => {
  const report = await diffDumps(
    await dumpOfTier('stats'),
    await dumpOfTier(
      'stats',
      VALUES.map((x) => -x),
    ),
    {
      taps: 'v',
    },
  );
  // Twice the means -3.5, 0.5 and 4.5; the second row (-1 to 2) shows more in its extremes: (2 - 1)² = 1 is
  // less than 4·(2·0.5)² = 4.
  expect((report.tapReports[0] as StatisticsTapReport).nmseAtLeast).toBeCloseTo(
    (4 * (49 + 1 + 81)) / 146,
    12,
  );
});

it('knows the values of rows that hold one value throughout', async () => {
  const same = Float32Array.from({ length: 4 * ROWS }, () => 2);
  const equal = await diffDumps(await dumpOfTier('stats', same), await dumpOfTier('full', same), {
    taps: 'v',
    failAbove: 0,
  });
  expect(equal).toMatchObject({
    outcome: 'PASS',
    pass: true,
    tapReports: [{ identical: true, known: true }],
  });
});

it('counts NaN on one side as an infinite error of the statistics', async () => {
  const report = await diffDumps(await dumpOfTier('stats'), await dumpOfTier('stats', Number.NaN), {
    failAbove: 1,
  });
  expect(report).toMatchObject({
    pass: false,
    tapReports: [{ nmseAtLeast: Number.POSITIVE_INFINITY, countMismatches: 3 }, {}],
  });
});

it('fails on statistics that one side lacks, unless its selection left them out', async () => {
  const full = await dumpWith({ manifest: { taps: [VECTOR] } });
  const more = await dumpOfTier('stats');
  const report = await diffDumps(full, more, { taps: 'v' });
  expect(report).toMatchObject({
    pass: false,
    unpaired: [{ tap: 'v', side: 'reference', rows: 3, example: 'sequence 0 position 0' }],
  });
  const last = { selection: { taps: '**', positions: 'last' } };
  const lacking = await dumpWith({
    manifest: { taps: [VECTOR], sequences: [{ tokens: [1, 2, 3, 4] }], ...last },
  });
  expect(await diffDumps(lacking, more, { taps: 'v' })).toMatchObject({
    unpaired: [],
    notCaptured: [{ side: 'reference', rows: 3 }],
    pass: false,
  });
});

it('compares hashes where one side holds no more, with those of the other side’s tensors', async () => {
  const same = await diffDumps(await dumpOfTier('full'), await dumpOfTier('hash'), { failAbove: 0 });
  expect(same).toMatchObject({ kind: 'hashes', pass: true, firstDivergence: null });
  expect(same.tapReports.map(({ name, rows, identical }) => [name, rows, identical])).toEqual([
    ['v', 1, true],
    ['lead', 1, true],
  ]);
  const report = await diffDumps(await dumpOfTier('hash'), await dumpOfTier('full', 1.5), { failAbove: 1 });
  expect(report).toMatchObject({
    pass: false,
    firstDivergence: { tap: 'v', criterion: 'threshold', nmse: null },
    tapReports: [{ differing: 1 }, { differing: 1 }],
  });
  expect((await diffDumps(await dumpOfTier('hash'), await dumpOfTier('full', 1.5))).pass).toBe(true);
});

it('fails on hashes over different rows and on steps that one side lacks', async () => {
  const manifest = { taps: [VECTOR] };
  const hash = await dumpOfTier('hash');
  const longer = await diffDumps(await dumpWith({ manifest }), hash, { taps: 'v' });
  expect(longer).toMatchObject({ pass: false, unpaired: [{ reason: 'has hashes over 6 and 3 rows' }] });
  const more = await diffDumps(
    await dumpWith({
      manifest,
      steps: [
        [0, 3],
        [3, 6],
      ],
    }),
    hash,
    { taps: 'v' },
  );
  expect(more).toMatchObject({
    pass: false,
    unpaired: [{ side: 'tested', reason: 'has no such step', example: 'sequence 0 step 1' }],
  });
});

it('refuses tiers that have nothing in common', async () => {
  await expect(diffDumps(await dumpOfTier('stats'), await dumpOfTier('hash'))).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
  });
});

it.each([
  ['stats', 'stats', 'statistics'],
  ['stats', 'full', 'statistics'],
  ['hash', 'full', 'hashes'],
] as const)(
  'does not pass over the same NaN in a dump of tier %s and one of tier %s',
  async (one, other, kind) => {
    const sides = [await dumpOfTier(one, Number.NaN), await dumpOfTier(other, Number.NaN)] as const;
    const report = await diffDumps(...sides, { failAbove: 1 });
    // 12 elements of `v`, and one of the two of `lead`.
    expect(report).toMatchObject({
      kind,
      pass: false,
      nonFinite: { counted: 13, taps: 2, first: { tap: 'v' } },
    });
    expect(report.tapReports.some(({ identical }) => identical)).toBe(false);
    expect(await diffDumps(...sides, { failAbove: 1, allowNonFinite: true })).toMatchObject({
      pass: true,
      nonFinite: { counted: 0, allowed: 13 },
    });
  },
);

it('says of two dumps of tier hash that it cannot tell whether values are finite', async () => {
  const report = await diffDumps(await dumpOfTier('hash'), await dumpOfTier('hash'));
  expect(report.notes.join()).toContain('cannot be told whether values are finite');
});
