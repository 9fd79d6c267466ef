import { expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import type { FloatTapReport, IntegerTapReport } from '../../src/diff/report.js';
import { toFloat64 } from '../../src/dump/float.js';
import type { TapSpec } from '../../src/dump/format.js';
import { description, TAPS } from '../dump/dump-fixture.js';
import { addTo, dumpWith } from './two-dumps.js';

/** The fixture's taps whose row shape does not depend on how the run was cut into steps. */
const FIXED = TAPS.filter((tap) => tap.scope === 'token' && !tap.shape.includes(null));
const VECTOR: TapSpec = { name: 'v', block: 0, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [4] };

it('finds two equal dumps identical in every tap', async () => {
  const report = await diffDumps(await dumpWith(), await dumpWith(), { failAbove: 0 });
  expect(report).toMatchObject({
    pass: true,
    kind: 'tensors',
    firstDivergence: null,
    unpaired: [],
    notes: [],
    notCaptured: [],
  });
  expect(report.tapReports.map(({ name, rows, identical }) => [name, rows, identical])).toEqual(
    TAPS.map(({ name, scope }) => [name, scope === 'token' ? 6 : 1, true]),
  );
  expect(report.blocks.map(({ label, taps, identicalTaps }) => [label, taps, identicalTaps])).toEqual([
    ['input', 1, 1],
    ['0', 3, 3],
    ['1', 2, 2],
    ['output', 1, 1],
  ]);
});

it('pairs rows by position, however a run was cut into steps and batches', async () => {
  const steps = [[0, 1] as const, [1, 4] as const, [4, 6] as const];
  const report = await diffDumps(
    await dumpWith({ manifest: { taps: FIXED } }),
    await dumpWith({ manifest: { taps: FIXED }, steps }),
    { failAbove: 0 },
  );
  expect(report.pass).toBe(true);
  expect(report.tapReports.map((tap) => [tap.rows, tap.identical])).toEqual(FIXED.map(() => [6, true]));
});

it('measures an error and says where it stands, as position and index within the row', async () => {
  const change = addTo('lm_head', 2 * 7 + 4, 3);
  const report = await diffDumps(await dumpWith(), await dumpWith({ change }));
  expect(report.pass).toBe(true);
  expect(report.firstDivergence).toMatchObject({ tap: 'lm_head', block: null, criterion: 'bits' });
  const tap = report.tapReports.at(-1) as FloatTapReport;
  const { data, dtype } = await (await dumpWith()).read('lm_head');
  const power = toFloat64(data, dtype).reduce((sum, value) => sum + value * value, 0);
  expect(tap.metrics.nmse).toBeCloseTo(9 / power, 15);
  expect(tap.metrics).toMatchObject({ maxAbs: 3, elements: 42, bitEqual: 41 / 42 });
  expect(tap.worst).toEqual({ sequence: 0, position: 2, index: [4], reference: 43, tested: 46 });
});

it('judges floating taps by their energy NMSE, which may reach the threshold', async () => {
  const change = addTo('embed_tokens', 0, 3);
  const nmseOf = async (failAbove?: number) => {
    const report = await diffDumps(
      await dumpWith(),
      await dumpWith({ change }),
      failAbove === undefined ? {} : { failAbove },
    );
    return { ...report, nmse: (report.tapReports[0] as FloatTapReport).metrics.nmse };
  };
  const { nmse } = await nmseOf();
  expect(await nmseOf(nmse)).toMatchObject({ pass: true, firstDivergence: null });
  expect(await nmseOf(nmse * 0.99)).toMatchObject({
    pass: false,
    firstDivergence: { tap: 'embed_tokens', criterion: 'threshold', nmse },
  });
});

it('fails on a NaN whatever the threshold', async () => {
  const change = addTo('embed_tokens', 3, Number.NaN);
  const report = await diffDumps(await dumpWith(), await dumpWith({ change }), { failAbove: 1e9 });
  expect(report.pass).toBe(false);
  expect((report.tapReports[0] as FloatTapReport).worst).toMatchObject({
    position: 0,
    index: [3],
    tested: Number.NaN,
  });
});

it('fails on any integer that differs, if there is a threshold, and lists it', async () => {
  const change = (tap: TapSpec, value: { bytes: Uint8Array; shape: readonly number[] }) => {
    if (tap.dtype !== 'I32') return value;
    const data = new Int32Array(value.bytes.slice().buffer);
    data[5] = -1;
    return { ...value, bytes: new Uint8Array(data.buffer) };
  };
  const [reference, tested] = [await dumpWith(), await dumpWith({ change })];
  expect((await diffDumps(reference, tested)).pass).toBe(true);
  const report = await diffDumps(reference, tested, { failAbove: 1 });
  expect(report.pass).toBe(false);
  expect(report.firstDivergence).toEqual({
    tap: 'layers.1.mlp.gate:expert',
    block: 1,
    criterion: 'threshold',
    nmse: null,
  });
  const tap = report.tapReports.find(({ kind }) => kind === 'integer') as IntegerTapReport;
  expect(tap.metrics).toEqual({ elements: 6, differing: 1 });
  expect(tap.first).toEqual([{ sequence: 0, position: 5, index: [], reference: 24 + 80, tested: -1 }]);
});

it('compares different float dtypes in the units of the coarser', async () => {
  const bf16: TapSpec = { ...VECTOR, dtype: 'BF16' };
  const change = (_tap: TapSpec, { shape }: { shape: readonly number[] }) => ({
    shape,
    bytes: new Uint8Array(new Uint16Array(24).fill(0x3f80).buffer),
  });
  const one = (_tap: TapSpec, { shape }: { shape: readonly number[] }) => ({
    shape,
    bytes: new Uint8Array(new Float32Array(24).fill(1 + 2 ** -7).buffer),
  });
  const report = await diffDumps(
    await dumpWith({ manifest: { taps: [VECTOR] }, change: one }),
    await dumpWith({ manifest: { taps: [bf16] }, change }),
  );
  const tap = report.tapReports[0] as FloatTapReport;
  expect(tap.dtypes).toEqual({ reference: 'F32', tested: 'BF16' });
  expect(tap.ulp).toEqual({ dtype: 'BF16', elements: 24, histogram: [0, 24], shareOverOne: 0 });
  expect(tap.metrics.maxAbs).toBe(2 ** -7);
});

it.each(['tested', 'reference'] as const)(
  'tells of a tap that the %s dump lacks, and fails on it where the reference has it, unless a selection left it out',
  async (side) => {
    const taps = TAPS.filter((tap) => tap.name !== 'lm_head');
    const run = async (selection: { taps: string; positions: string }) => {
      const [whole, less] = [await dumpWith(), await dumpWith({ manifest: { taps, selection } })];
      return side === 'tested'
        ? diffDumps(whole, less, { failAbove: 0 })
        : diffDumps(less, whole, { failAbove: 0 });
    };
    const told = await run({ taps: '**', positions: 'all' });
    if (side === 'tested') {
      expect(told.pass).toBe(false);
      expect(told.unpaired).toEqual([
        { tap: 'lm_head', file: 'model.arrow', side, reason: 'is missing', rows: 0, example: null },
      ]);
    } else {
      expect(told).toMatchObject({ pass: true, unpaired: [] });
      expect(told.notes).toContain('1 tap is in the tested dump only, first lm_head: not compared.');
    }
    const selection = 'embed_tokens,layers.**';
    expect(await run({ taps: selection, positions: 'all' })).toMatchObject({
      pass: true,
      unpaired: [],
      notCaptured: [{ side, selection: `taps ${selection}, positions all`, taps: 1, rows: 0 }],
    });
  },
);

it('fails on rows that one side lacks, unless its selection left them out', async () => {
  const reference = await dumpWith({ manifest: { taps: FIXED } });
  const shorter = { taps: FIXED, sequences: [{ tokens: [11, 12, 13] }] };
  const failed = await diffDumps(reference, await dumpWith({ manifest: shorter, steps: [[0, 3]] }), {
    failAbove: 0,
  });
  expect(failed.pass).toBe(false);
  expect(failed.unpaired.map(({ file, side, rows, example }) => [file, side, rows, example])).toEqual(
    ['model.arrow', 'layers.0.arrow', 'layers.1.arrow'].map((file) => [
      file,
      'tested',
      3,
      'sequence 0 position 3',
    ]),
  );
  const steps = [[2, 5] as const];
  const selection = { taps: '**', positions: '2:5' };
  const passed = await diffDumps(reference, await dumpWith({ manifest: { taps: FIXED, selection }, steps }), {
    failAbove: 0,
  });
  expect(passed).toMatchObject({
    pass: true,
    unpaired: [],
    notCaptured: [{ side: 'tested', taps: 0, rows: 9 }],
  });
  expect(passed.tapReports.map((tap) => tap.rows)).toEqual(FIXED.map(() => 3));
});

it('fails on a partial dump for the rows that it does not have, and says so', async () => {
  const steps = [[0, 4] as const];
  const report = await diffDumps(
    await dumpWith({ manifest: { taps: FIXED } }),
    await dumpWith({ manifest: { taps: FIXED }, steps, unfinished: true }),
  );
  expect(report.pass).toBe(false);
  expect(report.notes).toEqual(['The tested dump is partial: its producer did not finish.']);
  expect(report.tapReports.map((tap) => [tap.rows, tap.identical])).toEqual(FIXED.map(() => [4, true]));
});

it('fails where the tokens differ, position by position', async () => {
  const reindex = (index: { tokenId: Int32Array }) =>
    ({ ...index, tokenId: index.tokenId.with(3, 99) }) as never;
  const report = await diffDumps(
    await dumpWith({ manifest: { taps: [VECTOR] } }),
    await dumpWith({
      manifest: { taps: [VECTOR], sequences: [{ tokens: [11, 12, 13, 99, 15, 16] }] },
      reindex,
    }),
  );
  expect(report).toMatchObject({
    pass: false,
    unpaired: [
      {
        side: 'both',
        rows: 1,
        reason: 'has different tokens, first 14 and 99',
        example: 'sequence 0 position 3',
      },
    ],
  });
  expect(report.tapReports[0]!.rows).toBe(5);
});

it('fails where a position is held twice, and compares the first', async () => {
  const steps = [[0, 6] as const, [5, 6] as const];
  const report = await diffDumps(
    await dumpWith({ manifest: { taps: [VECTOR] } }),
    await dumpWith({ manifest: { taps: [VECTOR] }, steps }),
  );
  expect(report).toMatchObject({
    pass: false,
    unpaired: [{ reason: 'is held twice by the tested dump', rows: 1 }],
  });
  expect(report.tapReports[0]).toMatchObject({ rows: 6, identical: true });
});

it.each<[string, Partial<TapSpec>, RegExp]>([
  ['integers and floats', { dtype: 'I32' }, /dtypes F32 and I32/],
  ['rows of different shape', { shape: [5] }, /rows of shape \[4\] and \[5\]/],
  ['rows of different rank', { shape: [2, 2], axes: ['T', 'a', 'b'] }, /rows of shape \[4\] and \[2,2\]/],
  ['tokens and steps', { scope: 'step', axes: ['H'] }, /one value per token and per step/],
])('does not compare %s', async (_case, change, reason) => {
  const tested = await dumpWith({ manifest: { taps: [{ ...VECTOR, ...change }] } });
  const report = await diffDumps(await dumpWith({ manifest: { taps: [VECTOR] } }), tested);
  expect(report).toMatchObject({ pass: false, tapReports: [], unpaired: [{ tap: 'v', side: 'both' }] });
  expect(report.unpaired[0]!.reason).toMatch(reason);
  expect(report.notes).toContain('Nothing was compared.');
});

it('fails for rows whose varying shapes differ, and compares those that agree', async () => {
  const taps = TAPS.filter((tap) => tap.name === 'layers.0:attn_weights').map((tap) => ({
    ...tap,
    axes: [...tap.axes.slice(0, -1), 'width'],
  }));
  const steps = [[0, 3] as const, [3, 6] as const];
  const report = await diffDumps(
    await dumpWith({ manifest: { taps } }),
    await dumpWith({ manifest: { taps }, steps }),
  );
  expect(report).toMatchObject({
    pass: false,
    unpaired: [
      { tap: taps[0]!.name, rows: 3, reason: 'has rows of different shapes, first [2,6] and [2,3]' },
    ],
  });
  expect(report.tapReports[0]!.rows).toBe(3);
});

it('takes positions that a call does not see for 0, where the axis is the visible positions', async () => {
  const taps = TAPS.filter((tap) => tap.name === 'layers.0:attn_weights');
  expect(taps[0]!.axes.at(-1)).toBe('S');
  const steps = [[0, 3] as const, [3, 6] as const];
  const whole = await dumpWith({ manifest: { taps } });
  const report = await diffDumps(whole, await dumpWith({ manifest: { taps }, steps }), { failAbove: 1e-10 });
  // what stands there in the reference is not 0
  expect(report).toMatchObject({ pass: false, unpaired: [], tapReports: [{ rows: 6 }] });
});

it('compares values of a step only with those of a step over the same positions, whatever their numbers', async () => {
  const taps = TAPS.filter((tap) => tap.scope === 'step');
  const side = (steps: readonly (readonly [number, number])[], shift = 0) =>
    dumpWith({
      manifest: { taps },
      steps,
      reindex: (index) => ({ ...index, step: index.step.map((step) => step + shift) }),
    });
  const halves = [[0, 3] as const, [3, 6] as const];
  expect(await diffDumps(await side(halves), await side(halves, 7))).toMatchObject({
    pass: true,
    tapReports: [{ rows: 2, identical: true }],
  });
  const report = await diffDumps(
    await side(halves),
    await side([
      [0, 2],
      [2, 6],
    ]),
  );
  expect(report.pass).toBe(false);
  expect(report.unpaired.map(({ side: where, rows, reason }) => [where, rows, reason])).toEqual([
    ['tested', 2, 'has no such step, first positions 0..2'],
    ['reference', 2, 'has no such step, first positions 0..1'],
  ]);
});

it('compares step values of runs that captured different positions of the same step', async () => {
  const taps = TAPS.filter((tap) => tap.scope === 'step');
  const selection = { taps: '**', positions: '1:3' };
  const value = (_tap: TapSpec, { shape }: { shape: readonly number[] }) => ({
    shape,
    bytes: new Uint8Array(20),
  });
  const report = await diffDumps(
    await dumpWith({ manifest: { taps }, change: value }),
    await dumpWith({ manifest: { taps, selection }, steps: [[1, 3]], change: value }),
  );
  expect(report).toMatchObject({ pass: true, tapReports: [{ rows: 1, identical: true }] });
});

it('fails where a step has a value on one side only', async () => {
  const taps = TAPS.filter((tap) => tap.block === 0);
  const tested = await dumpWith({
    manifest: { taps },
    change: (tap, value) => (tap.scope === 'step' ? (undefined as never) : value),
  });
  const report = await diffDumps(await dumpWith({ manifest: { taps } }), tested);
  expect(report).toMatchObject({
    pass: false,
    unpaired: [{ tap: 'layers.0.conv:lead', side: 'tested', reason: 'has no value' }],
  });
});

it('says loudly that the models or their weights differ', async () => {
  const { model } = description();
  const other = (change: object) => dumpWith({ manifest: { model: { ...model, ...change } } });
  expect(
    (await diffDumps(await dumpWith(), await other({ configSha256: 'c1', name: 'large' }))).notes,
  ).toEqual(['DIFFERENT MODELS: the config.json of tiny (reference) and large (tested) differ.']);
  const config = { rope_theta: 10000, num_experts_per_tok: 2, dtype: 'float32' };
  const [two, three] = [
    await other({ configSha256: 'c1', config }),
    await other({ configSha256: 'c2', config: { ...config, num_experts_per_tok: 3, dtype: 'bfloat16' } }),
  ];
  expect((await diffDumps(two, three)).notes).toEqual([
    'DIFFERENT MODELS: the config.json of tiny (reference) and tiny (tested) differ: num_experts_per_tok 2 and 3.',
  ]);
  expect((await diffDumps(await dumpWith(), await other({ weightsSha256: 'e1' }))).notes[0]).toMatch(
    /^DIFFERENT WEIGHTS/,
  );
});

it('fails where no position is in common', async () => {
  const manifest = { taps: [VECTOR] };
  const report = await diffDumps(
    await dumpWith({
      manifest: { ...manifest, selection: { taps: '**', positions: ':3' } },
      steps: [[0, 3]],
    }),
    await dumpWith({
      manifest: { ...manifest, selection: { taps: '**', positions: '3:' } },
      steps: [[3, 6]],
    }),
  );
  expect(report.pass).toBe(false);
  expect(report.unpaired).toMatchObject([{ reason: 'have no row in common' }]);
});

it('compares several sequences, each with its own positions', async () => {
  const manifest = { taps: [VECTOR], sequences: [{ tokens: [11, 12] }, { tokens: [11, 12] }] };
  const steps = [[0, 2] as const, [0, 2] as const];
  const reindex = (index: { step: Int32Array }) => ({ ...index, sequence: index.step.slice() }) as never;
  const change = addTo('v', 4, 1);
  const report = await diffDumps(
    await dumpWith({ manifest, steps, reindex }),
    await dumpWith({ manifest, steps, reindex, change }),
  );
  expect(report.tapReports[0]).toMatchObject({ rows: 4, worst: { sequence: 0, position: 1, index: [0] } });
  expect((report.tapReports[0] as FloatTapReport).metrics.bitEqual).toBe(14 / 16);
});

it('compares what the pattern selects, and refuses one that selects nothing, or a bad threshold', async () => {
  const [reference, tested] = [await dumpWith(), await dumpWith()];
  const report = await diffDumps(reference, tested, { taps: 'layers.{0,1}.*' });
  expect(report.tapReports.map((tap) => tap.name)).toEqual(['layers.0.q', 'layers.1.half']);
  for (const options of [{ taps: 'nothing' }, { taps: '{' }, { failAbove: -1 }, { failAbove: Number.NaN }])
    await expect(diffDumps(reference, tested, options)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
});

it('reports its progress file by file', async () => {
  const calls: [number, number][] = [];
  await diffDumps(await dumpWith(), await dumpWith(), { onProgress: (...call) => calls.push(call) });
  expect(calls).toEqual([
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
});
