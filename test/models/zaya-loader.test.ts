import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, openBackend } from '../../src/graph/backend.js';
import { policy } from '../../src/graph/policy.js';
import { readResident } from '../../src/graph/resident.js';
import { type LoadOptions, loadWeights, type ModelWeights } from '../../src/models/runtime/loader.js';
import { planModel } from '../../src/models/runtime/plan.js';
import { requiredTensors } from '../../src/models/runtime/weights.js';
import { parseZayaConfig } from '../../src/models/zaya/config.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { SMALL_CONFIG, writeLegacyModel, writeRandomModel } from './random-model.js';

const CONFIG = parseZayaConfig(SMALL_CONFIG);
let backend: Backend;
beforeAll(() => {
  backend = openBackend('cpu', { threads: 1 });
});
afterAll(() => backend.close());

function values(weights: ModelWeights, name: string): Float32Array {
  const tensor = weights.tensors.get(name)!;
  expect(tensor.dtype).toBe('F32');
  return new Float32Array(readResident(tensor).buffer);
}

async function failure(path: string, options = {}): Promise<unknown> {
  return loadWeights(path, backend, policy('f32'), options).then(
    (weights) => {
      weights.close();
      throw new Error('loaded');
    },
    (error: unknown) => error,
  );
}

describe('loadWeights', () => {
  it('gives the same weights from the legacy layout, experts stacked', async () => {
    const folder = await temporaryFolder();
    const native = await writeRandomModel(join(folder, 'native'));
    const legacy = await writeLegacyModel(native, join(folder, 'legacy'), CONFIG);
    using a = await loadWeights(native, backend, policy('f32'));
    using b = await loadWeights(legacy, backend, policy('f32'));
    expect([a.source.layout, b.source.layout]).toEqual(['transformers', 'legacy']);
    expect(b.config).toEqual(a.config);
    expect([...b.tensors.keys()].sort()).toEqual([...a.tensors.keys()].sort());
    for (const { name } of requiredTensors(CONFIG)) expect(values(b, name)).toEqual(values(a, name));
    expect(b.unexpected).toEqual([]);
  });

  it('uses matrices where they lie and widens the rest, under the stored policy', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    using weights = await loadWeights(folder, backend, policy('bf16-weights'));
    const dtypes = requiredTensors(CONFIG).map(({ name, role }) => [role, weights.tensors.get(name)!.dtype]);
    expect([...new Set(dtypes.map(String))].sort()).toEqual(
      ['buffer,F32', 'conv,F32', 'embedding,BF16', 'matmul,BF16', 'vector,F32'].sort(),
    );
    const matrices = requiredTensors(CONFIG).filter(({ role }) => role === 'matmul' || role === 'embedding');
    const bytes = matrices.reduce((sum, { shape }) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0);
    expect(weights.mappedBytes).toBe(bytes);
  });

  it('joins stacked experts that follow each other in the file, and copies those that do not', async () => {
    const folder = await temporaryFolder();
    const native = await writeRandomModel(join(folder, 'native'));
    const legacy = await writeLegacyModel(native, join(folder, 'legacy'), CONFIG);
    using a = await loadWeights(native, backend, policy('bf16-weights'));
    using b = await loadWeights(legacy, backend, policy('bf16-weights'));
    expect(b.mappedBytes).toBeLessThanOrEqual(a.mappedBytes);
    for (const [name, tensor] of a.tensors) {
      expect(b.tensors.get(name)!.dtype).toBe(tensor.dtype);
      expect(readResident(b.tensors.get(name)!)).toEqual(readResident(tensor));
    }
  });

  it('loads an lm_head.weight that the file has although the config ties it', async () => {
    const folder = await temporaryFolder();
    const untied = { ...SMALL_CONFIG, tie_word_embeddings: false };
    await writeRandomModel(folder, untied);
    await writeFile(join(folder, 'config.json'), JSON.stringify(SMALL_CONFIG));
    using weights = await loadWeights(folder, backend, policy('f32'));
    expect(weights.config.tie_word_embeddings).toBe(true);
    expect(values(weights, 'lm_head.weight')).not.toEqual(values(weights, 'model.embed_tokens.weight'));
    expect(weights.unexpected).toEqual([]);
  });

  it('says for each block whether the skip class is reachable', async () => {
    const folder = await temporaryFolder();
    const biases = /layers\.1\.mlp\.gate\.balancing_biases$/;
    await writeRandomModel(folder, SMALL_CONFIG, {
      edit: (name, all) => {
        // Experts 0, skip -1: a probability of 1 would only tie, and a tie goes to an expert.
        if (name.includes('layers.0.') && name.endsWith('balancing_biases')) all.fill(0).set([-1], 5);
        if (biases.test(name)) all.fill(0).set([-0.999], 5);
      },
    });
    using weights = await loadWeights(folder, backend, policy('f32'));
    expect(weights.skipReachable.slice(0, 2)).toEqual([false, true]);
    expect(weights.skipReachable).toHaveLength(3);
  });

  it.each([
    ['model.layers.1.mlp.gate.router_mlp.fc1.bias', Number.NaN, 'NaN'],
    ['model.layers.0.post_mlp_residual_scale.residual_scale', Number.POSITIVE_INFINITY, 'Infinity'],
    ['model.layers.2.self_attn.qkv_proj.conv_qk_grouped.weight', Number.NEGATIVE_INFINITY, '-Infinity'],
    ['model.layers.2.mlp.gate.balancing_biases', Number.NaN, 'NaN'],
  ])('rejects %s with %d in it', async (target, value, shown) => {
    const folder = await temporaryFolder();
    await writeRandomModel(folder, SMALL_CONFIG, {
      edit: (name, all) => {
        if (name === target) all[3] = value;
      },
    });
    const error = await failure(folder);
    expect(error).toMatchObject({ code: 'BAD_CHECKPOINT', tensor: target });
    expect(String(error)).toContain(`got ${shown} at index 3`);
  });

  it('rejects a folder without a model, or with several, and other files', async () => {
    const folder = await temporaryFolder();
    expect(await failure(join(folder, 'absent'))).toMatchObject({ code: 'IO' });
    expect(await failure(folder)).toMatchObject({
      code: 'IO',
      message: expect.stringContaining('got an empty folder'),
    });
    await writeFile(join(folder, 'a.gguf'), 'GGUF');
    await writeFile(join(folder, 'b.gguf'), 'GGUF');
    expect(String(await failure(folder))).toContain('2 .gguf files');
    expect(await failure(join(folder, 'a.gguf'))).toMatchObject({ code: 'BAD_CHECKPOINT' });
    await writeFile(join(folder, 'weights.bin'), 'x');
    expect(await failure(join(folder, 'weights.bin'))).toMatchObject({ code: 'IO' });
  });

  it('prefers config.json to a GGUF file beside it', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    await writeFile(join(folder, 'other.gguf'), 'not read');
    using weights = await loadWeights(folder, backend, policy('f32'));
    expect(weights.source.layout).toBe('transformers');
  });
});

