/** Damage that the writer's own library refuses is refused here too, however little it says of the values. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openForeignSource } from '../../../src/dump/import/open-source.js';
import { ZayascopeError } from '../../../src/errors.js';
import { pythonJson } from '../../reference/python.js';

const files = mkdtempSync(join(tmpdir(), 'zayascope-damaged-'));
let verdicts: Map<string, boolean>;

beforeAll(() => {
  verdicts = new Map(pythonJson<[string, boolean][]>(['test/dump/import/make_damaged.py', files]));
});
afterAll(() => rmSync(files, { recursive: true, force: true }));

/** The values of a file, or the code of the error. */
async function outcome(name: string): Promise<number[][] | string> {
  try {
    await using source = await openForeignSource(join(files, name));
    const values: number[][] = [];
    for (const value of source.values)
      values.push([...new Float32Array((await value.read()).slice().buffer)]);
    return values;
  } catch (error) {
    expect(error, name).toBeInstanceOf(ZayascopeError);
    return (error as ZayascopeError).code;
  }
}

const PLAIN = [Array.from({ length: 10 }, (_, k) => k)];

it('is refused where NumPy, zipfile or torch refuse it, and read alike where they read it', async () => {
  expect(verdicts.size).toBeGreaterThan(25);
  for (const [name, isRead] of verdicts) {
    if (name === 'metadata.pt') continue;
    const found = await outcome(name);
    if (isRead) expect(found, name).toEqual(PLAIN);
    else expect(found, name).toBe('BAD_DUMP');
  }
});

it('is refused also where torch goes on with other values: a tensor with the bit that negates it', async () => {
  // Of a member marked as a folder torch gives whatever its memory holds.
  expect(await outcome('folder.pt')).toBe('BAD_DUMP');
  expect([verdicts.get('metadata.pt'), await outcome('metadata.pt')]).toEqual([true, 'BAD_DUMP']);
});

it.each([
  ['negative.npy', '[-2, -5]'],
  ['huge.npy', '[4611686018427388000]'],
])('%s: the sentence names the shape', async (name, shape) => {
  await expect(openForeignSource(join(files, name))).rejects.toThrow(
    `expected a shape of whole numbers from 0 to 2^53, got ${shape}`,
  );
});

it('a safetensors header of 2^62 bytes is told as such, whatever reads it', async () => {
  const file = join(files, 'huge.safetensors');
  const bytes = Buffer.alloc(80, '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}');
  bytes.copyWithin(8, 0);
  bytes.writeBigUInt64LE(1n << 62n, 0);
  writeFileSync(file, bytes);
  await expect(openForeignSource(file)).rejects.toThrow(
    /header of at most \d+ bytes, got 4611686018427387904/,
  );
});
