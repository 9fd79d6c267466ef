import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import type { GgufValue } from '../../src/native.js';
import { writeGguf } from '../../src/weights/gguf-write.js';
import { readImportance } from '../../src/weights/imatrix.js';
import { seededIntegers, temporaryFolder } from './fixtures.js';

const bytesOf = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);

/** As llama-imatrix writes it: sums of squares [matrices, columns], counts [matrices, 1]. */
async function ggufImatrix(
  entries: Readonly<Record<string, { sums: number[][]; counts: number[] }>>,
  type = 'imatrix',
): Promise<string> {
  const file = join(await temporaryFolder(), 'imatrix.gguf');
  const tensors: { name: string; dtype: 'F32'; shape: number[]; values: number[] }[] = [];
  for (const [name, { sums, counts }] of Object.entries(entries)) {
    tensors.push({
      name: `${name}.in_sum2`,
      dtype: 'F32',
      shape: [sums.length, sums[0]!.length],
      values: sums.flat(),
    });
    tensors.push({ name: `${name}.counts`, dtype: 'F32', shape: [counts.length, 1], values: counts });
  }
  const metadata: Record<string, GgufValue> = { 'general.type': { type: 'str', value: type } };
  await writeGguf(file, metadata, tensors, (_, index) => [bytesOf(tensors[index]!.values)]);
  return file;
}

/** The older format: count, then name, calls and sums of each entry, then calls and data set. */
function datBytes(entries: Readonly<Record<string, { calls: number; values: number[] }>>): Uint8Array {
  const integer = (value: number) => Buffer.from(Int32Array.of(value).buffer);
  const parts = [integer(Object.keys(entries).length)];
  for (const [name, { calls, values }] of Object.entries(entries)) {
    const text = Buffer.from(name);
    parts.push(
      integer(text.length),
      text,
      integer(calls),
      integer(values.length),
      Buffer.from(bytesOf(values)),
    );
  }
  return Buffer.concat([...parts, integer(7), integer(3), Buffer.from('set')]);
}

async function datFile(bytes: Uint8Array): Promise<string> {
  const file = join(await temporaryFolder(), 'imatrix.dat');
  await writeFile(file, bytes);
  return file;
}

const rejection = (file: string) =>
  readImportance(file).then(
    () => new Error('read'),
    (error: unknown) => error,
  );

describe('readImportance', () => {
  it('divides sums by the counts of each expert, and gives experts without tokens 0', async () => {
    const file = await ggufImatrix({
      'blk.0.attn_q.weight': { sums: [[2, 4, 6]], counts: [2] },
      'blk.1.ffn_down_exps.weight': {
        sums: [
          [3, 6],
          [0, 0],
          [5, 0],
        ],
        counts: [3, 0, 5],
      },
    });
    const all = await readImportance(file);
    expect([...all.keys()]).toEqual(['blk.0.attn_q.weight', 'blk.1.ffn_down_exps.weight']);
    expect([...all.get('blk.0.attn_q.weight')!]).toEqual([1, 2, 3]);
    expect([...all.get('blk.1.ffn_down_exps.weight')!]).toEqual([1, 2, 0, 0, 1, 0]);
  });

  it('reads the older format', async () => {
    const file = await datFile(datBytes({ a: { calls: 2, values: [2, 8] }, é: { calls: 0, values: [5] } }));
    const all = await readImportance(file);
    expect([...all].map(([name, values]) => [name, ...values])).toEqual([
      ['a', 1, 4],
      ['é', 5],
    ]);
  });

  it('rejects another GGUF file, missing counts, sums that counts do not divide, and values that are not means', async () => {
    const entry = { sums: [[1, 2, 3]], counts: [1] };
    expect(String(await rejection(await ggufImatrix({ a: entry }, 'model')))).toContain(
      'general.type "imatrix", got "model"',
    );
    expect(String(await rejection(await ggufImatrix({ a: { ...entry, counts: [1, 1] } })))).toContain(
      'columns for each of 2 counts',
    );
    for (const count of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(String(await rejection(await ggufImatrix({ a: { ...entry, counts: [count] } })))).toContain(
        `a finite count from 0, got ${count}`,
      );
    expect(String(await rejection(await ggufImatrix({ a: { ...entry, sums: [[1, -2, 3]] } })))).toContain(
      'got -2 at index 1',
    );
    expect(String(await rejection(await ggufImatrix({ a: { ...entry, sums: [[Number.NaN]] } })))).toContain(
      'got NaN',
    );
    expect(String(await rejection(await ggufImatrix({})))).toContain('at least one tensor');
  });

  it('answers 2000 changed byte sequences of the older format with values or an error of the library', async () => {
    const good = datBytes({
      'blk.0.attn_q.weight': { calls: 3, values: [1, 2, 3] },
      b: { calls: 1, values: [9] },
    });
    const random = seededIntegers(7);
    let accepted = 0;
    const file = await datFile(good);
    for (let round = 0; round < 2000; round++) {
      const bytes = Uint8Array.from(good.subarray(0, random(4) === 0 ? random(good.length) : good.length));
      for (let edits = random(4); edits > 0 && bytes.length > 0; edits--)
        bytes[random(bytes.length)] = random(256);
      await writeFile(file, bytes);
      const result = await readImportance(file).catch((error: unknown) => error);
      if (result instanceof Map) accepted++;
      else expect(result).toBeInstanceOf(ZayascopeError);
    }
    expect(accepted).toBeGreaterThan(100);
    expect(accepted).toBeLessThan(1900);
  });
});
