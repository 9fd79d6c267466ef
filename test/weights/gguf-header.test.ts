import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertModel } from '../../src/models/gguf/convert.js';
import { type GgufHeader, readGgufHeader } from '../../src/weights/formats/gguf-header.js';
import { importsOf, loadedBy } from '../import-graph.js';
import { pythonJson, root } from '../reference/python.js';
import { temporaryFolder } from './fixtures.js';

/** What `gguf_values.py` prints of a file. */
interface Expected {
  alignment: number;
  data: number;
  metadata: Record<string, { types: string[]; value: unknown }>;
  tensors: { name: string; type: number; ne: number[]; offset: number; bytes: number }[];
}

/** gguf-py's names of value types. */
const TYPES: Record<string, string> = {
  uint8: 'u8',
  int8: 'i8',
  uint16: 'u16',
  int16: 'i16',
  uint32: 'u32',
  int32: 'i32',
  float32: 'f32',
  bool: 'bool',
  string: 'str',
  array: 'arr',
  uint64: 'u64',
  int64: 'i64',
  float64: 'f64',
};

/** A header as gguf-py shows it. */
function asExpected({ alignment, dataOffsetBytes, metadata, tensors }: GgufHeader) {
  const plain = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(plain) : typeof value === 'bigint' ? String(value) : value;
  return {
    alignment,
    data: dataOffsetBytes,
    metadata: Object.fromEntries(
      Object.entries(metadata).map(([key, { type, itemType, value }]) => [
        key,
        // gguf-py names the type of items by the first one: of an empty array it knows none.
        {
          types: [type, itemType].filter(
            (each) =>
              each !== undefined && !(each === itemType && Array.isArray(value) && value.length === 0),
          ),
          value: plain(value),
        },
      ]),
    ),
    tensors: tensors.map(({ name, type, ne, offsetBytes, sizeBytes }) => ({
      name,
      type,
      ne,
      offset: dataOffsetBytes + offsetBytes,
      bytes: sizeBytes,
    })),
  };
}

describe('readGgufHeader', () => {
  let folder = '';
  const files: string[] = [];
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let expected: Expected[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-gguf-'));
    files.push(join(folder, 'written.gguf'), join(folder, 'tiny.gguf'));
    await convertModel(join(root, 'dumps', 'tiny', 'model'), { type: 'q8_0', out: files[1]! });
    expected = pythonJson<Expected[]>([join(root, 'test', 'weights', 'gguf_values.py'), ...files]);
  });

  it.each([
    ['every type of value, written by gguf-py', 0],
    ['the tiny model with its tokenizer, written by convert', 1],
  ])('finds what gguf-py finds: %s', async (_, at) => {
    const { alignment, data, metadata, tensors } = expected[at]!;
    const translated = Object.fromEntries(
      Object.entries(metadata).map(([key, { types, value }]) => [
        key,
        { types: types.map((type) => TYPES[type]), value },
      ]),
    );
    // Sizes of axes that the file does not name are 1, as in ggml.
    const padded = tensors.map((tensor) => ({ ...tensor, ne: [...tensor.ne, 1, 1, 1].slice(0, 4) }));
    expect(asExpected(await readGgufHeader('test', files[at]!))).toEqual({
      alignment,
      data,
      metadata: translated,
      tensors: padded,
    });
    expect(tensors.length).toBeGreaterThan(2);
  });

  it('loads nothing of the addon', () => {
    const native = [...loadedBy('weights/formats/gguf-header.ts')]
      .flatMap(importsOf)
      .filter(({ to, kind }) => to === 'native.ts' && kind !== 'type');
    expect(native).toEqual([]);
  });
});

describe('a header that ggml would not open', () => {
  const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
  const u64 = (value: bigint | number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
  const text = (value: string | Buffer): Buffer =>
    Buffer.concat([u64(Buffer.from(value).length), Buffer.from(value)]);
  const file = (tensors: number, keys: number, ...rest: Buffer[]): Buffer =>
    Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors), u64(keys), ...rest, Buffer.alloc(64)]);
  const key = (name: string | Buffer, value = 7): Buffer => Buffer.concat([text(name), u32(4), u32(value)]);
  const tensor = (
    name: string,
    { ne = [1n], type = 0, offset = 0n }: { ne?: bigint[]; type?: number; offset?: bigint } = {},
  ): Buffer => Buffer.concat([text(name), u32(ne.length), ...ne.map(u64), u32(type), u64(offset)]);

  it.each<[string, Buffer, string]>([
    ['a key twice', file(0, 2, key('a'), key('a')), 'expected each key once, got "a" twice'],
    [
      'a key without a name',
      file(0, 1, key('')),
      'expected names in UTF-8 without NUL, got one that begins with ""',
    ],
    [
      'a key with NUL',
      file(0, 1, key('a\0b')),
      'expected names in UTF-8 without NUL, got one that begins with "a"',
    ],
    [
      'a key that is no UTF-8',
      file(0, 1, key(Buffer.from([0x61, 0xff]))),
      'expected names in UTF-8 without NUL, got one that begins with "a"',
    ],
    [
      'an unknown type',
      file(0, 1, text('a'), u32(13)),
      'expected a value of a GGUF type for "a", got type 13',
    ],
    ['arrays of arrays', file(0, 1, text('a'), u32(9), u32(9)), 'got an array of arrays'],
    [
      'an array longer than the file',
      file(0, 1, text('a'), u32(9), u32(10), u64(2n ** 61n)),
      'bytes that the file has left for items of "a", got 2305843009213693952',
    ],
    ['an alignment of 48', file(0, 1, key('general.alignment', 48)), 'got 48 of type u32'],
    ['more tensors than the file has room for', file(1000, 0), 'for tensors, got 1000'],
    [
      'a tensor twice',
      file(2, 0, tensor('t'), tensor('t', { offset: 32n })),
      'expected each tensor once, got "t" twice',
    ],
    [
      'a name of 64 bytes',
      file(1, 0, tensor('n'.repeat(64))),
      'expected tensor names of at most 63 bytes, got 64',
    ],
    [
      'five axes',
      file(1, 0, tensor('t', { ne: [1n, 1n, 1n, 1n, 1n] })),
      'expected at most 4 axes of "t", got 5',
    ],
    ['a type that ggml removed', file(1, 0, tensor('t', { type: 4 })), 'got Q4_2 (removed from ggml)'],
    ['a type beyond all', file(1, 0, tensor('t', { type: 99 })), 'got type 99 (unknown to ggml)'],
    [
      'rows that break a block',
      file(1, 0, tensor('t', { ne: [33n], type: 8 })),
      'whole blocks of 32 elements in Q8_0',
    ],
    [
      '2^62 elements',
      file(1, 0, tensor('t', { ne: [2n ** 31n, 2n ** 31n] })),
      'expected sizes below 2^53 for "t"',
    ],
    [
      'a gap between two',
      file(2, 0, tensor('a'), tensor('b', { offset: 64n })),
      'the data of "b" at 32, behind that before it, got 64',
    ],
  ])('%s', async (_, bytes, message) => {
    const path = join(await temporaryFolder(), 'model.gguf');
    writeFileSync(path, bytes);
    await expect(readGgufHeader('openGguf', path)).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining(message),
    });
  });
});
