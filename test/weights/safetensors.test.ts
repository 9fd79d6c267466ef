import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { parseSafetensorsHeader } from '../../src/weights/safetensors.js';
import { entry, safetensorsBytes, seededIntegers, temporaryFolder, writeRaw } from './fixtures.js';

const FILE = 'folder/model.safetensors';

/** Parses a header text as that of a file with `dataBytes` of data. */
function parse(header: string | Record<string, unknown>, dataBytes: number) {
  const bytes = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  return parseSafetensorsHeader(bytes, 8 + bytes.length + dataBytes, FILE);
}

function rejection(header: string | Record<string, unknown>, dataBytes: number): string {
  try {
    parse(header, dataBytes);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ZayascopeError', code: 'BAD_CHECKPOINT' });
    expect((error as ZayascopeError).message).toContain(FILE);
    return (error as ZayascopeError).message;
  }
  throw new Error('accepted');
}

describe('safetensors header', () => {
  it('gives absolute offsets, in the order of the data', () => {
    const header = {
      b: entry('F32', [2, 1], 4, 12),
      a: entry('BF16', [2], 0, 4),
      __metadata__: { format: 'pt' },
    };
    const { tensors, metadata } = parse(`${JSON.stringify(header)}   `, 12);
    const start = 8 + JSON.stringify(header).length + 3;
    expect(tensors.map(({ name, offsetBytes, sizeBytes }) => [name, offsetBytes - start, sizeBytes])).toEqual(
      [
        ['a', 0, 4],
        ['b', 4, 8],
      ],
    );
    expect(tensors[1]).toMatchObject({ dtype: 'F32', shape: [2, 1], file: FILE });
    expect(tensors[1]!.parts).toEqual([{ file: FILE, offsetBytes: start + 4, sizeBytes: 8 }]);
    expect([...metadata]).toEqual([['format', 'pt']]);
  });

  it('accepts no tensors, scalars, empty tensors, sub-byte types and names such as __proto__', () => {
    expect(parse('{}', 0).tensors).toEqual([]);
    const header = `{"s":${JSON.stringify(entry('F64', [], 0, 8))},"__proto__":${JSON.stringify(entry('I64', [0, 9], 8, 8))},
      "f4":${JSON.stringify(entry('F4', [2, 3], 8, 11))}}`;
    expect(parse(header, 11).tensors.map(({ name }) => name)).toEqual(['s', '__proto__', 'f4']);
  });

  const ok = entry('F32', [1], 0, 4);
  it.each<[string, string | Record<string, unknown>, number, string]>([
    ['no object at the start', ' {}', 0, 'starts with {'],
    ['an empty header', '', 0, 'starts with {'],
    ['broken JSON', '{"a":', 4, 'valid JSON'],
    [
      'a duplicate tensor',
      `{"a":${JSON.stringify(ok)},"\\u0061":${JSON.stringify(ok)}}`,
      4,
      'the key "a" twice',
    ],
    [
      'a duplicate field',
      '{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
      4,
      '"shape" twice',
    ],
    ['deep nesting', `{"a":${'['.repeat(100_000)}`, 4, 'nesting deeper'],
    ['a tensor that is no object', { a: [1] }, 4, 'a in '],
    ['an unknown dtype', { a: entry('F33', [1], 0, 4) }, 4, 'got "F33"'],
    ['a dtype that names a property of objects', { a: entry('constructor', [1], 0, 4) }, 4, '"constructor"'],
    ['a dtype that is no string', { a: { ...ok, dtype: 7 } }, 4, 'got 7'],
    ['a negative size', { a: entry('F32', [-1], 0, 4) }, 4, 'a shape of whole numbers from 0'],
    ['a fractional size', { a: entry('F32', [0.5, 2], 0, 4) }, 4, 'a shape of whole numbers from 0'],
    ['an unsafe size', { a: entry('F32', [2 ** 53], 0, 4) }, 4, 'a shape of whole numbers from 0'],
    ['a shape that is no list', { a: { ...ok, shape: { length: 0 } } }, 4, 'shape'],
    ['no shape', { a: { dtype: 'F32', data_offsets: [0, 4] } }, 4, 'got nothing'],
    ['one offset', { a: { ...ok, data_offsets: [4] } }, 4, 'data_offsets'],
    ['three offsets', { a: { ...ok, data_offsets: [0, 4, 4] } }, 4, 'data_offsets'],
    ['offsets in the wrong order', { a: entry('F32', [1], 4, 0) }, 4, 'in order'],
    ['offsets beyond the file', { a: entry('F32', [1], 4, 8) }, 4, 'truncated'],
    ['more data than the shape says', { a: entry('F32', [1], 0, 8) }, 8, '[1] to occupy 4 bytes, got 8'],
    ['a product that overflows', { a: entry('F32', [2 ** 52, 2 ** 52], 0, 4) }, 4, 'to occupy'],
    [
      'a product that overflows to infinity',
      { a: entry('I8', new Array(40).fill(2 ** 52), 0, 4) },
      4,
      'to occupy',
    ],
    ['a sub-byte tensor that fills no byte', { a: entry('F4', [3], 0, 2) }, 2, 'to occupy'],
    ['overlapping tensors', { a: ok, b: entry('F32', [1], 2, 6) }, 6, 'without gaps or overlaps'],
    ['the same data twice', { a: ok, b: ok }, 4, 'without gaps or overlaps'],
    ['a hole before the first tensor', { a: entry('F32', [1], 2, 6) }, 6, 'without gaps'],
    ['a hole between tensors', { a: ok, b: entry('F32', [1], 6, 10) }, 10, 'without gaps'],
    ['bytes after the last tensor', { a: ok }, 5, 'as its header describes'],
    ['metadata that is no object', { __metadata__: ['pt'], a: ok }, 4, '__metadata__'],
    ['metadata that is no string', { __metadata__: { n: 1 }, a: ok }, 4, 'object of strings, got 1 at "n"'],
  ])('rejects %s', (_, header, dataBytes, message) => {
    expect(rejection(header, dataBytes)).toContain(message);
  });

  it('names the tensor at fault', () => {
    try {
      parse({ a: ok, 'model.b': entry('F33', [1], 4, 8) }, 8);
    } catch (error) {
      expect((error as ZayascopeError).tensor).toBe('model.b');
      return;
    }
    throw new Error('accepted');
  });
});

