import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { diffDumps } from '../../src/diff/diff.js';
import { Dump } from '../../src/dump/reader.js';
import { convertModel } from '../../src/models/gguf/convert.js';
import { openModel } from '../../src/models/runtime/model.js';
import { generate } from '../../src/text/generate.js';
import { greedy } from '../../src/text/sampling.js';
import { pythonJson } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-qwen3-'));
const at = (name: string) => join(scratch, name);
const NAMES = ['moe', 'dense', 'mixed', 'one block', '60 blocks'] as const;
let tokens: number[];
let continued: Record<string, number[]>;

beforeAll(() => {
  const made = pythonJson<{ tokens: number[]; greedy: Record<string, number[]> }>([
    'test/models/qwen3_reference.py',
    scratch,
  ]);
  [tokens, continued] = [made.tokens, made.greedy];
}, 120_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(NAMES)('Qwen3, %s', (name) => {
  it('captures what unmodified transformers computes, at every value', async () => {
    using model = await openModel(at(name));
    await capture(model, [tokens], { out: at(`${name} captured`) });
    await using reference = await Dump.open(at(`${name} reference`));
    await using tested = await Dump.open(at(`${name} captured`));
    const report = await diffDumps(reference, tested);
    expect(report.unpaired).toEqual([]);
    expect(report.tapReports).toHaveLength(reference.taps.length);
    expect(report.notes).toEqual([]);
    for (const tap of report.tapReports)
      if (tap.kind === 'float') expect([tap.name, tap.metrics.nmse < 1e-10]).toEqual([tap.name, true]);
      else expect(tap).toMatchObject({ kind: 'integer', metrics: { differing: 0 } });
    const routed = reference.taps.some(({ name: tap }) => tap.endsWith(':expert'));
    expect(report.routing === null).toBe(!routed);
  });

  it('generates what transformers generates', async () => {
    using model = await openModel(at(name));
    using session = model.session();
    const { tokens: ids } = await generate(session, tokens, { sampler: greedy, maxTokens: 32 });
    expect(ids).toEqual(continued[name]);
  });
});

describe('Qwen3 as a GGUF file', () => {
  it.each(['moe', 'dense'] as const)('gives the same logits: %s', async (name) => {
    const { tensors } = await convertModel(at(name), { type: 'f32', out: at(`${name}.gguf`) });
    using folder = await openModel(at(name));
    using file = await openModel(at(`${name}.gguf`));
    expect(tensors).toBe(folder.weights.tensors.size);
    expect(file.config.model_type).toBe(folder.config.model_type);
    expect(await file.prefill(tokens)).toEqual(await folder.prefill(tokens));
  });

  it('is refused where llama.cpp has no key for what the model does', async () => {
    const written = convertModel(at('mixed'), { type: 'f32', out: at('mixed.gguf') });
    await expect(written).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  });
});
