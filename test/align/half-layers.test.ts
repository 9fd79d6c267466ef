import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffWeightsByContent } from '../../src/index.js';
import { readZayaConfig } from '../../src/models/zaya/config.js';
import { runCommand } from '../cli/run-command.js';
import { writeBlocksGguf } from '../models/blocks-gguf.js';
import { WIDE_CONFIG, writeLegacyModel, writeRandomModel } from '../models/random-model.js';

describe('diff-weights by content of layouts that number blocks in another way', () => {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-half-layers-'));
  const at = (name: string): string => join(folder, name);
  beforeAll(async () => {
    await writeRandomModel(at('model'), WIDE_CONFIG, { skipBias: 0 });
    await writeLegacyModel(at('model'), at('legacy'), await readZayaConfig(at('model')));
    await writeBlocksGguf(at('model'), at('blocks.gguf'));
    await runCommand(['convert', at('model'), '--type', 'bf16', '--out', at('halves.gguf')]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['model', 'legacy'],
    ['legacy', 'model'],
    ['model', 'halves.gguf'],
    ['halves.gguf', 'model'],
    ['legacy', 'halves.gguf'],
    ['model', 'blocks.gguf'],
    ['legacy', 'blocks.gguf'],
  ])('finds all of %s in its place in %s', async (reference, tested) => {
    const { tensors, pass, unpaired } = await diffWeightsByContent(at(reference), at(tested));
    expect(tensors.filter(({ misplaced }) => misplaced).map(({ from, note }) => `${from}: ${note}`)).toEqual(
      [],
    );
    expect({ pass, unpaired }).toEqual({ pass: true, unpaired: [] });
  });
});
