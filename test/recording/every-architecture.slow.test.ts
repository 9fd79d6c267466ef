import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateRecording, recordGguf, replayRecording } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { ARCHITECTURES, FILE_TYPES, modelMaker, PROMPT } from './models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'every architecture', () => {
  let folder: string;
  let make: Awaited<ReturnType<typeof modelMaker>>['make'];
  beforeAll(async () => {
    ({ folder, make } = await modelMaker());
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** A prompt of 24 tokens and two steps: recorded, and every node again. */
  const replayed = async (model: string, flashAttention: boolean) => {
    const recording = join(folder, 'recording');
    const recorded = await recordGguf({
      model,
      tokens: PROMPT,
      generate: 2,
      threads: 1,
      flashAttention,
      out: recording,
      overwrite: true,
    });
    const { nodes } = await replayRecording({ recording, model });
    return { recording, recorded, nodes };
  };

  it.each(ARCHITECTURES)(
    '%s: every node replays bit for bit, none is at fault, and its own values change nothing',
    async (architecture) => {
      const model = make(architecture);
      const { recording, recorded, nodes } = await replayed(model, false);
      expect(recorded.isSame).toBe(true);
      expect(nodes.length).toBeGreaterThan(100);
      expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
      expect(nodes.filter(({ ownError, widened }) => widened === undefined && ownError !== 0)).toEqual([]);
      // Judged on another number of threads, which sums in another order.
      const verdict = await locateRecording({ recording, model, threads: 2 });
      expect(verdict.nodes.filter(({ isFault, problem }) => isFault || problem !== undefined)).toEqual([]);
      const again = await recordGguf({
        model,
        tokens: PROMPT,
        generate: 2,
        threads: 1,
        pin: [{ taps: '**', from: recording }],
        out: join(folder, 'pinned'),
        overwrite: true,
      });
      expect(again.edited).toEqual({ nodes: recorded.nodes, logitsNmse: 0 });
      expect(again.isSame).toBe(true);
    },
    120_000,
  );

  const typed = ['llama', 'qwen3moe', 'gemma3', 'deepseek2', 'qwen3next'].flatMap((architecture) =>
    (Object.keys(FILE_TYPES) as (keyof typeof FILE_TYPES)[]).flatMap((type) =>
      [false, true].map((flash) => [architecture, type, flash] as const),
    ),
  );
  it.each(typed)(
    '%s in %s, flash attention %s',
    async (architecture, type, flash) => {
      const { recorded, nodes } = await replayed(make(architecture, type), flash);
      expect(recorded.isSame).toBe(true);
      expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
    },
    120_000,
  );
});
