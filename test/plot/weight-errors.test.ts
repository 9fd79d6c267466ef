import { describe, expect, it } from 'vitest';
import { MetricSums } from '../../src/diff/metrics.js';
import { sumNonFinite } from '../../src/diff/non-finite.js';
import type { LocatedKind, LocateReport } from '../../src/locate/faults/report.js';
import { errorShares } from '../../src/plot/error/error-shares.js';
import { weightErrors } from '../../src/plot/weights/weight-errors.js';
import type { WeightDiff, WeightsDiffReport } from '../../src/weights-diff/diff-weights.js';

function tensor(name: string, error: number): WeightDiff {
  const sums = new MetricSums();
  sums.add(Float32Array.of(1, 2), Float32Array.of(1, 2 + error));
  return {
    name,
    shape: [2],
    dtypes: { reference: 'BF16', tested: error === 0 ? 'F32' : 'Q4_0' },
    metrics: sums.metrics(),
    identical: error === 0,
    nonFinite: null,
  };
}

function weights(...tensors: WeightDiff[]): WeightsDiffReport {
  const side = { name: 'model', layout: 'transformers' } as const;
  const nonFinite = sumNonFinite(tensors);
  const judged = { failAbove: null, pass: true, outcome: 'NOT JUDGED' } as const;
  return { reference: side, tested: side, ...judged, nonFinite, unpaired: [], tensors };
}

describe('weightErrors', () => {
  const four = weights(
    tensor('model.layers.1.self_attn.o_proj.weight', 0.5),
    tensor('model.layers.0.self_attn.o_proj.weight', 0.25),
    tensor('model.embed_tokens.weight', 0.125),
    tensor('model.norm.weight', 0),
  );

  it('puts the tensors of one kind at one place, each with its name, dtypes and error', () => {
    const [trace, ...more] = weightErrors([{ label: 'q4_0', report: four }]).data;
    expect(more).toEqual([]);
    expect(trace!.x).toEqual([1, 1, 0]);
    expect(trace!.y).toEqual([0.25 / 5, 0.0625 / 5, 0.015625 / 5]);
    expect((trace!.customdata as string[][])[0]).toEqual([
      'model.layers.1.self_attn.o_proj.weight',
      '5.0e-2',
      '1',
      'BF16 → Q4_0',
    ]);
  });

  it('leaves out what has the same bits everywhere, unless asked', () => {
    const names = (identical: boolean) =>
      (weightErrors([{ label: 'q4_0', report: four }], { identical }).layout.xaxis as { ticktext: string[] })
        .ticktext;
    expect(names(false)).toEqual(['model.embed_tokens.weight', 'self_attn.o_proj.weight']);
    expect(names(true)).toContain('model.norm.weight');
  });

  it('draws a tensor of a second model that the first leaves as it is', () => {
    const same = weights(...four.tensors.map(({ name }) => tensor(name, 0)));
    const [first, second] = weightErrors([
      { label: 'f32', report: same },
      { label: 'q4_0', report: four },
    ]).data;
    expect((first!.customdata as string[][]).map(([, error]) => error)).toEqual(Array(3).fill('exactly 0'));
    expect((second!.x as number[])[0]).toBeGreaterThan((first!.x as number[])[0]!);
  });

  it('refuses models that do not differ', () => {
    expect(() => weightErrors([{ label: 'f32', report: weights(tensor('model.norm.weight', 0)) }])).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});

describe('errorShares', () => {
  const kind = (name: string, share: number | null) =>
    ({
      kind: name,
      name: 'an op',
      worst: `layers.2${name}`,
      largest: 2e-3,
      median: 1e-3,
      blocks: [2],
      share,
    }) as unknown as LocatedKind;
  const report = (...kinds: LocatedKind[]) =>
    ({ kinds, final: { tap: 'lm_head', nmse: 1e-2 } }) as unknown as LocateReport;

  it('draws shares in percent, the largest on top, with the tap of the worst block', () => {
    const [trace] = errorShares(report(kind('.mlp.experts', 0.25), kind('.self_attn.o_proj', 0.5))).data;
    expect(trace!.x).toEqual([25, 50]);
    expect(trace!.y).toEqual(['mlp.experts', 'self_attn.o_proj']);
    expect((trace!.customdata as string[][]).map(([tap]) => tap)).toEqual([
      'layers.2.mlp.experts',
      'layers.2.self_attn.o_proj',
    ]);
  });

  it('refuses a report that knows no shares', () => {
    expect(() => errorShares(report(kind('.mlp.experts', null)))).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});
