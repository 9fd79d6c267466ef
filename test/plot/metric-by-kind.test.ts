import { describe, expect, it } from 'vitest';
import { type FloatTapReport, tapError } from '../../src/diff/report.js';
import { metricByKind } from '../../src/plot/error/metric-by-kind.js';
import type { Figure } from '../../src/plot/figure.js';
import { floating, tapsOf, tinyDumps } from './tiny-dumps.js';

const dumps = tinyDumps();

describe('metricByKind', () => {
  const pointsOf = (figure: Figure) =>
    figure.data.flatMap((trace) =>
      tapsOf(trace).map((tap, at) => ({
        tap,
        error: (trace.x as number[])[at]!,
        kind: (trace.y as string[])[at]!,
        hover: (trace.hovertext as string[])[at]!,
      })),
    );

  it('has every value, at its error, in the row of its module', () => {
    const points = pointsOf(metricByKind(dumps.report));
    expect(points).toHaveLength(floating(dumps.report).length);
    const worst = points.reduce((a, b) => (b.error > a.error ? b : a));
    const expected = floating(dumps.report).reduce((a, b) => (tapError(b)! > tapError(a)! ? b : a));
    expect(worst).toMatchObject({ tap: expected.name, error: tapError(expected), kind: 'mlp.experts' });
    expect(points.find(({ tap }) => tap === 'layers.3')!.kind).toBe('block output');
    expect(points.find(({ tap }) => tap === 'layers.3.mlp.gate:margin')!.kind).toBe('mlp.gate');
  });

  it('keeps exact zeros out of the boxes, and says that they are', () => {
    const figure = metricByKind(dumps.report);
    const zeros = floating(dumps.report).filter((tap) => tapError(tap) === 0);
    expect(zeros.length).toBeGreaterThan(0);
    expect(tapsOf(figure.data[1])).toEqual(zeros.map(({ name }) => name));
    expect(figure.data[1]!.hovertext).toEqual(zeros.map(() => expect.stringContaining('exactly 0')));
    expect(JSON.stringify(figure.layout.title)).toContain(`${zeros.length} exact zeros`);
  });

  it('draws another metric, by value, of the kinds that are asked for', () => {
    const figure = metricByKind(dumps.report, {
      metric: 'maxAbs',
      by: 'value',
      kinds: (kind) => kind.startsWith('mlp.gate:'),
    });
    const points = pointsOf(figure);
    const expected = floating(dumps.report).filter(({ name }) => name.includes('.mlp.gate:'));
    expect(points).toHaveLength(expected.length);
    const margin = expected.find(({ name }) => name === 'layers.2.mlp.gate:margin') as FloatTapReport;
    expect(points.find(({ tap }) => tap === margin.name)).toMatchObject({
      kind: 'mlp.gate:margin',
      error: margin.metrics.maxAbs,
    });
    expect(() => metricByKind(dumps.report, { kinds: () => false })).toThrow(/got none/);
  });

  it('counts what is infinite, and draws the rest', () => {
    const tapReports = structuredClone(dumps.report.tapReports);
    const broken = tapReports.find((tap) => tap.kind === 'float')!;
    broken.metrics.nmse = Number.POSITIVE_INFINITY;
    const figure = metricByKind({ ...dumps.report, tapReports });
    expect(JSON.stringify(figure.layout.title)).toContain('1 NaN or infinite not drawn');
    expect(pointsOf(figure).find(({ tap }) => tap === broken.name)).toMatchObject({
      error: null,
      hover: expect.stringContaining('Infinity'),
    });
  });
});
