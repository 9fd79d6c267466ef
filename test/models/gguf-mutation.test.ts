import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { convertModel } from '../../src/models/gguf/convert.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { writeBlocksGguf } from './blocks-gguf.js';
import { SMALL_CONFIG, writeRandomModel } from './random-model.js';

const CHILD = fileURLToPath(new URL('./gguf-mutations-process.mjs', import.meta.url));
const COUNT = 1100;

it.each(['half-layers', 'blocks'] as const)(
  `answers each of ${COUNT} changed files of the dialect %s with a model that runs or an error of the library`,
  async (dialect) => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'), {
      ...SMALL_CONFIG,
      num_hidden_layers: 1,
      hidden_size: 32,
    });
    const file = join(folder, 'good.gguf');
    if (dialect === 'blocks') await writeBlocksGguf(model, file);
    else await convertModel(model, { type: 'q8_0', out: file });
    const seed = dialect === 'blocks' ? 100_000 : 0;
    const args = [CHILD, file, folder, String(seed), String(COUNT)];
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { number: number; outcome?: string; detail?: string });
    const last = lines.at(-1);
    expect({ status, signal, last, stderr: stderr.slice(-500) }).toMatchObject({
      status: 0,
      signal: null,
      last: { number: seed + COUNT - 1 },
    });
    const outcomes = lines.filter(({ outcome }) => outcome !== undefined);
    expect(outcomes).toHaveLength(COUNT);
    expect(outcomes.filter(({ outcome }) => outcome === 'foreign error')).toEqual([]);
    const counts = Object.fromEntries(
      ['accepted', 'BAD_CHECKPOINT', 'BAD_CONFIG'].map((each) => [
        each,
        outcomes.filter(({ outcome }) => outcome === each).length,
      ]),
    );
    // Every kind of answer occurs. Names that are no UTF-8 are refused as a damaged file before the
    // configuration is looked at, which few files reach.
    for (const count of Object.values(counts)) expect(count).toBeGreaterThanOrEqual(5);
  },
  180_000,
);
