import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { policy } from '../../../src/graph/policy.js';
import { backward } from '../../../src/locate/bisect/shares/backward.js';
import { rememberRun } from '../../../src/locate/bisect/shares/forward.js';
import { openPolicyRunner } from '../../../src/locate/replay/policy-runner.js';
import { architectureOf } from '../../../src/models/architectures.js';
import { settingOf } from '../../../src/models/runtime/model-policy.js';
import { distance } from '../../graph/adjoint-run.js';
import { Random } from '../../graph/random.js';
import { pythonJson } from '../../reference/python.js';

const folder = mkdtempSync(join(tmpdir(), 'gradients-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function ourGradients(model: string, tokens: readonly number[], seed: Float32Array) {
  const f32 = policy('f32');
  using runner = await openPolicyRunner(model, [f32], tokens, { threads: 1 });
  const { config, segments } = runner;
  const setting = settingOf(f32, config);
  const run = await rememberRun(
    segments,
    architectureOf(config).family,
    tokens,
    setting,
    undefined,
    undefined,
  );
  const found = new Map<string, Float32Array>();
  await backward({
    segments,
    tokens,
    run,
    sites: [],
    setting: () => setting,
    seeds: [seed],
    wantsGradient: () => true,
    onGradient: (tap, values) => found.set(tap, values),
  });
  return { found, vocabulary: config.vocab_size };
}

/** By tap, the relative L2 distance of our gradients from PyTorch's. */
async function distances(model: string, tokens: readonly number[], vocabulary: number) {
  const random = new Random(5);
  const seed = Float32Array.from({ length: tokens.length * vocabulary }, () => random.normal());
  const { found } = await ourGradients(model, tokens, seed);
  const out = join(folder, 'gradients');
  const names = pythonJson<[string, number][]>(
    [join(import.meta.dirname, 'model_gradients.py'), model, out],
    JSON.stringify({ tokens, seed: Array.from(seed) }),
  );
  const theirs = new Float32Array(readFileSync(out).buffer.slice(0));
  const result = new Map<string, number>();
  let at = 0;
  for (const [name, count] of names) {
    const ours = found.get(name);
    if (ours !== undefined)
      result.set(name, distance(Array.from(ours), Array.from(theirs.subarray(at, at + count))));
    at += count;
  }
  return result;
}

/** All gradients that a distance was found of, and the largest. */
async function worst(model: string, tokens: readonly number[], vocabulary: number) {
  const found = await distances(model, tokens, vocabulary);
  return { count: found.size, largest: Math.max(...found.values()) };
}

describe("gradients of a model are PyTorch's autograd to 1e-5", () => {
  const tiny = join(import.meta.dirname, '..', '..', '..', 'dumps', 'tiny');

  it('of the tiny ZAYA', async () => {
    const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
    const { count, largest } = await worst(join(tiny, 'model'), tokens, 259);
    expect(count).toBeGreaterThan(100);
    expect(largest).toBeLessThan(1e-5);
  });

  it('of Qwen3 and Qwen3-MoE', async () => {
    const { tokens } = pythonJson<{ tokens: number[] }>(['test/models/qwen3_reference.py', folder]);
    for (const name of ['moe', 'dense', 'mixed', 'sliding']) {
      const { count, largest } = await worst(join(folder, name), tokens, 97);
      expect(count, name).toBeGreaterThan(20);
      expect(largest, name).toBeLessThan(1e-5);
    }
  });
});
