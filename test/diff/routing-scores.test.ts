/** Choices of experts that were made from NaN: counted and named, never "0 flipped". */
import { describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import type { TapSpec } from '../../src/dump/format.js';
import type { TapValue } from '../../src/dump/writer.js';
import { RoutingSums } from '../../src/locate/routing/drift.js';
import { routingLines } from '../../src/locate/routing/format.js';
import { dumpWith } from './two-dumps.js';

const EXPERT = 'layers.1.mlp.gate:expert';
const SCORES = 'layers.1.mlp.gate:biased_router_probs';
const TAPS = (masked: boolean): TapSpec[] => [
  {
    name: SCORES,
    block: 1,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', 'E'],
    shape: [4],
    ...(masked ? { masked } : {}),
  },
  { name: EXPERT, block: 1, dtype: 'I32', scope: 'token', axes: ['T'], shape: [] },
];
const { NaN: NAN, NEGATIVE_INFINITY: MINUS } = Number;

/** A dump of six tokens; scores by element number, experts by token. */
function dump(scores: Record<number, number>, experts: Record<number, number> = {}, masked = false) {
  const change = ({ name }: TapSpec, value: TapValue): TapValue => {
    const data = name === EXPERT ? new Int32Array(6).fill(2) : new Float32Array(24).fill(0.25);
    for (const [at, one] of Object.entries(name === EXPERT ? experts : scores)) data[Number(at)] = one;
    return { ...value, bytes: new Uint8Array(data.buffer) };
  };
  return dumpWith({ manifest: { taps: TAPS(masked) }, change });
}

async function both(reference: Awaited<ReturnType<typeof dump>>, tested: typeof reference) {
  const report = await diffDumps(reference, tested, { failAbove: 1 });
  const sums = new RoutingSums();
  for (const name of [SCORES, EXPERT])
    sums.add((await reference.readRows(name, 0, 6))!, (await tested.readRows(name, 0, 6))!);
  return { report, drift: sums.report()! };
}

describe('a choice of experts from scores that are NaN', () => {
  it('on both sides is neither the same nor flipped, and is named', async () => {
    const scores = { 9: NAN, 16: NAN };
    const { report, drift } = await both(await dump(scores), await dump(scores, { 4: 0, 5: 1 }));
    // Tokens 2 and 4 have a NaN each; token 5 flipped; three of six are the same.
    const counted = {
      choices: 6,
      flipped: 1,
      nonFinite: 2,
      firstNonFinite: { block: 1, sequence: 0, position: 2 },
    };
    expect(report.routing).toMatchObject({ ...counted, same: 0.5 });
    expect(report.pass).toBe(false);
    expect(drift).toMatchObject(counted);
    expect(drift.flips.map(({ position }) => position)).toEqual([5]);
    const named = '2 made from scores that are NaN or infinite (first: block 1 position 2)';
    expect(formatReport(report)).toContain(
      `routing: 50.0 % of 6 choices take the same expert, 1 flipped, ${named}`,
    );
    expect(routingLines({ ...drift, pinned: null }, false, 5)[0]).toMatch(/1 of 6 choices.*, 2 made from/);
  });

  it('never says 0 flipped alone, also where one side has the NaN, or all are', async () => {
    const nan = Object.fromEntries(Array.from({ length: 24 }, (_, k) => [k, NAN]));
    for (const [a, b, count] of [
      [{ 0: NAN }, {}, 1],
      [{}, { 23: Number.POSITIVE_INFINITY }, 1],
      [nan, nan, 6],
    ] as const) {
      const { report, drift } = await both(await dump(a), await dump(b));
      expect([report.routing!.flipped, report.routing!.nonFinite, drift.nonFinite]).toEqual([
        0,
        count,
        count,
      ]);
      expect(report.routing!.same).toBeCloseTo(1 - count / 6, 12);
      expect(formatReport(report)).toMatch(/0 flipped, \d made from scores that are NaN/);
      const lines = routingLines({ ...drift, pinned: null }, false, 5).join('\n');
      expect(lines).toContain(`0 of 6 choices flipped, ${count} made from`);
      expect(lines).not.toContain('all 6 choices');
    }
  });

  it('also where the scores are not among the taps compared', async () => {
    const report = await diffDumps(await dump({ 0: NAN }), await dump({ 0: NAN }), { taps: EXPERT });
    expect(report.routing).toMatchObject({ choices: 6, nonFinite: 1 });
  });

  it('is judged where the infinity is a mask by its producer, and only then', async () => {
    const masks = { 3: MINUS, 7: MINUS };
    const { report, drift } = await both(await dump(masks, {}, true), await dump(masks, { 0: 1 }, true));
    expect(report.routing).toMatchObject({ flipped: 1, nonFinite: 0, firstNonFinite: null });
    expect(drift).toMatchObject({ flipped: 1, nonFinite: 0 });
    const plain = await both(await dump(masks), await dump(masks));
    expect([plain.report.routing!.nonFinite, plain.drift.nonFinite]).toEqual([2, 2]);
  });
});

describe('a tap that its manifest marks as masked', () => {
  const open = async (scores: Record<number, number>, masked: boolean) => dump(scores, {}, masked);

  it('is equal where both have the same infinity at the same place, counted in the verdict', async () => {
    for (const [first, second] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      const report = await diffDumps(await open({ 3: MINUS }, first), await open({ 3: MINUS }, second), {
        failAbove: 0,
      });
      expect(report).toMatchObject({ pass: true, nonFinite: { masked: 1, counted: 0 } });
      expect(formatReport(report)).toContain('masked: 1 infinities at the same places');
    }
  });

  it.each([
    ['unmarked on both sides', { 3: MINUS }, { 3: MINUS }, false],
    ['at another place', { 3: MINUS }, { 2: MINUS }, true],
    ['of the other sign', { 3: MINUS }, { 3: -MINUS }, true],
    ['on one side', { 3: MINUS }, {}, true],
    ['that is NaN', { 3: NAN }, { 3: NAN }, true],
    ['beside an error', { 3: MINUS }, { 3: MINUS, 4: 0.75 }, true],
  ] as const)('fails with an infinity %s', async (_, mine, others, masked) => {
    const report = await diffDumps(await open(mine, masked), await open(others, masked), { failAbove: 1e-6 });
    expect(report.pass).toBe(false);
    expect(formatReport(report)).toMatch(/^FAIL/m);
  });
});
