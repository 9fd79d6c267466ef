/** NaN and infinities in what only the tested dump holds: counted by how they were planted. */
import { describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import type { DumpDescription, TapSpec } from '../../src/dump/format.js';
import { reportVerdict } from '../../src/report/build/verdict-sentence.js';
import { TAPS } from '../dump/dump-fixture.js';
import { dumpWith, type SideOptions } from './two-dumps.js';

const { NaN: NAN, POSITIVE_INFINITY: INF } = Number;

/** Sets elements of one F32 tap, in the call that ends with position `last` where it is given. */
function planted(
  name: string,
  elements: Record<number, number>,
  last?: number,
): NonNullable<SideOptions['change']> {
  return (tap, value, { position }) => {
    if (tap.name !== name || (last !== undefined && position.at(-1) !== last)) return value;
    const data = new Float32Array(value.bytes.slice().buffer);
    for (const [at, number] of Object.entries(elements)) data[Number(at)] = number;
    return { ...value, bytes: new Uint8Array(data.buffer) };
  };
}

const without = (name: string): Partial<DumpDescription> => ({
  taps: TAPS.filter((tap) => tap.name !== name),
});

describe('what only the tested dump holds', () => {
  it('fails with a NaN in a tap that the reference lacks, and says where', async () => {
    const reference = await dumpWith({ manifest: without('embed_tokens') });
    const tested = await dumpWith({ change: planted('embed_tokens', { 8: NAN, 9: INF }) });
    for (const failAbove of [undefined, 1]) {
      const report = await diffDumps(reference, tested, { failAbove });
      expect([report.pass, report.outcome]).toEqual([false, 'FAIL']);
      expect(report.unpairedNonFinite).toEqual({
        ...{ nan: 1, inf: 1, masked: 0, allowed: 0, counted: 2, taps: 1 },
        first: { tap: 'embed_tokens', place: { sequence: 0, position: 1, index: [2], value: NAN } },
      });
      const words =
        'NOT FINITE: 2 values without a partner, in 1 tap (tested 1 NaN and 1 infinity), first embed_tokens at position 1 [2]: NaN; no verdict passes over them';
      expect(formatReport(report)).toContain(words);
      expect(reportVerdict(report, null, null).sentence).toContain(words);
    }
    const allowed = await diffDumps(reference, tested, { allowNonFinite: true });
    expect([allowed.pass, allowed.outcome]).toEqual([true, 'PASS']);
    expect(formatReport(allowed)).toContain('allowed: 2 values without a partner that are not finite');
    const other = await diffDumps(reference, tested, { taps: 'layers.**' });
    expect([other.pass, other.unpairedNonFinite.counted]).toEqual([true, 0]);
  });

  it('fails in rows that the reference was not asked for', async () => {
    const selection = { taps: '**', positions: '0:4' };
    const reference = await dumpWith({ manifest: { selection }, steps: [[0, 4]] });
    // Row 2 has a partner, row 5 has none.
    const tested = await dumpWith({ change: planted('lm_head', { 37: NAN }) });
    const report = await diffDumps(reference, tested);
    expect(report.nonFinite.counted).toBe(0);
    expect(report).toMatchObject({
      outcome: 'FAIL',
      unpairedNonFinite: { counted: 1, first: { tap: 'lm_head', place: { position: 5, index: [2] } } },
    });
    const both = await diffDumps(
      reference,
      await dumpWith({ change: planted('lm_head', { 15: NAN, 37: NAN }) }),
    );
    expect([both.nonFinite.counted, both.unpairedNonFinite.counted]).toEqual([1, 1]);
    expect(both.unpairedNonFinite.first).toEqual({ tap: 'lm_head', place: null });
    const inPartner = await diffDumps(reference, await dumpWith({ change: planted('lm_head', { 15: NAN }) }));
    expect([inPartner.nonFinite.counted, inPartner.unpairedNonFinite.counted]).toEqual([1, 0]);
  });

  it('fails in a state after a call that the reference has not', async () => {
    const lead = 'layers.0.conv:lead';
    const roles = { state: [lead] };
    const reference = await dumpWith({ manifest: { roles } });
    const steps = [[0, 4] as const, [4, 6] as const];
    const tested = await dumpWith({ manifest: { roles }, steps, change: planted(lead, { 3: NAN }, 3) });
    const report = await diffDumps(reference, tested);
    expect(report.unpairedNonFinite).toMatchObject({
      counted: 1,
      first: { tap: lead, place: { sequence: 0, position: 3, index: [3] } },
    });
    expect(report.outcome).toBe('FAIL');
  });

  it('lets infinities of masks be, not their NaN', async () => {
    const taps = TAPS.map((tap): TapSpec => (tap.name === 'lm_head' ? { ...tap, masked: true } : tap));
    const reference = await dumpWith({ manifest: without('lm_head') });
    const masks = await dumpWith({ manifest: { taps }, change: planted('lm_head', { 1: -INF }) });
    const fine = await diffDumps(reference, masks);
    expect([fine.outcome, fine.unpairedNonFinite]).toMatchObject(['PASS', { masked: 1, counted: 0 }]);
    const lost = await dumpWith({ manifest: { taps }, change: planted('lm_head', { 1: NAN }) });
    expect((await diffDumps(reference, lost)).outcome).toBe('FAIL');
  });
});
