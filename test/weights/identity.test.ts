import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { configSha256, weightsSha256 } from '../../src/weights/identity.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { entry, temporaryFolder, writeRaw } from './fixtures.js';

function sha256(...pieces: (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

const pattern = (length: number, step: number) =>
  Uint8Array.from({ length }, (_, index) => (index * step) % 256);

it('hashes the bytes of the config file', async () => {
  const file = join(await temporaryFolder(), 'config.json');
  await writeFile(file, '{"a": 1}\n');
  expect(await configSha256(file)).toBe(sha256('{"a": 1}\n'));
  await expect(configSha256(`${file}.missing`)).rejects.toMatchObject({ code: 'IO' });
});

it('hashes tensors in the byte order of their names, large ones by their ends only', async () => {
  const folder = await temporaryFolder();
  const whole = pattern(65_536, 7);
  const middling = pattern(40_000, 11);
  const large = pattern(65_538, 13);
  // UTF-16 order would put the emoji before the full-width letter; UTF-8 order does not.
  await writeSafetensors(join(folder, 'model.safetensors'), [
    { name: 'b😀', dtype: 'F16', shape: [2, 16_384], chunks: [whole] },
    { name: 'bＡ', dtype: 'BF16', shape: [20_000], chunks: [middling] },
    { name: 'a', dtype: 'BF16', shape: [32_769, 1], chunks: [large] },
    { name: 'c', dtype: 'F32', shape: [], chunks: [pattern(4, 1)] },
    { name: 'd', dtype: 'F32', shape: [0, 3], chunks: [] },
  ]);
  const expected = sha256(
    ...['a\0BF16\x0032769,1\0', large.subarray(0, 32_768), large.subarray(32_770)],
    ...['bＡ\0BF16\x0020000\0', middling],
    ...['b😀\0F16\x002,16384\0', whole],
    ...['c\0F32\0\0', pattern(4, 1)],
    'd\0F32\x000,3\0',
  );
  expect(await weightsSha256(await openCheckpoint(folder))).toBe(expected);
});

it('is the same however the tensors are spread over shards, and covers dtypes that are not read', async () => {
  const single = await temporaryFolder();
  const header = { x: entry('F8_E4M3', [3], 0, 3), y: entry('I8', [2], 3, 5) };
  await writeRaw(single, 'model.safetensors', header, 5);
  const sharded = await temporaryFolder();
  const map = { x: '1.safetensors', y: '2.safetensors' };
  await writeRaw(sharded, '1.safetensors', { x: entry('F8_E4M3', [3], 0, 3) }, 3);
  await writeFile(join(sharded, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  await writeSafetensors(join(sharded, '2.safetensors'), [
    { name: 'y', dtype: 'I8', shape: [2], chunks: [Uint8Array.of(3, 4)] },
  ]);
  const expected = sha256('x\0F8_E4M3\x003\0', Uint8Array.of(0, 1, 2), 'y\0I8\x002\0', Uint8Array.of(3, 4));
  expect(await weightsSha256(await openCheckpoint(single))).toBe(expected);
  expect(await weightsSha256(await openCheckpoint(sharded))).toBe(expected);
});
