import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump, ReusableBuffer, type TensorBatch } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import {
  appendStep,
  description,
  rowIndex,
  TAPS,
  tapValue,
  temporaryFolder,
  writeSampleDump,
} from './dump-fixture.js';

async function sample(options = {}): Promise<string> {
  const dir = temporaryFolder();
  await writeSampleDump(dir, options);
  return dir;
}

/** The elements that the fixture wrote for rows [start, end) of a step. */
function written(name: string, start: number, end: number, step: number): number[] {
  const tap = TAPS.find((entry) => entry.name === name)!;
  const { buffer } = tapValue(tap, rowIndex(start, end, step)).bytes;
  if (tap.dtype === 'F32') return [...new Float32Array(buffer)];
  return tap.dtype === 'I32' ? [...new Int32Array(buffer)] : [...new Uint16Array(buffer)];
}

it.each(['embed_tokens', 'layers.0.q', 'layers.1.mlp.gate:expert', 'layers.1.half', 'lm_head'])(
  'reads all rows of %s, and those of one step',
  async (name) => {
    await using dump = await Dump.open(await sample());
    const tap = dump.tap(name);
    const all = await dump.read(name);
    expect(all.shape).toEqual([6, ...tap.shape]);
    expect([...all.data]).toEqual([
      ...written(name, 0, 4, 0),
      ...written(name, 4, 5, 1),
      ...written(name, 5, 6, 2),
    ]);
    expect([...all.position]).toEqual([0, 1, 2, 3, 4, 5]);
    const step = await dump.read(name, { step: 1 });
    expect([...step.data]).toEqual(written(name, 4, 5, 1));
    expect([[...step.position], [...step.tokenId], [...step.step]]).toEqual([[4], [15], [1]]);
  },
);

it('reads values whose shape varies step by step, and refuses to join them', async () => {
  await using dump = await Dump.open(await sample());
  const name = 'layers.0:attn_weights';
  const parts: TensorBatch[] = [];
  for await (const part of dump.stream(name)) parts.push(part);
  expect(parts.map((part) => part.shape)).toEqual([
    [1, 2, 4],
    [3, 2, 4],
    [1, 2, 5],
    [1, 2, 6],
  ]);
  expect(parts.flatMap((part) => [...part.data]).slice(0, 32)).toEqual(written(name, 0, 4, 0));
  expect((await dump.read(name, { step: 0 })).shape).toEqual([4, 2, 4]);
  await expect(dump.read(name)).rejects.toMatchObject({ code: 'BAD_ARGUMENT', tensor: name });
});

it('reads step values where they stand, with the last position of their step', async () => {
  await using dump = await Dump.open(await sample());
  const lead = await dump.read('layers.0.conv:lead');
  expect(lead.shape).toEqual([3, 5]);
  expect([...lead.position]).toEqual([3, 4, 5]);
  expect([...lead.data].slice(0, 5)).toEqual(written('layers.0.conv:lead', 0, 4, 0));
  expect(await dump.readRows('layers.0.conv:lead', 0, 1)).toBeUndefined();
});

it('reads the same from rows split over many record batches', async () => {
  await using whole = await Dump.open(await sample());
  await using split = await Dump.open(await sample({ batchBytes: 200 }));
  expect((await split.rows('layers.0.q')).starts.length).toBeGreaterThan(
    (await whole.rows('layers.0.q')).starts.length,
  );
  for (const { name } of TAPS.filter((tap) => !tap.shape.includes(null))) {
    const [a, b] = [await whole.read(name), await split.read(name)];
    expect([b.shape, [...b.data], [...b.position]]).toEqual([a.shape, [...a.data], [...a.position]]);
  }
});

