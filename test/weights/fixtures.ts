import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'zayascope-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes of a safetensors file with this header text and data, valid or not. */
export function safetensorsBytes(header: string, data: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** A header entry. */
export function entry(dtype: string, shape: readonly number[], begin: number, end: number): object {
  return { dtype, shape, data_offsets: [begin, end] };
}

/** Writes a safetensors file of these header entries with the data 0, 1, 2, ... and returns its path. */
export async function writeRaw(
  folder: string,
  name: string,
  header: string | Record<string, unknown>,
  dataBytes: number,
): Promise<string> {
  const path = join(folder, name);
  const data = Uint8Array.from({ length: dataBytes }, (_, index) => index % 251);
  await writeFile(path, safetensorsBytes(typeof header === 'string' ? header : JSON.stringify(header), data));
  return path;
}

/** A small seeded generator (mulberry32): uniform integers below `limit`. */
export function seededIntegers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}
