/** Metadata of Arrow files that changes what the bytes mean: honoured or refused by name, never ignored. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { pythonJson } from '../reference/python.js';
import { description, rowIndex, temporaryFolder, writeSampleDump } from './dump-fixture.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-metadata-'));
let logical: number[];

beforeAll(async () => {
  const dir = join(scratch, 'source');
  const tap = {
    name: 'x',
    block: 0,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', 'a', 'b', 'c'],
    shape: [3, 2, 4],
  } as const;
  await using writer = await DumpWriter.create(dir, description({ taps: [tap] }));
  const data = Float32Array.from({ length: 6 * 24 }, (_, k) => k);
  const value = { bytes: new Uint8Array(data.buffer), shape: [6, 3, 2, 4] };
  await writer.append(0, rowIndex(0, 6, 0), new Map([['x', value]]));
  await writer.finish();
  logical = pythonJson([join('test', 'dump', 'permuted.py'), dir, scratch]);
  expect(logical).toEqual([...data]);
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('a tensor column of pyarrow', () => {
  it.each(['plain', 'named', '102', '021', '210', '102-named', '021-named', '210-named'])(
    'with its axes as in %s gives the values that NumPy has',
    async (name) => {
      await using dump = await Dump.open(join(scratch, name));
      const { shape, data } = await dump.read('x');
      expect(shape).toEqual([6, 3, 2, 4]);
      expect([...data]).toEqual(logical);
      const part = await dump.readRows('x', 2, 4);
      expect([...part!.data]).toEqual(logical.slice(48, 96));
    },
  );

  it.each([
    ['120', /a permutation that is its own inverse .* in the tensor metadata of x, got \[1,2,0\]/],
    ['201', /a permutation that is its own inverse .* in the tensor metadata of x, got \[2,0,1\]/],
    [
      'other-shape',
      /a shape that is \[3, 2, 4\] once its permutation is applied in the tensor metadata of x/,
    ],
    ['other-names', /dim_names that are \["a","b","c"\], the axes in the manifest/],
    ['other-dtype', /zayascope\.dtype of x to be F32, got F16/],
  ])('that says %s is refused', async (name, message) => {
    await using dump = await Dump.open(join(scratch, name));
    await expect(dump.read('x')).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringMatching(message),
    });
  });
});

describe('a footer', () => {
  /** The sample's file with other blocks in its footer, as its own writer encodes them. */
  async function withBlocks(change: (blocks: FileBlock[]) => FileBlock[]): Promise<Dump> {
    const dir = temporaryFolder();
    await writeSampleDump(dir);
    const path = join(dir, 'layers.1.arrow');
    const bytes = readFileSync(path);
    const size = bytes.readInt32LE(bytes.length - 10);
    const start = bytes.length - 10 - size;
    const footer = Footer.decode(bytes.subarray(start, start + size));
    const blocks = change([...footer.recordBatches()]);
    const encoded = Footer.encode(new Footer(footer.schema, footer.version, blocks, []));
    const end = Buffer.alloc(4);
    end.writeInt32LE(encoded.length);
    writeFileSync(path, Buffer.concat([bytes.subarray(0, start), encoded, end, Buffer.from('ARROW1')]));
    return Dump.open(dir);
  }
  const name = 'layers.1.half';

  it('written anew reads as before', async () => {
    await using dump = await withBlocks((blocks) => blocks);
    expect((await dump.read(name)).shape).toEqual([6, 3]);
  });

  it.each<[string, (blocks: FileBlock[]) => FileBlock[]]>([
    ['lists a batch twice', (blocks) => [...blocks, blocks[0]!]],
    ['lists a batch a thousand times', (blocks) => Array(1000).fill(blocks[1]!)],
    [
      'lists a batch inside another',
      ([first, ...rest]) => [
        new FileBlock(first!.metaDataLength, first!.bodyLength + 64, first!.offset),
        ...rest,
      ],
    ],
  ])('that %s is refused', async (_what, change) => {
    await using dump = await withBlocks(change);
    await expect(dump.read(name)).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringContaining('a footer that lists bytes twice'),
    });
  });
});

it('in a footer with a changed bit is refused wherever pyarrow refuses it', async () => {
  const dir = join(scratch, 'named');
  const file = join(dir, 'layers.0.arrow');
  const bytes = readFileSync(file);
  const [start, end, read] = pythonJson<[number, number, number[]]>([
    join('test', 'dump', 'arrow_flips.py'),
    file,
  ]);
  expect(read.length).toBeLessThan((end - start) / 2);
  const wrong: string[] = [];
  for (let at = start; at < end; at++) {
    if (read.includes(at)) continue;
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1 << ((5 * at) % 8);
    writeFileSync(file, changed);
    try {
      await using dump = await Dump.open(dir);
      await dump.read('x');
      wrong.push(`byte ${at - start} of the footer`);
    } catch (error) {
      expect(error).toMatchObject({ code: 'BAD_DUMP' });
    }
  }
  writeFileSync(file, bytes);
  expect(wrong).toEqual([]);
});
