import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { recordGguf, replayRecording, ZayascopeError } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';

const load = (name: string) => import(name as string);
const { mutateBytes } = await load('../fuzz/mutate-bytes.mjs');
const { seeded } = await load('../fuzz/random.mjs');
const { writeRandomGguf } = await load('./random-gguf.mjs');

const folder = mkdtempSync(join(tmpdir(), 'zayascope-damaged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** More in one go: `ZAYASCOPE_MUTANTS=2000`, or in parts with `ZAYASCOPE_FIRST=500`, the first seed. */
const COUNT = Number(process.env.ZAYASCOPE_MUTANTS ?? 120);
const FIRST = Number(process.env.ZAYASCOPE_FIRST ?? 0);
const SEEDS = ['llama', 'qwen3moe', 'mamba2'];

it.runIf(hasLibllama)(
  `${COUNT} damaged GGUF files are recorded and replayed, or refused with a code`,
  async () => {
    const ends = new Map<string, number>();
    const failed: unknown[] = [];
    const files: Buffer[] = [];
    for (const architecture of SEEDS) {
      await writeRandomGguf(join(folder, architecture), architecture);
      files.push(readFileSync(join(folder, architecture)));
    }
    const model = join(folder, 'damaged.gguf');
    const out = join(folder, 'recording');
    for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
      const random = seeded(seed);
      const bytes = files[seed % SEEDS.length]!;
      // Metadata and the table of tensors lie before the values; some files are cut.
      const head = Math.min(bytes.length, 4096);
      const damaged = random.oneIn(5)
        ? bytes.subarray(0, random.below(bytes.length))
        : mutateBytes(random, bytes, random.oneIn(4) ? {} : { to: head });
      writeFileSync(model, damaged);
      let end = 'recorded';
      try {
        await recordGguf({ model, tokens: [3, 10, 17], generate: 1, threads: 1, out, overwrite: true });
        const { nodes } = await replayRecording({ recording: out, model, modes: ['same'] });
        const other = nodes.filter(({ isSame }) => isSame === false);
        if (other.length > 0) failed.push([seed, other]);
      } catch (error) {
        const isTold = error instanceof ZayascopeError && /^\w+.*: expected .*, got:? /s.test(error.message);
        if (!isTold) failed.push([seed, (error as Error).stack]);
        end = error instanceof ZayascopeError ? error.code : 'failed';
        // libllama ended the child process.
        if (end === 'BACKEND' && /got (SIG|exit code)/.test((error as Error).message)) end += ' (process)';
      }
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    console.log([...ends].map(([end, count]) => `${end} ${count}`).join(', '));
    expect(failed).toEqual([]);
    expect(ends.get('recorded')).toBeGreaterThan(0);
  },
  1_800_000,
);
