import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertModel } from '../../src/models/gguf/convert.js';
import { openModelSource } from '../../src/models/layout/source.js';
import { parseZayaConfig } from '../../src/models/zaya/config.js';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { type TensorSource, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { readTensor, tensorChunks } from '../../src/weights/tensor-data.js';
import { type DiffWeightsOptions, diffWeights } from '../../src/weights-diff/diff-weights.js';
import { CHUNK_ELEMENTS, tensorValues } from '../../src/weights-diff/tensor-values.js';
import { writeBlocksGguf } from '../models/blocks-gguf.js';
import { SMALL_CONFIG, WIDE_CONFIG, writeLegacyModel, writeRandomModel } from '../models/random-model.js';
import { temporaryFolder } from './fixtures.js';

const TEMP = 'model.layers.1.self_attn.qk_norm.temp';
const EMBEDDING = 'model.embed_tokens.weight';

async function diff(reference: string, tested: string, options: DiffWeightsOptions = {}) {
  return diffWeights(await openModelSource(reference), await openModelSource(tested), options);
}

/** Writes the model's safetensors anew, each tensor as `change` gives it (none to leave it out). */
async function rewrite(model: string, change: (tensor: TensorSource) => TensorSource[]): Promise<void> {
  const { tensors } = await openCheckpoint(model);
  const sources = [...tensors.values()].map(
    (tensor) => ({ ...tensor, chunks: tensorChunks(tensor) }) as TensorSource,
  );
  const read = await Promise.all(
    sources.map(async (source) => ({ ...source, chunks: [await readTensor(tensors.get(source.name)!)] })),
  );
  await writeSafetensors(join(model, 'model.safetensors'), read.flatMap(change));
}

const bytesOf = (values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

describe('diffWeights', () => {
  it('finds a model identical in the legacy layout and both GGUF dialects', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'native'));
    const config = parseZayaConfig(SMALL_CONFIG);
    const half = join(folder, 'half.gguf');
    await convertModel(model, { type: 'f32', out: half });
    const others = [
      [await writeLegacyModel(model, join(folder, 'legacy'), config), 'legacy'],
      [half, 'gguf half-layers'],
      [await writeBlocksGguf(model, join(folder, 'blocks.gguf')), 'gguf blocks'],
    ] as const;
    const { tensors } = await openCheckpoint(model);
    for (const [other, layout] of others) {
      const report = await diff(model, other, { failAbove: 0 });
      expect(report).toMatchObject({ pass: true, unpaired: [], tested: { layout } });
      expect(report.tensors).toHaveLength(tensors.size);
      expect(report.tensors.filter(({ identical }) => !identical)).toEqual([]);
    }
  });

  it('gives the metrics of a changed tensor, the worst first', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'a'), SMALL_CONFIG, { dtype: 'F32' });
    let before: number[] = [];
    const edit = (name: string, values: Float32Array): void => {
      if (name === 'model.norm.weight') values[3]! += 0.25;
      if (name !== TEMP) return;
      before = [...values];
      values[1]! += 2;
    };
    const other = await writeRandomModel(join(folder, 'b'), SMALL_CONFIG, { dtype: 'F32', edit });
    const report = await diff(model, other, { failAbove: 1e-6 });
    expect(report.pass).toBe(false);
    expect(report.tensors.slice(0, 2).map(({ name }) => name)).toEqual([TEMP, 'model.norm.weight']);
    expect(report.tensors.filter(({ identical }) => !identical)).toHaveLength(2);
    const { metrics } = report.tensors[0]!;
    const energy = before.reduce((sum, value) => sum + value * value, 0);
    expect(metrics.nmse / (4 / energy)).toBeCloseTo(1, 5);
    expect(metrics).toMatchObject({ elements: 2, maxAbsIndex: 1, bitEqual: 0.5 });
    expect(metrics.maxAbs).toBeCloseTo(2, 6);
    expect((await diff(model, other)).pass).toBe(true);
    expect((await diff(model, other, { tensors: '*.layers.*.mlp.**', failAbove: 0 })).pass).toBe(true);
  });

  it('dequantises', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'a'), WIDE_CONFIG);
    const gguf = join(folder, 'a.gguf');
    await convertModel(model, { type: 'q8_0', out: gguf });
    const report = await diff(model, gguf, { failAbove: 1e-4 });
    expect(report).toMatchObject({ pass: true, unpaired: [] });
    const q8 = report.tensors.filter(({ dtypes }) => dtypes.tested === 'Q8_0');
    expect(q8.length).toBeGreaterThan(20);
    // Q8_0 rounds each value to 1/127 of its block's largest: errors are uniform within half a step.
    for (const { metrics } of q8) expect(metrics.nmse).toBeGreaterThan(1e-6);
    expect((await diff(model, gguf, { failAbove: 1e-6 })).pass).toBe(false);
  });

  it('compares a trimmed vocabulary up to its end, and says so', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'a'));
    const trimmed = await writeRandomModel(join(folder, 'b'));
    await rewrite(trimmed, (tensor) => {
      if (tensor.name !== EMBEDDING) return [tensor];
      const [bytes] = tensor.chunks as Uint8Array[];
      return [{ ...tensor, shape: [50, 24], chunks: [bytes!.subarray(0, 50 * 24 * 2)] }];
    });
    const report = await diff(model, trimmed, { failAbove: 0 });
    expect(report.pass).toBe(true);
    const embedding = report.tensors.find(({ name }) => name === EMBEDDING)!;
    expect(embedding.metrics.elements).toBe(50 * 24);
    expect(embedding.note).toBe('first 50 of 61 rows: the vocabulary is trimmed');
  });

  it('compares a stored head with the embedding that the other side ties it to', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'a'));
    const stored = await writeRandomModel(join(folder, 'b'));
    await rewrite(stored, (tensor) =>
      tensor.name === EMBEDDING ? [tensor, { ...tensor, name: 'lm_head.weight' }] : [tensor],
    );
    const report = await diff(model, stored, { failAbove: 0 });
    expect(report.pass).toBe(true);
    expect(report.tensors.find(({ name }) => name === 'lm_head.weight')!.note).toContain('ties it');
  });

  it('does not pass with a missing tensor, another shape or a dtype that it does not read', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'a'));
    const broken = await writeRandomModel(join(folder, 'b'));
    await rewrite(broken, (tensor) => {
      if (tensor.name === 'model.norm.weight') return [{ ...tensor, name: 'model.other' }];
      if (tensor.name === TEMP) return [{ ...tensor, shape: [1, 2] }];
      if (tensor.name === 'model.layers.0.mlp.gate.balancing_biases') return [{ ...tensor, dtype: 'I32' }];
      return [tensor];
    });
    const report = await diff(model, broken);
    expect(report.pass).toBe(false);
    const reasons = new Map(report.unpaired.map(({ name, reason }) => [name, reason]));
    expect([...reasons.keys()].sort()).toEqual(
      ['model.layers.0.mlp.gate.balancing_biases', TEMP, 'model.norm.weight', 'model.other'].sort(),
    );
    expect(reasons.get('model.norm.weight')).toBe('is not in the tested model');
    expect(reasons.get('model.other')).toBe('is not in the reference');
    expect(reasons.get(TEMP)).toBe('has the shapes [2] and [1, 2]');
    expect(reasons.get('model.layers.0.mlp.gate.balancing_biases')).toContain('I32');
  });

  it('refuses a pattern without a match and a negative limit', async () => {
    const model = await writeRandomModel(await temporaryFolder());
    await expect(diff(model, model, { tensors: 'nothing' })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(diff(model, model, { failAbove: -1 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('tensor values', () => {
  it('are the same in chunks and whole, with every dtype', async () => {
    const folder = await temporaryFolder();
    const elements = CHUNK_ELEMENTS + 96;
    const words = Uint16Array.from({ length: elements }, (_, at) => 0x3c00 + (at % 1000));
    const bytes = new Uint8Array(words.buffer);
    const file = join(folder, 'model.safetensors');
    const shape = [elements];
    await writeSafetensors(file, [
      { name: 'half', dtype: 'F16', shape, chunks: [bytes] },
      { name: 'brain', dtype: 'BF16', shape, chunks: [bytes] },
      { name: 'single', dtype: 'F32', shape: [3], chunks: [bytesOf([1, -0, 1e-40])] },
    ]);
    const { tensors } = await openCheckpoint(file);
    for (const [name, value] of [
      ['half', (k: number) => 1 + k / 1024],
      ['brain', brain],
    ] as const) {
      const tail = await tensorValues(tensors.get(name)!, CHUNK_ELEMENTS, elements);
      expect([...tail]).toEqual(Array.from({ length: 96 }, (_, k) => value((CHUNK_ELEMENTS + k) % 1000)));
    }
    expect([...(await tensorValues(tensors.get('single')!, 0, 3))]).toEqual([1, -0, Math.fround(1e-40)]);
  });
});

function brain(k: number): number {
  return new Float32Array(Uint32Array.of((0x3c00 + k) * 65536).buffer)[0]!;
}
