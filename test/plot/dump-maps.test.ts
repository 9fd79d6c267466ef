import { describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { toFloat64 } from '../../src/dump/float.js';
import type { TapSpec } from '../../src/dump/format.js';
import { tokenBlockHeatMap } from '../../src/plot/error/token-block-heat-map.js';
import { routingMap } from '../../src/plot/routing/routing-map.js';
import { addTo, dumpWith } from '../diff/two-dumps.js';
import { TAPS } from '../dump/dump-fixture.js';
import { tapsOf, tinyDumps } from './tiny-dumps.js';

const dumps = tinyDumps();

describe('tokenBlockHeatMap', () => {
  it('is worst at the token and block where the diff has flips, and covers all tokens', async () => {
    const { data } = await tokenBlockHeatMap(dumps.reference, dumps.tested);
    const z = data[0]!.z as number[][];
    expect([z.length, z[0]!.length]).toEqual([8, 56]);
    const flipped = dumps.report
      .routing!.flips.filter(({ block }) => block === 0)
      .map(({ position }) => position);
    expect(flipped).toContain(z[0]!.indexOf(Math.max(...z[0]!)));
  });

  it('draws one kind of value, and refuses one that is not held', async () => {
    const { data } = await tokenBlockHeatMap(dumps.reference, dumps.tested, { kind: '.self_attn.o_proj' });
    expect((data[0]!.customdata as string[][])[3]![0]).toBe('layers.3.self_attn.o_proj');
    await expect(tokenBlockHeatMap(dumps.reference, dumps.tested, { kind: '.nothing' })).rejects.toThrow(
      /expected two dumps that hold layers.\*.nothing, got none/,
    );
    await expect(tokenBlockHeatMap(dumps.reference, dumps.tested, { sequence: 3 })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('has the energy NMSE of each row in its cell', async () => {
    const { data } = await tokenBlockHeatMap(dumps.reference, dumps.tested);
    const [a, b] = [await dumps.reference.read('layers.4'), await dumps.tested.read('layers.4')];
    const row = (batch: typeof a) => toFloat64(batch.data, batch.dtype).slice(17 * 128, 18 * 128);
    const [right, other] = [row(a), row(b)];
    const energy = (values: Float64Array) => values.reduce((sum, value) => sum + value * value, 0);
    const nmse = energy(right.map((value, k) => value - other[k]!)) / energy(right);
    expect((data[0]!.z as number[][])[4]![17]).toBeCloseTo(Math.log10(nmse), 9);
  });

  it('tells zero, infinite and missing cells apart', async () => {
    const taps = [0, 1].map((block): TapSpec => {
      return { name: `layers.${block}`, block, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [3] };
    });
    const whole = await dumpWith({ manifest: { taps } });
    const sequences = [{ tokens: [11, 12, 13, 14, 15] }];
    const change = addTo('layers.1', 4, Number.POSITIVE_INFINITY);
    const broken = await dumpWith({ manifest: { taps, sequences }, steps: [[0, 5]], change });
    const { data, layout } = await tokenBlockHeatMap(whole, broken);
    expect(data[0]!.x).toEqual([0, 1, 2, 3, 4]);
    expect((data[0]!.z as unknown[][])[1]!.map((value) => value === null)).toEqual([
      false,
      true,
      false,
      false,
      false,
    ]);
    expect((data[0]!.hovertext as string[][])[0]![0]).toContain('exactly 0');
    expect(data[1]).toMatchObject({ x: [1], y: ['1'], customdata: ['layers.1'] });
    expect(JSON.stringify(layout.title)).toContain('9 exact zeros drawn darkest; 1 NaN or infinite marked');
  });
});

describe('routingMap', () => {
  it('marks exactly the flips that the diff lists, with margins, and shows every choice', async () => {
    const { data } = await routingMap(dumps.reference, dumps.tested);
    const { flips } = dumps.report.routing!;
    expect(flips.length).toBeGreaterThan(0);
    const places = flips.map(({ block, position }) => [`layers.${block}.mlp.gate:expert`, position]);
    expect(tapsOf(data[1]).map((tap, at) => [tap, (data[1]!.x as number[])[at]])).toEqual(places);
    const [flip] = flips;
    const hover = (data[1]!.hovertext as string[])[0]!;
    expect(hover).toContain(`became ${flip!.tested === 8 ? 'the skip class' : `expert ${flip!.tested}`}`);
    // The tested side took another than the next best: that one is further behind.
    const ahead = Number(/ahead of the next best by (\S+)$/.exec(hover)![1]);
    const lead = (await dumps.reference.read(`layers.${flip!.block}.mlp.gate:margin`)).data[flip!.position]!;
    expect([ahead, flip!.margin! >= lead]).toEqual([Number(lead.toPrecision(2)), true]);
    const expert = await dumps.reference.read('layers.6.mlp.gate:expert');
    expect((data[0]!.z as number[][])[6]).toEqual(Array.from(expert.data));
    expect((await routingMap(dumps.reference)).data).toHaveLength(1);
  });

  it('marks choices made from NaN apart, blank, as many as the diff counts', async () => {
    const probabilities: TapSpec = {
      name: 'layers.1.mlp.gate:probs',
      block: 1,
      dtype: 'F32',
      scope: 'token',
      axes: ['T', 'E'],
      shape: [3],
    };
    const taps = [...TAPS, probabilities];
    const roles = {
      'router.expert': ['layers.1.mlp.gate:expert'],
      'router.probabilities': [probabilities.name],
    };
    const manifest = { taps, roles };
    const reference = await dumpWith({ manifest });
    const tested = await dumpWith({
      manifest,
      change: (tap, value, index) => {
        if (tap.name === probabilities.name) return addTo(tap.name, 3 * 2 + 1, Number.NaN)(tap, value, index);
        // Row 2 and row 4 take other experts; the first of them from NaN.
        if (tap.name !== 'layers.1.mlp.gate:expert') return value;
        const experts = new Int32Array(value.bytes.slice().buffer).map(
          (e, row) => e + Number(row === 2 || row === 4),
        );
        return { ...value, bytes: new Uint8Array(experts.buffer) };
      },
    });
    const { routing } = await diffDumps(reference, tested);
    expect(routing).toMatchObject({ nonFinite: 1, flipped: 1, firstNonFinite: { position: 2 } });
    const { data, description } = await routingMap(reference, tested);
    expect(data.map(({ name, x }) => [name, x]).slice(1)).toEqual([
      ['flipped', [4]],
      ['of NaN or infinite scores', [2]],
    ]);
    expect((data[0]!.z as (number | null)[][])[0]![2]).toBeNull();
    expect((data[2]!.hovertext as string[])[0]).toContain('from scores that are NaN or infinite');
    expect(description).toContain('1 made from scores that are NaN or infinite');
  });

  it('reads margins of any dtype, and refuses a sequence that is not there', async () => {
    const common = { block: 0, scope: 'token', axes: ['T'], shape: [] } as const;
    const taps: TapSpec[] = [
      { ...common, name: 'layers.0.mlp.gate:expert', dtype: 'I32' },
      { ...common, name: 'layers.0.mlp.gate:margin', dtype: 'BF16' },
    ];
    const half = new Uint16Array(6).fill(0x3f00);
    const dump = await dumpWith({
      manifest: { taps },
      change: (tap, value) =>
        tap.dtype === 'BF16' ? { ...value, bytes: new Uint8Array(half.buffer) } : value,
    });
    const { data } = await routingMap(dump);
    expect((data[0]!.hovertext as string[][])[0]![2]).toContain('ahead of the next best by 5.0e-1');
    await expect(routingMap(dump, undefined, { sequence: 1 })).rejects.toThrow(
      /routingMap: expected rows of sequence 1 \(layers.0.mlp.gate:expert\), got none/,
    );
  });
});
