import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { pinExperts } from './experts.js';
import { MIXTURES, modelMaker, PROMPT } from './models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'experts of another run, every mixture', () => {
  let maker: Awaited<ReturnType<typeof modelMaker>>;
  beforeAll(async () => {
    maker = await modelMaker();
  }, 60_000);
  afterAll(() => rmSync(maker.folder, { recursive: true, force: true }));

  it.each(MIXTURES)(
    '%s: pinned into a quantised run they take every flip away',
    async (architecture) => {
      const { free, ...run } = await pinExperts(maker, architecture, 'Q4_K_M');
      // How many blocks have experts, the architecture says: the first may be dense.
      expect(run).toEqual({
        isSame: true,
        edited: run.choices / PROMPT.length,
        choices: run.choices,
        pinned: 0,
      });
      expect([run.edited, free]).toEqual([
        expect.toSatisfy((n: number) => n > 0),
        expect.toSatisfy((n: number) => n > 0),
      ]);
    },
    120_000,
  );
});
