import { mkdir, readdir, readFile, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint, type TensorInfo } from '../../src/weights/checkpoint.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { readTensor, tensorChunks } from '../../src/weights/tensor-data.js';
import { entry, temporaryFolder, writeRaw } from './fixtures.js';

/** A folder with two shards, and an index with these changes. */
async function shardedFolder(changes: Record<string, unknown> = {}): Promise<string> {
  const folder = await temporaryFolder();
  await writeRaw(folder, 'm-1.safetensors', { a: entry('F32', [1], 0, 4), b: entry('F16', [3], 4, 10) }, 10);
  await writeRaw(
    folder,
    'm-2.safetensors',
    { c: entry('BF16', [2, 2], 0, 8), d: entry('U8', [2], 8, 10) },
    10,
  );
  const map = { a: 'm-1.safetensors', b: 'm-1.safetensors', c: 'm-2.safetensors', d: 'm-2.safetensors' };
  const index = { metadata: { total_size: 20 }, weight_map: { ...map, ...changes } };
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  return folder;
}

describe('openCheckpoint', () => {
  it('reads tensors of every shard, and sets aside dtypes that it does not compute with', async () => {
    const checkpoint = await openCheckpoint(await shardedFolder());
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b', 'c']);
    expect(checkpoint.unreadable.get('d')).toMatchObject({ dtype: 'U8', shape: [2], sizeBytes: 2 });
    expect(checkpoint.files.map((file) => file.slice(-15))).toEqual(['m-1.safetensors', 'm-2.safetensors']);
    expect(await readTensor(checkpoint.tensors.get('b')!)).toEqual(Uint8Array.of(4, 5, 6, 7, 8, 9));
    expect(await readTensor(checkpoint.tensors.get('c')!, 2, 5)).toEqual(Uint8Array.of(2, 3, 4));
  });

  it('prefers the single file over an index, as transformers does, and opens a file by its path', async () => {
    const folder = await shardedFolder();
    await writeRaw(folder, 'model.safetensors', { z: entry('I8', [1], 0, 1) }, 1);
    expect([...(await openCheckpoint(folder)).tensors.keys()]).toEqual(['z']);
    expect([...(await openCheckpoint(join(folder, 'm-1.safetensors'))).tensors.keys()]).toEqual(['a', 'b']);
    const index = await openCheckpoint(join(folder, 'model.safetensors.index.json'));
    expect(index.tensors.size).toBe(3);
    expect(index.folder).toBe(folder);
  });

  it('follows links, which is how download caches store shards', async () => {
    const folder = await shardedFolder();
    const cached = join(await temporaryFolder(), 'blob');
    await writeFile(cached, await readFile(join(folder, 'm-2.safetensors')));
    await unlink(join(folder, 'm-2.safetensors'));
    await symlink(cached, join(folder, 'm-2.safetensors'));
    expect((await openCheckpoint(folder)).tensors.get('c')?.shape).toEqual([2, 2]);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['a shard that is missing', { a: 'm-3.safetensors' }, 'm-3.safetensors'],
    ['an index as shard', { a: 'model.safetensors.index.json' }, '.safetensors or .bin file'],
    ['a shard in the parent folder', { a: '../m-1.safetensors' }, 'inside the model folder'],
    ['a shard in the parent folder, disguised', { a: 'x/../../m-1.safetensors' }, 'inside the model folder'],
    ['an absolute shard', { a: '/m-1.safetensors' }, 'inside the model folder'],
    ['a shard that is no string', { a: 1 }, 'got 1'],
    ['a tensor in another shard than it says', { a: 'm-2.safetensors' }, 'a in '],
  ])('rejects an index that names %s', async (_, changes, message) => {
    const folder = await shardedFolder(changes);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining(message),
    });
  });

  it.each([
    ['{"weight_map":[]}', 'weight_map'],
    ['{"weight_map":{}}', 'at least one tensor'],
    ['{}', 'weight_map'],
    ['{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}', 'the key "a" twice'],
    ['{"weight_map":', 'valid JSON'],
  ])('rejects the index %s', async (text, message) => {
    const folder = await shardedFolder();
    await writeFile(join(folder, 'model.safetensors.index.json'), text);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining(message),
    });
  });

  it('rejects a tensor that is in two shards', async () => {
    const folder = await shardedFolder();
    await writeRaw(
      folder,
      'm-2.safetensors',
      { a: entry('F32', [1], 0, 4), c: entry('BF16', [2, 2], 4, 12) },
      12,
    );
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'BAD_CHECKPOINT', tensor: 'a' });
  });

  it('reports a folder that is missing, empty or has a folder for a file', async () => {
    const folder = await temporaryFolder();
    await expect(openCheckpoint(join(folder, 'none'))).rejects.toMatchObject({ code: 'IO' });
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'BAD_CHECKPOINT' });
    await mkdir(join(folder, 'model.safetensors'));
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('readTensor', () => {
  const stacked = (file: string): TensorInfo => {
    const parts = [
      { file, offsetBytes: 6, sizeBytes: 2 },
      { file, offsetBytes: 0, sizeBytes: 3 },
      { file, offsetBytes: 9, sizeBytes: 1 },
    ];
    return { name: 'experts', dtype: 'I8', shape: [6], file, offsetBytes: 6, sizeBytes: 6, parts };
  };

  it('joins the parts of a stacked tensor, whatever range is asked for', async () => {
    const file = join(await temporaryFolder(), 'data');
    await writeFile(
      file,
      Uint8Array.from({ length: 10 }, (_, index) => index),
    );
    const whole = [6, 7, 0, 1, 2, 9];
    for (let begin = 0; begin <= 6; begin++)
      for (let end = begin; end <= 6; end++)
        expect([...(await readTensor(stacked(file), begin, end))]).toEqual(whole.slice(begin, end));
    const chunks: number[][] = [];
    for await (const chunk of tensorChunks(stacked(file), 4)) chunks.push([...chunk]);
    expect(chunks).toEqual([whole.slice(0, 4), whole.slice(4)]);
  });

  it('rejects ranges outside the tensor', async () => {
    for (const [begin, end] of [
      [-1, 2],
      [0, 7],
      [3, 2],
      [0.5, 1],
      [Number.NaN, 2],
    ] as const)
      await expect(readTensor(stacked('none'), begin, end)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('reports a file that shrank or vanished after it was opened', async () => {
    const folder = await shardedFolder();
    const { tensors } = await openCheckpoint(folder);
    await truncate(join(folder, 'm-1.safetensors'), 20);
    await expect(readTensor(tensors.get('b')!)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('readTensor b'),
    });
    await unlink(join(folder, 'm-2.safetensors'));
    await expect(readTensor(tensors.get('c')!)).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('writeSafetensors', () => {
  it('writes what openCheckpoint reads: chunked data, wider elements first, metadata', async () => {
    const folder = await temporaryFolder();
    async function* pieces() {
      yield Uint8Array.of(1, 2, 3);
      yield Uint8Array.of();
      yield Uint8Array.of(4, 5, 6, 7, 8);
    }
    const path = join(folder, 'model.safetensors');
    await writeSafetensors(
      path,
      [
        { name: 'half', dtype: 'F16', shape: [1], chunks: [Uint8Array.of(9, 10)] },
        { name: 'brain', dtype: 'BF16', shape: [1, 1], chunks: [Uint8Array.of(11, 12)] },
        { name: '10', dtype: 'F32', shape: [2], chunks: pieces() },
        { name: 'empty "quoted"', dtype: 'F32', shape: [3, 0], chunks: [] },
      ],
      new Map([['format', 'pt']]),
    );
    const { tensors, metadata } = await openCheckpoint(folder);
    expect([...tensors.keys()].sort()).toEqual(['10', 'brain', 'empty "quoted"', 'half']);
    const offset = (name: string) => tensors.get(name)!.offsetBytes;
    expect(offset('10') % 8).toBe(0);
    expect(offset('half')).toBe(offset('10') + 8);
    expect(offset('brain')).toBe(offset('half') + 2);
    expect(await readTensor(tensors.get('10')!)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect([...metadata]).toEqual([['format', 'pt']]);
    expect(await readdir(folder)).toEqual(['model.safetensors']);
  });

  it('leaves the old file and no other when it fails', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'model.safetensors');
    await writeFile(path, 'old');
    const write = (chunks: Iterable<Uint8Array>) =>
      writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [1], chunks }]);
    function* failing(): Generator<Uint8Array> {
      yield new Uint8Array(2);
      throw new Error('source failed');
    }
    await expect(write([new Uint8Array(3)])).rejects.toMatchObject({ code: 'BAD_ARGUMENT', tensor: 'a' });
    await expect(write([new Uint8Array(3), new Uint8Array(2)])).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    await expect(write(failing())).rejects.toThrow('source failed');
    expect(await readdir(folder)).toEqual(['model.safetensors']);
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('rejects duplicate and reserved names, foreign dtypes, malformed shapes and unwritable folders', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'x.safetensors');
    const good = { name: 'a', dtype: 'F32', shape: [0], chunks: [] } as const;
    for (const tensors of [
      [good, good],
      [{ ...good, name: '__metadata__' }],
      [{ ...good, dtype: 'Q4_K' as 'F32' }],
      [{ ...good, shape: [-1] }],
      [{ ...good, shape: [2 ** 40, 2 ** 40] }],
    ])
      await expect(writeSafetensors(path, tensors)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(writeSafetensors(join(folder, 'no', 'x.safetensors'), [good])).rejects.toMatchObject({
      code: 'IO',
    });
    await mkdir(path);
    await expect(writeSafetensors(path, [good])).rejects.toMatchObject({ code: 'IO' });
    expect(await readdir(folder)).toEqual(['x.safetensors']);
  });
});