describe('weights that do not fit', () => {
  const blockBytes = requiredTensors(CONFIG)
    .filter(({ name, role }) => name.startsWith('model.layers.0.') && role === 'matmul')
    .reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  const restBytes = requiredTensors(CONFIG)
    .filter(({ name, role }) => !(name.startsWith('model.layers.') && role === 'matmul'))
    .reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  const memoryBytes = restBytes + 2 * blockBytes;

  it('take turns in two slots, each block whole once it is ensured', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    using whole = await loadWeights(folder, backend, policy('f32'));
    using streamed = await loadWeights(folder, backend, policy('f32'), { memoryBytes });
    expect(whole.ensure).toBeUndefined();
    expect(streamed.allocatedBytes).toBeLessThan(whole.allocatedBytes);
    expect([...streamed.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort());
    const ensure = streamed.ensure!;
    for (const pass of [1, 2])
      for (let segment = 0; segment <= CONFIG.num_hidden_layers + 1; segment++) {
        await ensure(segment);
        const ahead = ensure(segment + 1);
        await ensure(segment);
        const prefix = `model.layers.${segment - 1}.`;
        for (const [name] of whole.tensors)
          if (!name.startsWith('model.layers.') || name.startsWith(prefix))
            expect(values(streamed, name), `${name}, pass ${pass}`).toEqual(values(whole, name));
        await ahead;
      }
  });

  it('give the logits of a run with all of them in memory, bit for bit and again', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    const tokens = [5, 17, 3, 40, 8];
    const logits = async (options: LoadOptions) => {
      using weights = await loadWeights(folder, backend, policy('f32'), options);
      using plan = planModel(weights, backend, policy('f32'), { tokens: tokens.length });
      return [await plan.run(tokens), await plan.run(tokens)];
    };
    const [whole] = await logits({});
    expect(await logits({ memoryBytes })).toEqual([whole, whole]);
  });

  it('are read again after other blocks have used the slot, and only then', async () => {
    const folder = await temporaryFolder();
    await writeRandomModel(folder);
    using streamed = await loadWeights(folder, backend, policy('f32'), { memoryBytes });
    const name = (block: number) => `model.layers.${block}.mlp.experts.down_proj`;
    await streamed.ensure!(1);
    const first = values(streamed, name(0));
    await streamed.ensure!(2);
    expect(values(streamed, name(0))).toEqual(first);
    await streamed.ensure!(3);
    expect(values(streamed, name(0))).not.toEqual(first);
    await streamed.ensure!(1);
    expect(values(streamed, name(0))).toEqual(first);
  });

  it('fail with what is missing when not even two blocks fit', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    const error = await failure(folder, { memoryBytes: memoryBytes - 1 });
    expect(error).toMatchObject({ code: 'BACKEND' });
    expect(String(error)).toContain(`expected ${memoryBytes} bytes`);
  });

  it('report a file that has become shorter, and can be asked for again', async () => {
    const folder = await writeRandomModel(await temporaryFolder());
    using streamed = await loadWeights(folder, backend, policy('f32'), { memoryBytes });
    const file = join(folder, 'model.safetensors');
    const bytes = await readFile(file);
    await writeFile(file, ''); // the same file, which is mapped
    await expect(streamed.ensure!(1)).rejects.toMatchObject({ code: 'IO' });
    await writeFile(file, bytes);
    await expect(streamed.ensure!(1)).resolves.toBeUndefined();
  });
});