describe('safetensors file', () => {
  it('rejects a file shorter than its length field, and lengths beyond the file or the limit', async () => {
    const folder = await temporaryFolder();
    const { writeFile } = await import('node:fs/promises');
    const path = `${folder}/model.safetensors`;
    const cases: [Uint8Array, string][] = [
      [new Uint8Array(0), '0 bytes'],
      [new Uint8Array(7), '7 bytes'],
      [Uint8Array.of(200, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d), 'truncated'],
      [Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255), 'at most 100000000'],
      [Uint8Array.of(1, 0xe1, 0xf5, 5, 0, 0, 0, 0), 'at most 100000000'],
    ];
    for (const [bytes, message] of cases) {
      await writeFile(path, bytes);
      await expect(openCheckpoint(folder)).rejects.toMatchObject({
        code: 'BAD_CHECKPOINT',
        message: expect.stringContaining(message),
      });
    }
  });

  it('rejects a file cut at any byte', async () => {
    const folder = await temporaryFolder();
    const path = await writeRaw(folder, 'model.safetensors', { a: entry('F32', [2], 0, 8) }, 8);
    const { readFile, writeFile } = await import('node:fs/promises');
    const bytes = await readFile(path);
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length));
      await expect(openCheckpoint(folder), `${length} bytes`).rejects.toMatchObject({
        code: 'BAD_CHECKPOINT',
      });
    }
  });
});

