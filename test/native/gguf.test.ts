import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type GgufValue, native } from '../../src/native.js';
import { readGgufHeader } from '../../src/weights/formats/gguf-header.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-gguf-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'model.gguf');

const METADATA: Record<string, GgufValue> = {
  'general.architecture': { type: 'str', value: 'zaya' },
  'general.alignment': { type: 'u32', value: 64 },
  u8: { type: 'u8', value: 255 },
  i8: { type: 'i8', value: -128 },
  u16: { type: 'u16', value: 65535 },
  i16: { type: 'i16', value: -32768 },
  u32: { type: 'u32', value: 4294967295 },
  i32: { type: 'i32', value: -2147483648 },
  u64: { type: 'u64', value: 9007199254740991 },
  'u64 beyond 2^53': { type: 'u64', value: 18446744073709551615n },
  i64: { type: 'i64', value: -5 },
  'i64 beyond 2^53': { type: 'i64', value: -9223372036854775808n },
  f32: { type: 'f32', value: 0.5 },
  f64: { type: 'f64', value: 0.1 },
  bool: { type: 'bool', value: true },
  text: { type: 'str', value: 'Grüße, 世界' },
  'no text': { type: 'str', value: '' },
  texts: { type: 'arr', itemType: 'str', value: ['a', '', 'é'] },
  integers: { type: 'arr', itemType: 'i32', value: [1, -1, 0] },
  booleans: { type: 'arr', itemType: 'bool', value: [true, false] },
  floats: { type: 'arr', itemType: 'f32', value: [1.5, -2] },
  nothing: { type: 'arr', itemType: 'u8', value: [] },
};
const TENSORS = [
  { name: 'token_embd.weight', type: 0, ne: [5, 2] },
  { name: 'blk.0.ffn.weight', type: 8, ne: [32, 3, 2] },
  { name: 'last', type: 30, ne: [1] },
];

function header(): Uint8Array {
  return native().ggufHeader(METADATA, TENSORS);
}

describe('a header that is written and read', () => {
  it('comes back with every type of value', async () => {
    writeFileSync(path, header());
    expect(await readGgufHeader('test', path)).toMatchObject({
      version: 3,
      alignment: 64,
      metadata: METADATA,
    });
  });

  it('places tensors in order at the alignment, data following its end', async () => {
    const bytes = header();
    writeFileSync(path, bytes);
    const { dataOffsetBytes, tensors } = await readGgufHeader('test', path);
    expect(dataOffsetBytes).toBe(bytes.length);
    expect(bytes.length % 64).toBe(0);
    expect(tensors).toEqual([
      { name: 'token_embd.weight', type: 0, ne: [5, 2, 1, 1], offsetBytes: 0, sizeBytes: 40 },
      { name: 'blk.0.ffn.weight', type: 8, ne: [32, 3, 2, 1], offsetBytes: 64, sizeBytes: 204 },
      { name: 'last', type: 30, ne: [1, 1, 1, 1], offsetBytes: 320, sizeBytes: 2 },
    ]);
  });

  it('has alignment 32 unless told, and may be empty', async () => {
    writeFileSync(path, native().ggufHeader({}, []));
    expect(await readGgufHeader('test', path)).toMatchObject({ alignment: 32, metadata: {}, tensors: [] });
  });

  it('keeps a key that JavaScript objects treat specially as a key', async () => {
    const metadata = Object.defineProperty({}, '__proto__', {
      value: { type: 'u8', value: 1 },
      enumerable: true,
    });
    writeFileSync(path, native().ggufHeader(metadata, []));
    const read = (await readGgufHeader('test', path)).metadata;
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(Object.entries(read)).toEqual([['__proto__', { type: 'u8', value: 1 }]]);
  });
});

describe('files that are no GGUF', () => {
  it('throw BAD_CHECKPOINT at every length that cuts the header', async () => {
    const bytes = header();
    const codes = new Set<string>();
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      codes.add(await readCode());
    }
    expect([...codes]).toEqual(['BAD_CHECKPOINT']);
  });

  it('throw BAD_CHECKPOINT or read, whatever byte is broken', async () => {
    const bytes = header();
    const codes = new Set<string>();
    for (let at = 0; at < bytes.length; at++) {
      const broken = bytes.slice();
      broken[at]! ^= 0xff;
      writeFileSync(path, broken);
      codes.add(await readCode());
    }
    expect([...codes].sort()).toEqual(['BAD_CHECKPOINT', 'read']);
  });

  it('throw BAD_CHECKPOINT for counts beyond any memory', async () => {
    for (const at of [8, 16]) {
      const bytes = header();
      new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(at, 2n ** 62n, true);
      writeFileSync(path, bytes);
      expect(await readCode()).toBe('BAD_CHECKPOINT');
    }
  });

  it('throw IO if they are missing', async () => {
    await expect(readGgufHeader('test', join(folder, 'missing'))).rejects.toMatchObject({ code: 'IO' });
  });

  async function readCode(): Promise<string> {
    try {
      await readGgufHeader('test', path);
      return 'read';
    } catch (error) {
      return (error as { code: string }).code;
    }
  }
});

describe('values that a header cannot hold throw BAD_ARGUMENT', () => {
  const tensor = { name: 't', type: 0, ne: [1] };
  // biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
  const cases: Record<string, [any, any]> = {
    'an unknown type': [{ k: { type: 'u128', value: 1 } }, []],
    'a type of arrays in arrays': [{ k: { type: 'arr', itemType: 'arr', value: [] } }, []],
    'an array without an item type': [{ k: { type: 'arr', value: [] } }, []],
    'no object': [{ k: 5 }, []],
    'a number out of range': [{ k: { type: 'u8', value: 256 } }, []],
    'a negative unsigned number': [{ k: { type: 'u64', value: -1 } }, []],
    'a fraction': [{ k: { type: 'i32', value: 0.5 } }, []],
    'a bigint that is too large': [{ k: { type: 'i64', value: 2n ** 63n } }, []],
    'a string for a number': [{ k: { type: 'f32', value: '1' } }, []],
    'a number for a boolean': [{ k: { type: 'bool', value: 1 } }, []],
    'a string with NUL': [{ k: { type: 'str', value: 'a\0b' } }, []],
    'an empty key': [{ '': { type: 'u8', value: 1 } }, []],
    'an alignment that is no power of two': [{ 'general.alignment': { type: 'u32', value: 48 } }, []],
    'an alignment of another type': [{ 'general.alignment': { type: 'u64', value: 64 } }, []],
    'a tensor without a name': [{}, [{ ...tensor, name: '' }]],
    'a tensor name of 64 bytes': [{}, [{ ...tensor, name: 'n'.repeat(64) }]],
    'two tensors of one name': [{}, [tensor, tensor]],
    'an unknown tensor type': [{}, [{ ...tensor, type: 4 }]],
    'five sizes': [{}, [{ ...tensor, ne: [1, 1, 1, 1, 1] }]],
    'a size of 0': [{}, [{ ...tensor, ne: [0] }]],
    'rows that break a block': [{}, [{ ...tensor, type: 8, ne: [33] }]],
  };
  it.each(Object.entries(cases))('%s', (_, [metadata, tensors]) => {
    expect(() => native().ggufHeader(metadata, tensors)).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});
