import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump, importTarget } from '../../src/index.js';

const CONFIG = 'dumps/tiny/model/config.json';

it('lists the taps that a dump of the model has, with their shapes, and says whose they are', async () => {
  const { model, targets } = await importTarget(CONFIG);
  await using dump = await Dump.open('dumps/tiny/reference-float32');
  expect(model).toMatchObject({
    type: 'zaya',
    name: 'model',
    configSha256: dump.manifest.model.configSha256,
  });
  const shapes = new Map(targets.map(({ name, shape }) => [name, shape]));
  for (const { name, shape } of dump.taps) expect(shapes.get(name), name).toEqual(shape);
});

it('includes states, which only cached steps have', async () => {
  const { targets } = await importTarget(CONFIG);
  expect(targets.find(({ name }) => name === 'layers.0.self_attn:k_cache')).toMatchObject({ scope: 'step' });
});

it('says which file is missing or no config', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'zayascope-target-'));
  const file = join(folder, 'config.json');
  await expect(importTarget(file)).rejects.toMatchObject({ code: 'IO' });
  await writeFile(file, '[]');
  await expect(importTarget(file)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
});
