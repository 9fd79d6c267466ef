import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { pinExperts } from './experts.js';
import { modelMaker, PROMPT } from './models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'experts of another run', () => {
  let maker: Awaited<ReturnType<typeof modelMaker>>;
  beforeAll(async () => {
    maker = await modelMaker();
  }, 60_000);
  afterAll(() => rmSync(maker.folder, { recursive: true, force: true }));

  it('pinned into a quantised one take every flip away', async () => {
    const { free, ...run } = await pinExperts(maker, 'qwen3moe', 'Q4_K_M');
    expect(run).toEqual({ isSame: true, edited: 4, choices: 4 * PROMPT.length, pinned: 0 });
    // Without, some tokens have other experts.
    expect(free).toBeGreaterThan(0);
  }, 60_000);
});