it('reads part of a batch, into memory that the caller provides', async () => {
  await using dump = await Dump.open(await sample());
  const memory = new ReusableBuffer();
  const first = await dump.readRows('embed_tokens', 1, 3, memory);
  expect(first!.shape).toEqual([2, 6]);
  expect([...first!.data]).toEqual(written('embed_tokens', 0, 4, 0).slice(6, 18));
  const second = await dump.readRows('embed_tokens', 4, 6, memory);
  expect(second!.shape).toEqual([1, 6]);
  expect(second!.data.buffer).toBe(first!.data.buffer);
});

it('keeps concurrent reads of one file apart', async () => {
  await using dump = await Dump.open(await sample());
  const parts = await Promise.all([0, 4, 5, 0, 5].map((row) => dump.readRows('embed_tokens', row, row + 1)));
  expect(parts.map((part) => part!.data[0])).toEqual([0, 4, 5, 0, 5].map((row) => 12 + 16 * row));
});

it('lists rows per file and refuses rows outside', async () => {
  await using dump = await Dump.open(await sample());
  expect([...(await dump.rows('lm_head')).starts]).toEqual([0, 4, 5, 6]);
  for (const [start, end] of [
    [0, 7],
    [-1, 2],
    [2, 2],
    [0.5, 1],
  ] as const)
    await expect(dump.readRows('lm_head', start, end)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  await expect(dump.read('lm_head', { step: 9 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(() => dump.tap('nope')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT', tensor: 'nope' }));
});

it('reads a partial dump, and a file cut anywhere, up to the last whole batch', async () => {
  const dir = temporaryFolder();
  {
    await using writer = await DumpWriter.create(dir, description());
    for (const step of [0, 1, 2]) await appendStep(writer, TAPS, rowIndex(step, step + 1, step));
  }
  const file = join(dir, 'model.arrow');
  const counts = new Set<number>();
  for (let size = readFileSync(file).length; size > 1500; size -= 61) {
    truncateSync(file, size);
    await using dump = await Dump.open(dir);
    expect(await dump.isWhole('lm_head')).toBe(false);
    const { position } = await dump.rows('lm_head');
    counts.add(position.length);
    for (const row of position.keys())
      expect([...(await dump.readRows('lm_head', row, row + 1))!.data]).toEqual(
        written('lm_head', row, row + 1, row),
      );
  }
  expect([...counts]).toEqual([3, 2, 1, 0]);
});

it('reads statistics back as columns', async () => {
  const dir = temporaryFolder();
  const taps = TAPS.filter(({ name }) => name === 'lm_head');
  const sequences = [{ tokens: [11, 12] }];
  await using writer = await DumpWriter.create(dir, description({ tier: 'stats', taps, sequences }));
  for (const step of [0, 1])
    await writer.appendStats(
      rowIndex(step, step + 1, step),
      new Map([['lm_head', { count: 7, values: Float64Array.of(step, 2, 3, Number.NaN, 5, 6, 7) }]]),
    );
  await writer.finish();
  await using dump = await Dump.open(dir);
  const stats = await dump.stats();
  expect(stats).toMatchObject({ length: 2, tap: ['lm_head', 'lm_head'] });
  expect([...stats.min]).toEqual([0, 1]);
  expect([...stats.rms]).toEqual([Number.NaN, Number.NaN]);
  expect([[...stats.block], [...stats.position], [...stats.count], [...stats.inf]]).toEqual([
    [-1, -1],
    [0, 1],
    [7, 7],
    [7, 7],
  ]);
  await expect(dump.read('lm_head')).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  await expect(dump.hashes()).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
});

it('reads hashes back', async () => {
  const dir = temporaryFolder();
  const taps = TAPS.filter(({ name }) => name === 'layers.0.q');
  const sequences = [{ tokens: [11, 12, 13, 14] }];
  await using writer = await DumpWriter.create(dir, description({ tier: 'hash', taps, sequences }));
  const sha256 = '0123456789abcdef'.repeat(4);
  await writer.appendHash(0, 1, 4, new Map([['layers.0.q', sha256]]));
  await writer.finish();
  await using dump = await Dump.open(dir);
  expect(await dump.hashes()).toEqual([
    { tap: 'layers.0.q', block: 0, sequence: 0, step: 1, rows: 4, sha256 },
  ]);
});

it.each([
  ['another format', ['format'], 'other', /"zayascope-dump" in format, got "other"/],
  ['a later version', ['version'], 3, /written by a newer Zayascope\) in version, got 3/],
  ['a version that is no number', ['version'], '1', /expected 1 or 2 in version, got "1"/],
  ['no model', ['model'], undefined, /an object in model, got nothing/],
  ['a token that is no integer', ['sequences', 0, 'tokens', 1], 1.5, /sequences\[0\]\.tokens\[1\], got 1\.5/],
  ['an unknown dtype', ['taps', 1, 'dtype'], 'F8', /taps\[1\]\.dtype, got "F8"/],
  ['a negative size', ['taps', 1, 'shape'], [-1, 3], /taps\[1\]\.shape\[0\]/],
  ['a huge shape', ['taps', 1, 'shape'], [2 ** 20, 2 ** 20], /fewer than 2\^31 elements/],
  ['axes that do not fit', ['taps', 1, 'axes'], ['T'], /3 names in taps\[1\]\.axes/],
  ['a tap listed twice', ['taps', 1, 'name'], 'embed_tokens', /a name that no other tap has/],
  [
    'a file outside the folder',
    ['taps', 1, 'file'],
    '../layers.0.arrow',
    /taps\[1\]\.file, got "\.\.\/layers/,
  ],
  ['an absolute file', ['taps', 1, 'file'], '/etc/passwd', /taps\[1\]\.file/],
  ['a block that is a path', ['taps', 1, 'block'], '0/../..', /taps\[1\]\.block/],
] as const)('refuses a manifest with %s', async (_case, path, value, message) => {
  const dir = await sample();
  const manifest: unknown = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'));
  let place = manifest as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1)!] = value;
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest));
  await expect(Dump.open(dir)).rejects.toMatchObject({
    code: 'BAD_DUMP',
    message: expect.stringMatching(message),
  });
});

