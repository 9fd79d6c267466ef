import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { expect, it, vi } from 'vitest';
import type { TapSpec } from '../../src/dump/format.js';
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

const VECTOR: TapSpec = { name: 'v', block: 0, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [4] };

function manifestOf(dir: string): { status: string; steps: number } {
  return JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'));
}

it('writes files that apache-arrow opens, with canonical tensor metadata', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(dir);
  const table = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow')));
  expect(table.batches.map((batch) => batch.numRows)).toEqual([4, 1, 1]);
  expect(table.schema.fields.map((field) => field.name)).toEqual([
    ...['sequence', 'position', 'token_id', 'step', 'layers.0.q', 'layers.0:attn_weights'],
    ...['layers.0:attn_weights#shape', 'layers.0.conv:lead', 'layers.0.conv:lead#shape'],
  ]);
  expect(Object.fromEntries(table.schema.fields[4]!.metadata)).toEqual({
    'zayascope.dtype': 'BF16',
    'ARROW:extension:name': 'arrow.fixed_shape_tensor',
    'ARROW:extension:metadata': '{"shape":[2,3]}',
  });
  expect([...table.getChild('position')!]).toEqual([0, 1, 2, 3, 4, 5]);
  const index = rowIndex(4, 5, 1);
  const expected = new Uint16Array(tapValue(TAPS[1]!, index).bytes.buffer as ArrayBuffer);
  expect([...table.getChild('layers.0.q')!.get(4)]).toEqual([...expected]);
  expect([...table.getChild('layers.0:attn_weights#shape')!.get(5)]).toEqual([2, 6]);
});

it('puts a step value in the last row of its batch and null in the others', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(dir);
  const lead = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow'))).getChild('layers.0.conv:lead')!;
  expect([...lead].map((value) => value !== null)).toEqual([false, false, false, true, true, true]);
});

it('marks the dump complete and counts its steps only when finished', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description());
  expect(manifestOf(dir)).toMatchObject({ status: 'partial', steps: 0 });
  await appendStep(writer, TAPS, rowIndex(0, 2, 0));
  await appendStep(writer, TAPS, rowIndex(2, 3, 1));
  const manifest = await writer.finish([{ tokens: [11, 12, 13] }]);
  expect(manifest).toMatchObject({ status: 'complete', steps: 2, sequences: [{ tokens: [11, 12, 13] }] });
  expect(manifestOf(dir)).toEqual(manifest);
});

it('has the bytes on disk when append resolves, so that the caller may overwrite them', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ taps: [{ ...VECTOR, shape: [5000] }] }));
  const memory = new Float32Array(5000);
  for (let step = 0; step < 5; step++) {
    memory.fill(step + 1);
    await writer.append(
      0,
      rowIndex(step, step + 1, step),
      new Map([['v', { bytes: bytes(memory), shape: [1, 5000] }]]),
    );
    memory.fill(-1);
  }
  await writer.finish();
  const table = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow')));
  for (let step = 0; step < 5; step++)
    expect(new Set(table.getChild('v')!.get(step))).toEqual(new Set([step + 1]));
});

it('serves appends to one file in the order of the calls', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ taps: [VECTOR] }));
  await Promise.all(
    [0, 1, 2, 3].map((step) => {
      const index = rowIndex(step, step + 1, step);
      return writer.append(0, index, new Map([['v', tapValue(VECTOR, index)]]));
    }),
  );
  await writer.finish();
  const table = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow')));
  expect([...table.getChild('position')!]).toEqual([0, 1, 2, 3]);
  expect([...table.getChild('v')!.get(3)]).toEqual([49, 50, 51, 52]);
});

it('splits rows over several record batches where one would be too large', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(dir, { batchBytes: 200 });
  const table = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow')));
  expect(table.batches.length).toBeGreaterThan(3);
  expect([...table.getChild('position')!]).toEqual([0, 1, 2, 3, 4, 5]);
  expect([...table.getChild('layers.0.conv:lead')!].filter((value) => value !== null)).toHaveLength(3);
});

it('refuses a row that no record batch can hold', async () => {
  await using writer = await DumpWriter.create(temporaryFolder(), description({ taps: [VECTOR] }), {
    batchBytes: 24,
  });
  const index = rowIndex(0, 1, 0);
  await expect(writer.append(0, index, new Map([['v', tapValue(VECTOR, index)]]))).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
  });
});

