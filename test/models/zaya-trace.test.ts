import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { axisSize } from '../../src/models/runtime/axes.js';
import { traceModel } from '../../src/models/runtime/trace.js';
import { requiredTensors } from '../../src/models/runtime/weights.js';
import { readZayaConfig } from '../../src/models/zaya/config.js';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');

describe('the trace of the model file', () => {
  it('has the values of the dump that transformers wrote, with their axes and sizes', async () => {
    const config = await readZayaConfig(join(tiny, 'model'));
    const dump = await Dump.open(join(tiny, 'reference-float32'));
    const traced = traceModel(config).taps.map(({ name, block, scope, axes, dtype }) => {
      const perRow = scope === 'token' ? axes.slice(1) : axes;
      const shape = perRow.map((axis) => (axis === 'S' ? null : axisSize(config, axis, 1)));
      return { name, block, scope, axes, dtype, shape };
    });
    // The reference computes a block's values in another order here and there.
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    const wanted = dump.taps.map(({ file: _, ...tap }) => tap);
    expect(traced.toSorted(byName)).toEqual(wanted.toSorted(byName));
    await dump.close();
  });

  it('has the tensors of the checkpoint that transformers saved, with their shapes', async () => {
    const config = await readZayaConfig(join(tiny, 'model'));
    const { tensors } = await openCheckpoint(join(tiny, 'model'));
    const shapes = (list: Iterable<{ name: string; shape: readonly number[] }>) =>
      new Map([...list].map(({ name, shape }) => [name, [...shape]]));
    expect(shapes(requiredTensors(config))).toEqual(shapes(tensors.values()));
  });

  it('is made once for a config', async () => {
    const config = await readZayaConfig(join(tiny, 'model'));
    expect(traceModel(config)).toBe(traceModel(config));
    expect(traceModel(config, { cached: true })).not.toBe(traceModel(config));
  });
});
