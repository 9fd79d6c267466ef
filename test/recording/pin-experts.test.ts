import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump, recordGguf } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { modelMaker, PROMPT } from './models.js';

/** Experts of a token: the first entries of its sorting, in the graph's own number. */
const EXPERTS = 2;

/** The experts that each token of each block is given, as sets. */
async function choices(folder: string): Promise<string[]> {
  await using dump = await Dump.open(folder);
  const found: string[] = [];
  for (const { name } of dump.taps.filter(({ name: tap }) => /^ffn_moe_(argsort|topk)-\d+$/.test(tap)))
    for await (const { data, shape } of dump.stream(name)) {
      const columns = shape.at(-1)!;
      for (let row = 0; row < data.length / columns; row++) {
        const first = [...(data as Int32Array).subarray(row * columns, row * columns + EXPERTS)];
        found.push(`${name} ${row}: ${first.sort((a, b) => a - b).join(',')}`);
      }
    }
  return found;
}

describeWith('a C++ compiler or libllama', hasLibllama, 'experts of another run', () => {
  let maker: Awaited<ReturnType<typeof modelMaker>>;
  beforeAll(async () => {
    maker = await modelMaker();
  }, 60_000);
  afterAll(() => rmSync(maker.folder, { recursive: true, force: true }));

  it('pinned into a quantised one take every flip away', async () => {
    const at = (name: string) => join(maker.folder, name);
    const run = { tokens: PROMPT, generate: 0, threads: 1 };
    await recordGguf({ ...run, model: maker.make('qwen3moe'), out: at('f32') });
    const model = maker.make('qwen3moe', 'Q4_K_M');
    await recordGguf({ ...run, model, out: at('free') });
    const pin = [{ taps: 'ffn_moe_topk-*', from: at('f32') }];
    const pinned = await recordGguf({ ...run, model, pin, out: at('pinned') });
    expect(pinned).toMatchObject({ isSame: true, edited: { nodes: 4 } });
    const [f32, free, same] = await Promise.all(['f32', 'free', 'pinned'].map((name) => choices(at(name))));
    expect(f32!.length).toBe(4 * PROMPT.length);
    const flips = (other: readonly string[]) => f32!.filter((choice, k) => choice !== other[k]).length;
    // Without, some tokens have other experts; with, none.
    expect(flips(free!)).toBeGreaterThan(0);
    expect(flips(same!)).toBe(0);
  }, 60_000);
});
