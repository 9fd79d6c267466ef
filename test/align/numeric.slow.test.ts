import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateAligned, recordGguf } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { PLANTED } from './locate-faults.js';
import { recordWrong, type Wrong } from './numeric-faults.js';
import { makeModels, newFolder, recordTiny } from './tiny-models.js';

/** A node of block 1 of each family, of several ops. */
const NODES: Readonly<Record<string, string>> = {
  llama: 'ffn_norm-1',
  qwen3moe: 'ffn_moe_swiglu-1',
  mamba2: 'attn_norm-1',
  deepseek2: 'ffn_norm-1',
};
const FAMILIES = Object.keys(NODES);
const WRONG: readonly Wrong[] = ['F16', 'BF16', 'scaled'];
/** Semantic ones of the reference's side, before block 1. */
const SEMANTIC = { llama: 'wrong activation', qwen3moe: 'not renormalised' } as const;

describeWith('a C++ compiler or libllama', hasLibllama, 'locate --align of faults of arithmetic', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let tokens: number[];
  beforeAll(async () => {
    tokens = makeModels(
      FAMILIES.map((family) => {
        const semantic = SEMANTIC[family as keyof typeof SEMANTIC];
        const fault = semantic === undefined ? undefined : PLANTED[family]![semantic]!.reference;
        return {
          family,
          folder: at(family),
          dumps: { plain: { inside: true }, ...(fault && { semantic: { inside: true, ...fault } }) },
          ggufs: { plain: {}, q8_0: { type: 'Q8_0' } },
        };
      }),
    );
    for (const family of FAMILIES)
      await recordTiny(at(family, 'plain.gguf'), tokens, at(family, 'recording'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const planted = (family: string, wrong: Wrong): Promise<string> =>
    recordWrong(at(family, 'plain.gguf'), tokens, {
      plain: at(family, 'recording'),
      tap: NODES[family]!,
      wrong,
      out: at(family, `recording-${wrong}`),
    });

  it.each(FAMILIES.flatMap((family) => WRONG.map((wrong) => [family, wrong] as const)))(
    '%s, a node %s: is numeric, and named',
    async (family, wrong) => {
      const recording = await planted(family, wrong);
      const verdict = await locateAligned(at(family, 'plain'), recording, {
        model: at(family, 'plain.gguf'),
      });
      expect(verdict.numeric.map(({ name }) => name)).toEqual([NODES[family]]);
      expect(verdict.found).toBe(true);
      // F16 is less than the comparison sees; what it does see it must not take for another meaning.
      expect(verdict.kind).toBe(verdict.faults.length === 0 ? null : 'numeric');
      if (wrong === 'scaled') expect(verdict.kind).toBe('numeric');
      if (wrong !== 'scaled') expect(verdict.numeric[0]!.cause).toBe(`rounded through ${wrong}`);
    },
  );

  it.each(FAMILIES)('%s in Q8_0 with a cache in F16: rounds, and nothing is at fault', async (family) => {
    const model = at(family, 'q8_0.gguf');
    const out = at(family, 'recording-q8_0');
    await recordGguf({ model, tokens, threads: 1, out });
    const verdict = await locateAligned(at(family, 'plain'), out, { model });
    expect(verdict).toMatchObject({ faults: [], numeric: [], kind: null, found: false });
    const types = new Set(verdict.recording!.nodes.flatMap(({ widened }) => widened));
    expect([...types]).toContain('Q8_0');
    // Mamba keeps states in F32, and no keys.
    if (family !== 'mamba2') expect([...types]).toContain('F16');
  });

  it.each(Object.entries(SEMANTIC))('%s, %s and a node in F16: each is told apart', async (family) => {
    const verdict = await locateAligned(at(family, 'semantic'), at(family, 'recording-F16'), {
      model: at(family, 'plain.gguf'),
    });
    expect(verdict.kind).toBe('semantic');
    expect(verdict.faults[0]!.block).toBe(0);
    expect(verdict.numeric).toMatchObject([{ name: NODES[family], block: 1, cause: 'rounded through F16' }]);
  });
});
