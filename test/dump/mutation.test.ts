import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { ZayascopeError } from '../../src/errors.js';
import { randomNumbers } from '../diff/random-numbers.js';
import { appendStep, description, rowIndex, TAPS, temporaryFolder } from './dump-fixture.js';

async function makeDump(status: 'partial' | 'complete'): Promise<string> {
  const dir = temporaryFolder();
  await using writer = await DumpWriter.create(
    dir,
    description({ sequences: [{ tokens: [11, 12, 13, 14] }] }),
  );
  for (const [step, [start, end]] of [[0, 3] as const, [3, 4] as const].entries()) {
    const index = rowIndex(start, end, step);
    await appendStep(writer, TAPS, index);
    const values = new Float64Array(7 * (end - start));
    await writer.appendStats(index, new Map([['lm_head', { count: 7, values }]]));
  }
  if (status === 'complete') await writer.finish();
  return dir;
}

/** Reads everything; returns the number of elements, or the error. */
async function readAll(dir: string): Promise<number | unknown> {
  try {
    await using dump = await Dump.open(dir);
    let elements = (await dump.stats()).length;
    for (const tap of dump.taps) for await (const part of dump.stream(tap.name)) elements += part.data.length;
    return elements;
  } catch (error) {
    return error;
  }
}

it.each(['partial', 'complete'] as const)(
  'answers damaged files of a %s dump with BAD_DUMP or, of a partial one, what is left of them, never with a crash, a hang or more data than there was',
  async (status) => {
    const dir = await makeDump(status);
    const whole = (await readAll(dir)) as number;
    expect(whole).toBeGreaterThan(100);
    const files = readdirSync(dir).filter((file) => file.endsWith('.arrow'));
    const originals = new Map(files.map((file) => [file, readFileSync(join(dir, file))]));
    const random = randomNumbers(20261124);
    const outcomes = { refused: 0, shorter: 0, unnoticed: 0 };
    for (let round = 0; round < 400; round++) {
      const file = files[Math.floor(random() * files.length)]!;
      const original = originals.get(file)!;
      let damaged: Uint8Array = Uint8Array.from(original);
      if (random() < 0.3) damaged = damaged.subarray(0, Math.floor(random() * damaged.length));
      const flips = random() < 0.2 ? 0 : 1 + Math.floor(random() * 4);
      for (let flip = 0; flip < flips && damaged.length > 0; flip++) {
        const at = Math.floor(random() * damaged.length);
        // Mostly the values that make sizes huge or negative, which single bit flips would seldom hit.
        damaged[at] = [0xff, 0x7f, 0x80, Math.floor(random() * 256)][Math.floor(random() * 4)]!;
      }
      writeFileSync(join(dir, file), damaged);
      const result = await readAll(dir);
      if (typeof result === 'number') {
        expect(result, `round ${round}`).toBeLessThanOrEqual(2 * whole);
        outcomes[result < whole ? 'shorter' : 'unnoticed']++;
      } else {
        expect(result, `round ${round}: ${(result as Error).stack}`).toBeInstanceOf(ZayascopeError);
        expect((result as ZayascopeError).code, `round ${round}`).toBe('BAD_DUMP');
        outcomes.refused++;
      }
      writeFileSync(join(dir, file), original);
    }
    expect(await readAll(dir)).toBe(whole);
    // The seed is fixed: all outcomes occur, so the loop above tests what it says.
    expect(outcomes.refused).toBeGreaterThan(50);
    if (status === 'partial') expect(outcomes.shorter).toBeGreaterThan(10);
    else expect(outcomes.shorter).toBe(0);
  },
);
