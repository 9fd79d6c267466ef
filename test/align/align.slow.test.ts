import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { align } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { judge, makeModels, newFolder, quantiser, recordTiny } from './tiny-models.js';
import { HELD_OUT, TRUTH } from './truth.js';

const FAMILIES = [...Object.keys(TRUTH), ...HELD_OUT];

describeWith('a C++ compiler or libllama', hasLibllama, 'align of every family', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let tokens: number[];
  let quantise: Awaited<ReturnType<typeof quantiser>>;
  beforeAll(async () => {
    quantise = await quantiser(folder);
    tokens = makeModels(
      FAMILIES.map((family) => ({
        family,
        folder: at(family),
        dumps: { reference: {} },
        ggufs: { F32: {} },
      })),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Module outputs that the graph has, and how many are paired, over all families so far. */
  const total = { known: 0, right: 0 };

  it.each(
    FAMILIES.flatMap((family) => (['F32', 'Q8_0', 'Q4_K_M'] as const).map((type) => [family, type] as const)),
  )('pairs none of %s in %s wrongly', async (family, type) => {
    const model =
      type === 'F32'
        ? at(family, 'F32.gguf')
        : quantise(at(family, 'F32.gguf'), at(family, `${type}.gguf`), type);
    const folders = {
      reference: at(family, 'reference'),
      recording: await recordTiny(model, tokens, at(family, type)),
    };
    const { wrong, missed, right, known } = await judge(
      family,
      await align(folders.reference, folders.recording),
      folders,
    );
    expect(wrong).toEqual([]);
    if (type !== 'F32') console.log(`${family} ${type}: ${right} of ${known}, not ${missed.join(', ')}`);
    else {
      total.known += known;
      total.right += right;
    }
  });

  it('pairs at least 98 % of the module outputs that the graphs have', () => {
    expect(total.known).toBeGreaterThan(500);
    expect(total.right).toBeGreaterThanOrEqual(0.98 * total.known);
  });
});