it.each([
  ['a missing tap', undefined, /got none \(v\)/],
  ['a wrong row shape', { bytes: new Uint8Array(24), shape: [2, 3] }, /shape \[2, 4\], got \[2, 3\] \(v\)/],
  ['too few bytes', { bytes: new Uint8Array(28), shape: [2, 4] }, /32 bytes, got 28 \(v\)/],
  ['a missing token axis', { bytes: new Uint8Array(16), shape: [4] }, /shape \[2, 4\], got \[4\] \(v\)/],
])('refuses %s and stays usable', async (_case, value, message) => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ taps: [VECTOR] }));
  const index = rowIndex(0, 2, 0);
  const bad = writer.append(0, index, new Map(value === undefined ? [] : [['v', value]]));
  await expect(bad).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
    tensor: 'v',
    message: expect.stringMatching(message),
  });
  await writer.append(0, index, new Map([['v', tapValue(VECTOR, index)]]));
  expect((await writer.finish()).steps).toBe(1);
});

it('refuses index columns of different lengths, unknown blocks, wrong tiers, duplicate and reserved tap names', async () => {
  await using writer = await DumpWriter.create(temporaryFolder(), description({ taps: [VECTOR] }));
  const index = rowIndex(0, 2, 0);
  const values = new Map([['v', tapValue(VECTOR, index)]]);
  const bad = { code: 'BAD_ARGUMENT' };
  await expect(writer.append(0, { ...index, step: new Int32Array(1) }, values)).rejects.toMatchObject(bad);
  const mixed = { ...index, step: Int32Array.of(0, 1) };
  await expect(writer.append(0, mixed, values)).rejects.toMatchObject(bad);
  await expect(writer.append(7, index, values)).rejects.toMatchObject({ ...bad, tensor: 'layers.7.arrow' });
  await expect(writer.appendHash(0, 0, 2, new Map())).rejects.toMatchObject(bad);
  for (const name of ['v', 'position', 'v#shape', ''])
    await expect(
      DumpWriter.create(temporaryFolder(), description({ taps: [VECTOR, { ...VECTOR, name }] })),
    ).rejects.toMatchObject(bad);
});

it('refuses a folder that is not empty, and touches nothing in it', async () => {
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'notes.txt'), 'mine');
  for (const overwrite of [false, true])
    await expect(DumpWriter.create(dir, description(), { overwrite })).rejects.toMatchObject({ code: 'IO' });
  expect(readdirSync(dir)).toEqual(['notes.txt']);
});

it('replaces a dump only when told to, and deletes nothing but its files', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(dir);
  writeFileSync(join(dir, 'notes.txt'), 'mine');
  mkdirSync(join(dir, 'layers.0.arrow.bak'));
  await expect(DumpWriter.create(dir, description())).rejects.toMatchObject({ code: 'IO' });
  await using writer = await DumpWriter.create(dir, description({ taps: [VECTOR] }), { overwrite: true });
  await writer.finish();
  expect(readdirSync(dir).sort()).toEqual(
    ['layers.0.arrow', 'layers.0.arrow.bak', 'manifest.json', 'notes.txt', 'stats.arrow'].sort(),
  );
});

it('names the folder that cannot be made', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  await expect(DumpWriter.create(join(file, 'dump'), description())).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining(join(file, 'dump')),
  });
});

/**
 * Values of more than 512 KiB a row: written off the JavaScript thread, where a failing disk can be
 * simulated.
 */
const LARGE = { ...VECTOR, shape: [200_000] };

it('reports a full disk with the file and leaves a partial dump', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ taps: [LARGE] }));
  const index = rowIndex(0, 1, 0);
  const values = new Map([['v', tapValue(LARGE, index)]]);
  await writer.append(0, index, values);
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    syscall: 'write',
  });
  const writev = vi.spyOn(await handlePrototype(), 'writev').mockRejectedValueOnce(full);
  const expected = {
    code: 'IO',
    tensor: 'layers.0.arrow',
    message: expect.stringMatching(/ENOSPC.*layers\.0\.arrow/),
  };
  await expect(writer.append(0, rowIndex(1, 2, 1), values)).rejects.toMatchObject(expected);
  writev.mockRestore();
  await expect(writer.finish()).rejects.toMatchObject(expected);
  expect(manifestOf(dir).status).toBe('partial');
  await expect(writer.append(0, index, values)).rejects.toMatchObject({ code: 'CLOSED' });
});

