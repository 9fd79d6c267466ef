import { writeSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ZayascopeError } from '../../src/errors.js';
import { openModel } from '../../src/models/runtime/model.js';
import { readGgufHeader } from '../../src/weights/formats/gguf-header.js';
import { seededIntegers } from '../weights/fixtures.js';

/** 32-bit values that break arithmetic: zero, one, the largest, the first negative, ... */
const EDGES = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];

/**
 * Opens, loads and runs `count` mutations of a GGUF file, from number `first` on, in this process; prints the
 * number of each before and its outcome after it, one JSON line each. Most mutations hit the header, some the
 * data, some cut the file.
 */
export async function runMutations(
  file: string,
  folder: string,
  first: number,
  count: number,
): Promise<void> {
  const good = await readFile(file);
  const headerBytes = (await readGgufHeader('test', file)).dataOffsetBytes;
  const path = join(folder, 'mutated.gguf');
  for (let number = first; number < first + count; number++) {
    await writeFile(path, mutate(good, headerBytes, seededIntegers(number)));
    writeSync(1, `${JSON.stringify({ number })}\n`);
    writeSync(1, `${JSON.stringify({ number, ...(await outcome(path, number)) })}\n`);
  }
}

function mutate(good: Uint8Array, headerBytes: number, random: (limit: number) => number): Uint8Array {
  const bytes = Uint8Array.from(good);
  const view = new DataView(bytes.buffer);
  const kind = random(10);
  if (kind === 0) return bytes.subarray(0, random(bytes.length));
  const region = kind === 1 ? bytes.length : headerBytes;
  for (let edits = 1 + random(3); edits > 0; edits--) {
    const at = random(region - 8);
    if (kind < 5) bytes[at] = random(256);
    else if (kind < 8) view.setUint32(at, EDGES[random(EDGES.length)]!, true);
    else if (kind < 9)
      view.setBigUint64(at, BigInt(EDGES[random(EDGES.length)]!) << BigInt(random(33)), true);
    else bytes.copyWithin(at, random(region), Math.min(region, at + random(64)));
  }
  return bytes;
}

async function outcome(path: string, number: number): Promise<{ outcome: string; detail?: string }> {
  try {
    using model = await openModel(path, { policy: number % 2 === 0 ? 'f32' : 'bf16-weights', threads: 1 });
    // A changed count may ask for far more than a small model needs.
    if (model.config.vocab_size < 3) return { outcome: 'accepted' };
    await model.prefill([0, 1, 2]);
    return { outcome: 'accepted' };
  } catch (error) {
    if (error instanceof ZayascopeError) return { outcome: error.code };
    return { outcome: 'foreign error', detail: String((error as Error).stack ?? error) };
  }
}
