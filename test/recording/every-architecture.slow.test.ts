import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordGguf, replayRecording } from '../../src/index.js';
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
    return { recorded, nodes };
  };

  it.each(ARCHITECTURES)(
    '%s: every node replays bit for bit, and nothing that rounds nothing errs',
    async (architecture) => {
      const { recorded, nodes } = await replayed(make(architecture), false);
      expect(recorded.isSame).toBe(true);
      expect(nodes.length).toBeGreaterThan(100);
      expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
      expect(nodes.filter(({ ownError, widened }) => widened === undefined && ownError !== 0)).toEqual([]);
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
