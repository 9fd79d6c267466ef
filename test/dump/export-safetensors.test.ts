import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { exportSafetensors } from '../../src/dump/export-safetensors.js';
import { Dump } from '../../src/dump/reader.js';
import { temporaryFolder, writeSampleDump } from './dump-fixture.js';

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** A safetensors file parsed by hand: header length, JSON header, data. */
function parse(path: string): { entries: Record<string, Entry>; data: (name: string) => Buffer } {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    Entry
  >;
  return {
    entries,
    data: (name) =>
      bytes.subarray(
        8 + length + entries[name]!.data_offsets[0],
        8 + length + entries[name]!.data_offsets[1],
      ),
  };
}

it('writes every tap under its name with its dtype, values of varying shape and of steps under one key per step', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(join(dir, 'dump'));
  await using dump = await Dump.open(join(dir, 'dump'));
  const file = join(dir, 'out.safetensors');
  const keys = await exportSafetensors(dump, '**', file);
  const { entries, data } = parse(file);
  expect([...keys].sort()).toEqual(Object.keys(entries).sort());
  expect(Object.fromEntries(keys.map((key) => [key, [entries[key]!.dtype, entries[key]!.shape]]))).toEqual({
    embed_tokens: ['F32', [6, 6]],
    'layers.0.q': ['BF16', [6, 2, 3]],
    'layers.0:attn_weights#0': ['F32', [4, 2, 4]],
    'layers.0:attn_weights#1': ['F32', [1, 2, 5]],
    'layers.0:attn_weights#2': ['F32', [1, 2, 6]],
    'layers.0.conv:lead#0': ['F32', [5]],
    'layers.0.conv:lead#1': ['F32', [5]],
    'layers.0.conv:lead#2': ['F32', [5]],
    'layers.1.mlp.gate:expert': ['I32', [6]],
    'layers.1.half': ['F16', [6, 3]],
    lm_head: ['F32', [6, 7]],
  });
  const expected = await dump.read('layers.0.q');
  expect(data('layers.0.q').equals(Buffer.from(expected.data.buffer))).toBe(true);
  const step = await dump.read('layers.0:attn_weights', { step: 1 });
  expect(data('layers.0:attn_weights#1').equals(Buffer.from(step.data.buffer))).toBe(true);
});

it('writes only what the pattern selects, and refuses one that selects nothing', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(join(dir, 'dump'));
  await using dump = await Dump.open(join(dir, 'dump'));
  expect(await exportSafetensors(dump, 'lm_head,layers.1.*', join(dir, 'a'))).toEqual([
    'layers.1.half',
    'lm_head',
  ]);
  await expect(exportSafetensors(dump, 'nothing', join(dir, 'b'))).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
  });
  expect(existsSync(join(dir, 'b'))).toBe(false);
});

it('leaves no file behind where it cannot be written', async () => {
  const dir = temporaryFolder();
  await writeSampleDump(join(dir, 'dump'));
  await using dump = await Dump.open(join(dir, 'dump'));
  await expect(exportSafetensors(dump, '**', join(dir, 'missing', 'out'))).rejects.toMatchObject({
    code: 'IO',
  });
  expect(readdirSync(dir)).toEqual(['dump']);
});
