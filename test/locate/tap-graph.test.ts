import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toFloat32 } from '../../src/dump/float.js';
import { Dump, type TensorBatch } from '../../src/dump/reader.js';
import { graftTaps } from '../../src/locate/replay/graft.js';
import { blockCount, directInputs, tapInputs, tapPlace } from '../../src/locate/replay/tap-graph.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { modelTaps } from '../../src/models/runtime/trace.js';
import { parseZayaConfig } from '../../src/models/zaya/config.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };

let dump: Dump;
let model: Model;
let names: string[];
let right: Map<string, Uint8Array>;

beforeAll(async () => {
  dump = await Dump.open(join(tiny, 'reference-float32'));
  model = await openModel(join(tiny, 'model'));
  names = modelTaps(model.config).map(({ name }) => name);
  right = await isolatedReplay();
});
afterAll(async () => {
  model.close();
  await dump.close();
});

/** What each op makes of the dump's values, of which one is changed. */
async function isolatedReplay(changed?: string): Promise<Map<string, Uint8Array>> {
  const read = async (name: string) => {
    const value = await dump.read(name, { sequence: 0 });
    return name === changed ? change(value) : value;
  };
  const taps = graftTaps({ dump, read });
  using plan = model.plan({ tokens: tokens.length, taps });
  const shown = new Map<string, Uint8Array>();
  await plan.run(tokens, {
    prepare: taps.prepare,
    async sink(_, values) {
      for (const { name, bytes } of values) shown.set(name, bytes.slice());
    },
  });
  return shown;
}

/**
 * Another value of the same shape: experts are turned by one, floats too (so that the largest is another one)
 * and made larger.
 */
function change(value: TensorBatch): TensorBatch {
  const { data, dtype, shape } = value;
  if (dtype === 'I32') {
    const experts = model.config.num_experts!;
    return { ...value, data: Int32Array.from(data, (expert) => (expert + 1) % experts) };
  }
  const columns = shape.at(-1)!;
  const old = toFloat32(data, dtype);
  const next = (k: number) => (k % columns === columns - 1 ? k - columns + 1 : k + 1);
  return { ...value, dtype: 'F32', data: Float32Array.from(old, (_, k) => 1.25 * old[next(k)]! + 0.01) };
}

describe('the inputs of each value', () => {
  const config = JSON.parse(readFileSync(join(tiny, 'model', 'config.json'), 'utf8'));
  const suffixes = modelTaps(parseZayaConfig(config))
    .map(({ name }) => name)
    .filter((name) => tapPlace(name).block === 1 || tapPlace(name).block === null);

  it.each(suffixes)('say what changes with %s', async (name) => {
    const dependents = names.filter((other) =>
      directInputs(other, model.config.num_hidden_layers).inputs.includes(name),
    );
    const changed = await isolatedReplay(name);
    const found = names.filter((other) => Buffer.compare(changed.get(other)!, right.get(other)!) !== 0);
    expect(found).toEqual(dependents);
  });

  it('reach back over values that a dump lacks', () => {
    const held = new Set(['layers.0', 'layers.1.self_attn.o_proj', 'layers.1']);
    expect(tapInputs('layers.1.self_attn.o_proj', 2, held).inputs).toEqual(['layers.0']);
    expect(tapInputs('layers.1', 2, held).inputs.toSorted()).toEqual([
      'layers.0',
      'layers.1.self_attn.o_proj',
    ]);
    expect(tapInputs('lm_head', 2, held).inputs).toEqual(['layers.1']);
    expect(tapInputs('layers.0', 2, held).inputs).toEqual([]);
  });

  it('are none for values of other programs', () => {
    expect(directInputs('layers.1.something_else', 2).inputs).toEqual([]);
    expect(directInputs('other', 2).inputs).toEqual([]);
  });

  it('are counted by the highest block', () => {
    expect(blockCount(['layers.11.mlp.experts', 'layers.2', 'norm'])).toBe(12);
    expect(blockCount(['norm'])).toBe(0);
  });
});