it('refuses a folder without manifest, and a manifest that is not JSON', async () => {
  const dir = temporaryFolder();
  await expect(Dump.open(dir)).rejects.toMatchObject({ code: 'IO', tensor: 'manifest.json' });
  writeFileSync(join(dir, 'manifest.json'), '{"format":');
  await expect(Dump.open(dir)).rejects.toMatchObject({ code: 'BAD_DUMP', tensor: 'manifest.json' });
});

it('refuses a complete dump that lost a file, and a file that is not the one the manifest describes', async () => {
  const dir = await sample();
  writeFileSync(join(dir, 'layers.0.arrow'), readFileSync(join(dir, 'layers.1.arrow')));
  {
    await using dump = await Dump.open(dir);
    await expect(dump.read('layers.0.q')).rejects.toMatchObject({
      code: 'BAD_DUMP',
      tensor: 'layers.0.arrow',
      message: expect.stringContaining('column 4 to be layers.0.q: FixedSizeList[6]<Uint16>'),
    });
  }
  rmSync(join(dir, 'layers.1.arrow'));
  await expect(Dump.open(dir)).rejects.toMatchObject({ code: 'BAD_DUMP', tensor: 'layers.1.arrow' });
});

it('refuses an empty file and one that is not Arrow', async () => {
  const dir = await sample();
  for (const content of ['', 'ARROW1', 'not an arrow file at all']) {
    writeFileSync(join(dir, 'model.arrow'), content);
    await using dump = await Dump.open(dir);
    await expect(dump.read('lm_head')).rejects.toMatchObject({ code: 'BAD_DUMP', tensor: 'model.arrow' });
  }
});

it('refuses use after close', async () => {
  const dump = await Dump.open(await sample());
  await dump.read('lm_head');
  await dump.close();
  await dump.close();
  await expect(dump.read('lm_head')).rejects.toMatchObject({ code: 'CLOSED' });
});
