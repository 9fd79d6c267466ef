import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openModelSource } from '../../src/models/layout/source.js';
import { openModel } from '../../src/models/runtime/model.js';
import { synthZaya } from '../../src/models/zaya/synth.js';
import { temporaryFolder } from '../weights/fixtures.js';

const TOKENS = Array.from({ length: 256 }, (_, i) => (i * 389 + 7) % 1024);

describe('synthZaya', () => {
  it.each(['f32', 'bf16', 'q8_0', 'q4_k_m'] as const)(
    'makes a %s file that runs, with finite logits of unit size',
    async (type) => {
      const out = join(await temporaryFolder(), 'tiny.gguf');
      const result = await synthZaya({ size: 'tiny', type, out });
      using model = await openModel(out, { policy: 'bf16-weights', threads: 1 });
      expect(result.parameters).toBe(
        [...model.weights.tensors.values()].reduce(
          (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
          0,
        ),
      );
      expect(model.weights.skipReachable).toEqual([false, false, false, false]);
      expect(model.weights.unexpected).toEqual([]);
      const logits = await model.prefill(TOKENS);
      expect(logits.every(Number.isFinite)).toBe(true);
      const rms = Math.sqrt(logits.reduce((sum, value) => sum + value * value, 0) / logits.length);
      expect(rms).toBeGreaterThan(0.5);
      expect(rms).toBeLessThan(2);
    },
  );

  it('spreads tokens over all experts in every block', async () => {
    const out = join(await temporaryFolder(), 'tiny.gguf');
    await synthZaya({ size: 'tiny', type: 'q8_0', out });
    using model = await openModel(out, { policy: 'bf16-weights', threads: 1 });
    const wants = (name: string) => name.endsWith(':expert');
    using plan = model.plan({ tokens: TOKENS.length, taps: { wants } });
    const counts: number[][] = [];
    await plan.run(TOKENS, {
      sink: async (_, values) => {
        for (const { bytes } of values) {
          const chosen = new Int32Array(bytes.slice().buffer);
          counts.push(
            Array.from({ length: 9 }, (_, expert) => chosen.filter((each) => each === expert).length),
          );
        }
      },
    });
    expect(counts).toHaveLength(4);
    for (const block of counts) {
      expect(block.slice(0, 8).filter((count) => count > 0).length).toBe(8);
      expect(Math.max(...block)).toBeLessThan(TOKENS.length / 2);
      expect(block[8]).toBe(0);
    }
  });

  it('gives the same file for a seed, and no two equal rows of the embedding', async () => {
    const folder = await temporaryFolder();
    const make = async (name: string, seed: number) => {
      await synthZaya({ size: 'tiny', type: 'q4_k_m', out: join(folder, name), seed });
      return readFile(join(folder, name));
    };
    const [a, b, c] = [await make('a.gguf', 3), await make('b.gguf', 3), await make('c.gguf', 4)];
    expect(Buffer.compare(a, b)).toBe(0);
    expect(Buffer.compare(a, c)).not.toBe(0);
    const { offsetBytes, sizeBytes } = (await openModelSource(join(folder, 'a.gguf'))).checkpoint.tensors.get(
      'model.embed_tokens.weight',
    )!;
    const rowBytes = sizeBytes / 1024;
    const rows = Array.from({ length: 1024 }, (_, row) =>
      a.subarray(offsetBytes + row * rowBytes, offsetBytes + (row + 1) * rowBytes).toString('base64'),
    );
    expect(new Set(rows).size).toBe(1024);
  });

  it('leaves no file when cancelled, and none over an existing one', async () => {
    const folder = await temporaryFolder();
    const out = join(folder, 'a.gguf');
    const controller = new AbortController();
    const cancelled = synthZaya({
      size: 'tiny',
      type: 'bf16',
      out,
      onProgress: () => controller.abort(),
      signal: controller.signal,
    });
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await readdir(folder)).toEqual([]);
    await synthZaya({ size: 'tiny', type: 'bf16', out });
    await expect(synthZaya({ size: 'tiny', type: 'bf16', out })).rejects.toMatchObject({ code: 'IO' });
    await expect(synthZaya({ size: 'tiny', type: 'bf16', out: join(folder, 'a.bin') })).rejects.toMatchObject(
      { code: 'BAD_ARGUMENT' },
    );
  });
});