/** Everything that an accepted header must guarantee. */
function expectSound(header: ReturnType<typeof parseSafetensorsHeader>, fileSize: number): void {
  let total = 0;
  for (const tensor of header.tensors) {
    expect(tensor.offsetBytes).toBeGreaterThanOrEqual(10);
    expect(tensor.offsetBytes + tensor.sizeBytes).toBeLessThanOrEqual(fileSize);
    total += tensor.sizeBytes;
  }
  expect(total).toBeLessThanOrEqual(fileSize);
}

describe('seeded mutations', () => {
  const random = seededIntegers(20260731);
  const seed = {
    __metadata__: { format: 'pt' },
    'model.a': entry('F32', [2, 3], 0, 24),
    'model.b': entry('BF16', [5], 24, 34),
    'model.c': entry('F16', [1, 1, 2], 34, 38),
    'model.d': entry('I8', [0], 38, 38),
  };

  it('answers 3000 changed byte sequences of a file with a header or BAD_CHECKPOINT', () => {
    const original = safetensorsBytes(JSON.stringify(seed), new Uint8Array(38));
    let accepted = 0;
    for (let round = 0; round < 3000; round++) {
      let bytes = original.slice();
      for (let change = random(4); change >= 0; change--) {
        const at = random(bytes.length);
        const kind = random(4);
        if (kind === 0) bytes[at] = random(256);
        else if (kind === 1) bytes[at] = '0123456789{}[]",:-.e\\'.charCodeAt(random(21));
        else if (kind === 2) bytes = bytes.slice(0, at);
        else bytes = Uint8Array.of(...bytes.subarray(0, at), random(256), ...bytes.subarray(at));
        if (bytes.length < 9) break;
      }
      // The header's end as the (possibly mutated) length field gives it, within the file.
      const length =
        bytes.length < 8 ? 0 : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
      const header = bytes.subarray(8, Math.min(8 + length, bytes.length));
      try {
        expectSound(parseSafetensorsHeader(header, bytes.length, FILE), bytes.length);
        accepted++;
      } catch (error) {
        expect(error, Buffer.from(header).toString('latin1')).toBeInstanceOf(ZayascopeError);
        expect((error as ZayascopeError).code).toBe('BAD_CHECKPOINT');
      }
    }
    expect(accepted).toBeGreaterThan(20);
    expect(accepted).toBeLessThan(2500);
  });

  it('answers 3000 headers with changed values with a header or BAD_CHECKPOINT', () => {
    const values = [
      null,
      true,
      -1,
      0,
      1,
      2,
      24,
      34,
      38,
      0.5,
      2 ** 53,
      1e308,
      -0,
      '',
      'F32',
      'F4',
      [],
      [0, 38],
      [2 ** 52, 2 ** 52],
      {},
    ];
    let accepted = 0;
    for (let round = 0; round < 3000; round++) {
      const header = structuredClone(seed) as Record<string, Record<string, unknown>>;
      for (let change = random(3); change >= 0; change--) {
        const names = Object.keys(header);
        const name = names[random(names.length)]!;
        const value = structuredClone(values[random(values.length)]);
        const field = ['dtype', 'shape', 'data_offsets', 'extra'][random(4)]!;
        const tensor = header[name];
        const kind = random(6);
        if (kind === 0) delete header[name];
        else if (kind === 1) header[`${name}x`] = value as Record<string, unknown>;
        else if (typeof tensor !== 'object' || tensor === null || name === '__metadata__') continue;
        else if (random(3) === 0 && Array.isArray(tensor[field])) tensor[field][random(3)] = value;
        else tensor[field] = value;
      }
      try {
        expectSound(parse(header, 38), 1000);
        accepted++;
      } catch (error) {
        expect(error, JSON.stringify(header)).toMatchObject({
          name: 'ZayascopeError',
          code: 'BAD_CHECKPOINT',
        });
      }
    }
    expect(accepted).toBeGreaterThan(100);
    expect(accepted).toBeLessThan(2500);
  });
});
