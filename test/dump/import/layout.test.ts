import { describe, expect, it } from 'vitest';
import { fitShape, guessTokenShape, planLayout, type Transform } from '../../../src/dump/import/layout.js';

const context = { tokens: 2, visible: 2, target: undefined };

/** Applies a layout to 0, 1, 2, ... in `shape`. */
function run(shape: number[], layout: Transform[], more = {}): { shape: readonly number[]; data: number[] } {
  const planned = planLayout(shape, layout, { ...context, ...more }, 'x');
  const size = shape.reduce((all, axis) => all * axis, 1);
  return { shape: planned.shape, data: [...planned.apply(Float32Array.from({ length: size }, (_, k) => k))] };
}

describe('a layout', () => {
  it('permutes axes, leading ones of size 1 aside', () => {
    const data = [0, 3, 1, 4, 2, 5];
    expect(run([2, 3], [{ op: 'permute', axes: [1, 0] }])).toEqual({ shape: [3, 2], data });
    expect(run([1, 1, 2, 3], [{ op: 'permute', axes: [1, 0] }])).toEqual({ shape: [3, 2], data });
    // [a, b, c] -> [c, a, b]: element (i, j, k) of the result is element (j, k, i) of the source.
    expect(run([2, 1, 3], [{ op: 'permute', axes: [2, 0, 1] }])).toEqual({ shape: [3, 2, 1], data });
  });

  it('keeps the rows of the tokens, or what stands in front of them', () => {
    expect(run([1, 1, 4, 2], [{ op: 'lastTokens' }])).toEqual({ shape: [2, 2], data: [4, 5, 6, 7] });
    expect(run([3, 2], [{ op: 'beforeTokens' }])).toEqual({ shape: [1, 2], data: [0, 1] });
  });

  it('cuts a cache at the positions that are seen', () => {
    expect(run([2, 4], [{ op: 'visible' }], { visible: 3 })).toEqual({
      shape: [2, 3],
      data: [0, 1, 2, 4, 5, 6],
    });
  });

  it('keeps as many columns as the tap has, from either end', () => {
    expect(run([2, 4], [{ op: 'firstColumns' }], { target: [3] }).data).toEqual([0, 1, 2, 4, 5, 6]);
    expect(run([2, 4], [{ op: 'lastColumns' }], { target: [1, 1] }).data).toEqual([3, 7]);
  });

  it('permutes heads', () => {
    expect(run([1, 3, 2], [{ op: 'gather', axis: -2, order: [2, 0, 1] }]).data).toEqual([4, 5, 0, 1, 2, 3]);
  });

  it('undoes and makes interleaved axes', () => {
    expect(run([6], [{ op: 'deinterleave', axis: -1, parts: 2 }]).data).toEqual([0, 2, 4, 1, 3, 5]);
    expect(run([6], [{ op: 'interleave', axis: -1, parts: 2 }]).data).toEqual([0, 3, 1, 4, 2, 5]);
    const both = [
      { op: 'deinterleave', axis: -2, parts: 3 } as const,
      { op: 'interleave', axis: -2, parts: 3 } as const,
    ];
    expect(run([6, 2], both).data).toEqual(run([6, 2], []).data);
  });

  it.each<[string, number[], Transform]>([
    ['more axes than it permutes', [2, 3, 4], { op: 'permute', axes: [1, 0] }],
    ['fewer rows than tokens', [1, 5], { op: 'lastTokens' }],
    ['no row in front of the tokens', [2, 5], { op: 'beforeTokens' }],
    ['fewer positions than are seen', [2, 1], { op: 'visible' }],
    ['an unknown number of columns', [2, 5], { op: 'firstColumns' }],
    ['an order beyond the axis', [2, 3], { op: 'gather', axis: -1, order: [3] }],
    ['an axis that is not there', [2, 3], { op: 'gather', axis: -3, order: [0] }],
    ['an axis that does not divide', [2, 3], { op: 'interleave', axis: -1, parts: 2 }],
  ])('is refused for %s', (_what, shape, transform) => {
    expect(() => run(shape, [transform])).toThrow(
      expect.objectContaining({
        code: 'SHAPE_MISMATCH',
        message: expect.stringContaining(`[${shape.join(', ')}] (x)`),
      }),
    );
  });
});

describe('a shape', () => {
  it('fits a tap with heads split or merged and batch axes of 1', () => {
    expect(fitShape([1, 5, 12], [3, 4], 5, false)).toEqual([5, 3, 4]);
    expect(fitShape([1, 5, 3, 4], [12], 5, false)).toEqual([5, 12]);
    expect(fitShape([1, 1, 1, 5], [], 5, false)).toEqual([5]);
    expect(fitShape([1, 1, 1, 12], [3, 4], 1, false)).toEqual([1, 3, 4]);
    expect(fitShape([1, 160], [1, 160], null, false)).toEqual([1, 160]);
    expect(fitShape([1, 5, 3, 7], [3, null], 5, false)).toEqual([5, 3, 7]);
  });

  it('does not fit with axes in another order, though the elements are as many', () => {
    expect(fitShape([12, 5], [12], 5, false)).toBeUndefined();
    expect(fitShape([5, 4, 3], [3, 4], 5, false)).toBeUndefined();
    expect(fitShape([3, 5, 7], [3, null], 5, false)).toBeUndefined();
    expect(fitShape([60], [12], 5, false)).toBeUndefined();
  });

  it('fits with fewer entries on the last axis only where that is allowed', () => {
    expect(fitShape([5, 16], [17], 5, false)).toBeUndefined();
    expect(fitShape([5, 16], [17], 5, true)).toEqual([5, 16]);
    expect(fitShape([5, 18], [17], 5, true)).toBeUndefined();
  });

  it('has a token axis if it begins with one', () => {
    expect(guessTokenShape([1, 1, 5, 12], 5)).toEqual([5, 12]);
    expect(guessTokenShape([1, 1, 1, 12], 1)).toEqual([1, 12]);
    expect(guessTokenShape([12, 5], 5)).toBeUndefined();
  });
});
