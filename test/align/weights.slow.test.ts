import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { diffWeightsByContent } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { makeCheckpoints, newFolder, quantiser, type Sources } from './tiny-models.js';
import { HELD_OUT, TRUTH } from './truth.js';
import { judgeWeights } from './weights-truth.js';

const FAMILIES = [...Object.keys(TRUTH), ...HELD_OUT];
const TYPES = ['F32', 'Q4_K_M', 'Q2_K'] as const;

describeWith('a C++ compiler or libllama', hasLibllama, 'diff-weights by content of every family', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let sources: Sources;
  let quantise: Awaited<ReturnType<typeof quantiser>>;
  beforeAll(async () => {
    quantise = await quantiser(folder);
    sources = makeCheckpoints(
      FAMILIES.map((family) => ({ family, folder: at(family), checkpoint: true, ggufs: { F32: {} } })),
    ).sources;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(FAMILIES.flatMap((family) => TYPES.map((type) => [family, type] as const)))(
    'pairs every tensor of %s in %s, none wrongly',
    async (family, type) => {
      const plain = at(family, 'F32.gguf');
      const model = type === 'F32' ? plain : quantise(plain, at(family, `${type}.gguf`), type);
      const report = await diffWeightsByContent(at(family, 'checkpoint'), model);
      expect(judgeWeights(report, sources[family]!)).toEqual({ wrong: [], missed: [] });
      expect(report.unpaired).toEqual([]);
      expect(report.tensors.filter(({ misplaced }) => misplaced)).toEqual([]);
    },
  );
});
