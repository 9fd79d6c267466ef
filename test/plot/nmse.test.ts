import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tapError } from '../../src/diff/report.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import { nmsePerBlock } from '../../src/plot/error/nmse-per-block.js';
import { nmsePerTap } from '../../src/plot/error/nmse-per-tap.js';
import type { Trace } from '../../src/plot/figure.js';
import { floating, tapsOf, tiny, tinyDumps } from './tiny-dumps.js';

const dumps = tinyDumps();

describe('nmsePerTap', () => {
  it('has a point for every value, at its error, with its name; exact zeros at the bottom', () => {
    const { data, layout } = nmsePerTap([{ label: 'BF16', report: dumps.report }]);
    const erring = floating(dumps.report).filter((tap) => tapError(tap) !== 0);
    const zeros = floating(dumps.report).filter((tap) => tapError(tap) === 0);
    expect(zeros.length).toBeGreaterThan(0);
    expect(tapsOf(data[0])).toEqual(erring.map(({ name }) => name));
    expect(data[0]!.y).toEqual(erring.map(tapError));
    expect(tapsOf(data[1])).toEqual(zeros.map(({ name }) => name));
    expect(Math.max(...(data[1]!.y as number[]))).toBeLessThan(
      Math.min(...erring.map((tap) => tapError(tap)!)),
    );
    expect((data[1]!.hovertext as string[])[0]).toContain('energy NMSE exactly 0');
    expect(JSON.stringify(layout.title)).toContain(`${zeros.length} exact zeros at the bottom`);
    expect((layout.xaxis as { ticktext: string[] }).ticktext).toEqual([
      '0',
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
      '7',
    ]);
  });

  it('joins runs by name, draws the noise floor under them, and what an op errs by itself', async () => {
    const locate = await locateDumps(dumps.reference, dumps.tested, join(tiny, 'model'));
    const later = { ...dumps.report, tapReports: dumps.report.tapReports.slice(2) };
    const { data } = nmsePerTap(
      [
        { label: 'one', report: later, locate },
        { label: 'two', report: dumps.report },
      ],
      { noise: dumps.report },
    );
    const named = (name: string) => data.filter((trace) => trace.name === name);
    expect(data[1]!.fill).toBe('tonexty');
    const erring = floating(dumps.report).filter((tap) => tapError(tap) !== 0);
    expect(data[1]!.y).toEqual(erring.map(tapError));
    const [one] = named('one');
    const [two] = named('two');
    const placeIn = (trace: Trace, tap: string) => (trace.x as number[])[tapsOf(trace).indexOf(tap)];
    for (const tap of ['layers.0.input_layernorm', 'layers.5', 'lm_head'])
      expect(placeIn(one!, tap)).toBe(placeIn(two!, tap));
    const ops = locate.ops.filter(({ tap, local }) => local !== null && !tap.endsWith(':expert'));
    const own = named('one: each op by itself').flatMap((trace) => tapsOf(trace));
    expect(own.sort()).toEqual(
      ops
        .map(({ tap }) => tap)
        .filter((tap) => later.tapReports.some(({ name }) => name === tap))
        .sort(),
    );
  });

  it('draws what locate found without a diff, and marks the ops at fault', async () => {
    const locate = await locateDumps(dumps.reference, dumps.tested, join(tiny, 'model'));
    const faulty = locate.ops.find(({ tap }) => tap === 'layers.2.self_attn.o_proj')!;
    const ops = locate.ops.map((op) =>
      op === faulty ? { ...op, local: 1e-3, verdict: 'fault' as const } : op,
    );
    const { data } = nmsePerTap([{ label: 'BF16', locate: { ...locate, ops } }]);
    const marked = data.find(({ name }) => String(name).endsWith('at fault'))!;
    expect(tapsOf(marked)).toContain('layers.2.self_attn.o_proj');
    expect(tapsOf(marked)).toHaveLength(
      ops.filter(({ verdict, local }) => verdict === 'fault' && local! > 0).length,
    );
    expect((data[0]!.y as number[])[tapsOf(data[0]).indexOf('lm_head')]).toBe(
      locate.ops.find(({ tap }) => tap === 'lm_head')!.cumulative,
    );
  });

  it('is refused without a value to draw', () => {
    expect(() => nmsePerTap([])).toThrow(/nmsePerTap: expected a run with floating taps, got none/);
    expect(() => nmsePerTap([{ label: 'x', report: { ...dumps.report, tapReports: [] } }])).toThrow(
      /got none/,
    );
  });

  it('marks NaN and infinity at the top, and says so', () => {
    const tapReports = structuredClone(dumps.report.tapReports);
    const broken = tapReports.filter((tap) => tap.kind === 'float').slice(4, 7);
    for (const tap of broken) tap.metrics.nmse = Number.NaN;
    broken[0]!.metrics.nmse = Number.POSITIVE_INFINITY;
    const { data, layout } = nmsePerTap([{ label: 'x', report: { ...dumps.report, tapReports } }]);
    expect(JSON.stringify(layout.title)).toContain('3 NaN or infinite at the top');
    const marked = data.at(-1)!;
    expect(tapsOf(marked)).toEqual(broken.map(({ name }) => name));
    const largest = (data[0]!.y as number[]).reduce((a, b) => Math.max(a, b));
    for (const y of marked.y as number[]) expect(y).toBeGreaterThan(largest);
    expect((marked.hovertext as string[])[0]).toContain('Infinity');
    expect(tapsOf(data[0])).not.toContain(broken[1]!.name);
  });
});

describe('nmsePerBlock', () => {
  it.each(['last', 'worst'] as const)('draws the %s error of each block, as the diff has it', (error) => {
    const [trace] = nmsePerBlock([{ label: 'BF16', report: dumps.report }], { error }).data;
    const expected = dumps.report.blocks.flatMap((block) => block[error] ?? []);
    expect(tapsOf(trace)).toEqual(expected.map(({ tap }) => tap));
    expect((trace!.y as number[]).filter((value) => value > 1e-10)).toEqual(
      expected.map(({ nmse }) => nmse).filter((nmse) => nmse > 1e-10),
    );
  });

  it('labels every other one of forty blocks, and draws the noise of what it shows', () => {
    const [input, first] = dumps.report.blocks;
    const many = Array.from({ length: 40 }, (_, block) => ({ ...first!, block, label: String(block) }));
    const report = { ...dumps.report, blocks: [input!, ...many] };
    const noise = [{ tap: first!.last!.tap, noiseNmse: 1e-5 }];
    const { data, layout } = nmsePerBlock([{ label: 'BF16', report }], { noise });
    const { ticktext } = layout.xaxis as { ticktext: string[] };
    expect(ticktext.slice(0, 4)).toEqual(['input', '0', '2', '4']);
    expect(data[1]!.y).toEqual(many.map(() => 1e-5));
    expect(data[2]!.y).toHaveLength(41);
  });
});
