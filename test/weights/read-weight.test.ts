import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openZayaSource, readWeight } from '../../src/index.js';

const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');

it('reads a weight by its name, widened', async () => {
  const source = await openZayaSource(model);
  const { shape, dtype, data } = await readWeight(source, 'model.layers.0.self_attn.o_proj.weight');
  expect(shape).toEqual([128, 128]);
  expect(dtype).toBe('BF16');
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  expect(words.every((word) => (word & 0xffff) === 0)).toBe(true);
  expect(data.some((value) => value !== 0)).toBe(true);
});

it('names a weight that the model lacks', async () => {
  const source = await openZayaSource(model);
  await expect(readWeight(source, 'model.layers.8.self_attn.o_proj.weight')).rejects.toMatchObject({
    code: 'MISSING_TENSOR',
    message: expect.stringContaining('model.layers.8.self_attn.o_proj.weight'),
  });
});