it('continues a write that the system cut short', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ taps: [LARGE] }));
  const prototype = await handlePrototype();
  const whole = prototype.writev;
  const writev = vi.spyOn(prototype, 'writev').mockImplementation(function (
    this: FileHandle,
    pieces,
    position,
  ) {
    const [first] = pieces as Uint8Array[];
    return whole.call(this, [first!.subarray(0, Math.ceil(first!.length / 2))], position) as never;
  });
  const data = Float32Array.from({ length: 200_000 }, (_, k) => k);
  await writer.append(0, rowIndex(0, 1, 0), new Map([['v', { bytes: bytes(data), shape: [1, 200_000] }]]));
  writev.mockRestore();
  await writer.finish();
  const table = tableFromIPC(readFileSync(join(dir, 'layers.0.arrow')));
  expect([...table.getChild('v')!.get(0)]).toEqual([...data]);
});

it('leaves a partial dump when disposed unfinished, whose files read as Arrow streams', async () => {
  const dir = temporaryFolder();
  {
    await using writer = await DumpWriter.create(dir, description());
    for (const step of [0, 1, 2]) await appendStep(writer, TAPS, rowIndex(step, step + 1, step));
  }
  expect(manifestOf(dir).status).toBe('partial');
  const table = tableFromIPC(readFileSync(join(dir, 'model.arrow')).subarray(8));
  expect([...table.getChild('position')!]).toEqual([0, 1, 2]);
});

it('writes statistics with one row per tap and position, one per step for step values', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ tier: 'stats' }));
  const row = [1, 2, 3, 4, 5, 6, 7];
  await writer.appendStats(
    rowIndex(4, 6, 1),
    new Map([
      ['layers.0.q', { count: 6, values: Float64Array.from([...row, ...row]) }],
      ['layers.0.conv:lead', { count: 5, values: Float64Array.from(row) }],
    ]),
  );
  await expect(
    writer.appendStats(
      rowIndex(4, 6, 1),
      new Map([['layers.0.q', { count: 6, values: new Float64Array(7) }]]),
    ),
  ).rejects.toMatchObject({ code: 'BAD_ARGUMENT', tensor: 'layers.0.q' });
  expect((await writer.finish()).steps).toBe(2);
  const table = tableFromIPC(readFileSync(join(dir, 'stats.arrow')));
  expect(table.toArray().map((entry) => ({ ...entry }))).toEqual([
    { ...{ tap: 'layers.0.q', block: 0, sequence: 0, position: 4, step: 1, count: 6 }, ...statistics },
    { ...{ tap: 'layers.0.q', block: 0, sequence: 0, position: 5, step: 1, count: 6 }, ...statistics },
    {
      ...{ tap: 'layers.0.conv:lead', block: 0, sequence: 0, position: 5, step: 1, count: 5 },
      ...statistics,
    },
  ]);
});

const statistics = { min: 1, max: 2, mean: 3, rms: 4, absmax: 5, nan: 6, inf: 7 };

it('writes hashes, refusing what is not one and taps that are not listed', async () => {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(dir, description({ tier: 'hash' }));
  const hash = 'ab'.repeat(32);
  await writer.appendHash(0, 3, 4, new Map([['lm_head', hash]]));
  for (const [name, value] of [
    ['lm_head', 'xyz'],
    ['unknown', hash],
  ] as const)
    await expect(writer.appendHash(0, 3, 4, new Map([[name, value]]))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  await writer.finish();
  const table = tableFromIPC(readFileSync(join(dir, 'hash.arrow')));
  expect(table.toArray().map((entry) => ({ ...entry }))).toEqual([
    { tap: 'lm_head', block: -1, sequence: 0, step: 3, rows: 4, sha256: hash },
  ]);
});

function bytes(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer);
}

async function handlePrototype(): Promise<FileHandle> {
  const handle = await open(process.execPath, 'r');
  await handle.close();
  return Object.getPrototypeOf(handle);
}
