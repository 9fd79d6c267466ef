import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { importTarget } from '../../src/capture/import-target.js';
import { diffDumps } from '../../src/diff/diff.js';
import { Dump } from '../../src/dump/reader.js';
import { policy } from '../../src/graph/policy.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import { openPolicyRunner } from '../../src/locate/replay/policy-runner.js';
import { openStepper } from '../../src/locate/step/step.js';
import { convertModel } from '../../src/models/gguf/convert.js';
import { openModel } from '../../src/models/runtime/model.js';
import { settingOf } from '../../src/models/runtime/model-policy.js';
import { openZaya } from '../../src/models/zaya/open.js';
import { routingMap } from '../../src/plot/routing/routing-map.js';
import { routingMargins } from '../../src/plot/routing/routing-margins.js';
import { generate } from '../../src/text/generate.js';
import { greedy } from '../../src/text/sampling.js';
import { compileProgram, hasLibllama, runProgram } from '../llamacpp/libllama.js';
import { pythonJson } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-qwen3-'));
const at = (name: string) => join(scratch, name);
const NAMES = ['moe', 'dense', 'mixed', 'sliding', 'one block', '60 blocks'] as const;
let tokens: number[];
let continued: Record<string, number[]>;
let faults: string[];

beforeAll(() => {
  const made = pythonJson<{ tokens: number[]; greedy: Record<string, number[]>; faults: string[] }>([
    'test/models/qwen3_reference.py',
    scratch,
  ]);
  [tokens, continued, faults] = [made.tokens, made.greedy, made.faults];
}, 120_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(NAMES)('Qwen3, %s', (name) => {
  it('captures what unmodified transformers computes, at every value', async () => {
    using model = await openModel(at(name));
    await capture(model, [tokens], { out: at(`${name} captured`) });
    await using reference = await Dump.open(at(`${name} reference`));
    await using tested = await Dump.open(at(`${name} captured`));
    // Roles and words are those of the type that a dump states, and so are those of an import.
    const { model_type: type } = JSON.parse(readFileSync(join(at(name), 'config.json'), 'utf8'));
    const target = await importTarget(join(at(name), 'config.json'));
    const types = [reference.manifest.model.type, tested.manifest.model.type, target.model.type];
    expect(types).toEqual([type, type, type]);
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

it.each(['moe', 'dense'])('dump.py --stream writes the bytes of an ordinary dump: %s', (name) => {
  const files = readdirSync(at(`${name} reference`)).filter((file) => file.endsWith('.arrow'));
  expect(files.length).toBeGreaterThan(3);
  for (const file of files) {
    const [whole, streamed] = ['reference', 'streamed'].map((kind) => at(join(`${name} ${kind}`, file)));
    expect([file, readFileSync(whole!).equals(readFileSync(streamed!))]).toEqual([file, true]);
  }
});

it('a Qwen3-MoE is refused by the function that promises the configuration of a ZAYA', async () => {
  await expect(openZaya(at('moe'))).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringMatching(/^openZaya: expected model_type zaya, got qwen3_moe/),
  });
});

it('a Qwen3-MoE is stepped through, and its segments hand on what they must', async () => {
  using model = await openModel(at('moe'));
  using stepper = openStepper(model, tokens);
  const { value } = await stepper.continue();
  expect(value.name).toBe('lm_head');
  expect(value.data).toEqual(await model.prefill(tokens));
});

it('runs of a Qwen3-MoE under mixtures of policies are bit-equal to whole runs', async () => {
  const [good, bad] = [policy('f32'), policy('pytorch-bf16')];
  using runner = await openPolicyRunner(at('moe'), [good, bad], tokens);
  using model = await openModel(at('moe'), { policy: 'pytorch-bf16' });
  await runner.run(settingOf(good, runner.config));
  expect(await runner.run(settingOf(bad, runner.config))).toEqual(await model.prefill(tokens));
});

it('draws and counts the sets of experts that numpy finds to differ', async () => {
  const coarse = at('moe in 4 bits');
  using model = await openModel(at('moe'), { policy: 'llamacpp-q4_0' });
  await capture(model, [tokens], { out: coarse });
  await using reference = await Dump.open(at('moe reference'));
  await using tested = await Dump.open(coarse);
  const { flips, margins, first } = pythonJson<{
    flips: {
      block: number;
      position: number;
      lost: number[];
      taken: number[];
      leads: Record<string, number>;
    }[];
    margins: number[];
    first: number[][];
  }>(['test/models/routing_sets.py', at('moe reference'), coarse]);
  expect(flips.length).toBeGreaterThan(0);
  const lost = flips.flatMap((flip) => flip.lost);

  const { routing } = await diffDumps(reference, tested);
  expect(routing).toMatchObject({ choices: 4 * tokens.length * 2, flipped: lost.length });
  const listed = (block: number, position: number) =>
    routing!.flips.filter((flip) => flip.block === block && flip.position === position);
  for (const { block, position, lost: gone, taken, leads } of flips) {
    const own = listed(block, position);
    expect(own.map((flip) => flip.reference).toSorted()).toEqual(gone);
    expect(own.map((flip) => flip.tested).toSorted()).toEqual(taken);
    for (const { reference: from, tested: to, margin } of own)
      expect(margin).toBeCloseTo(leads[`${from} ${to}`]!, 6);
  }

  const map = await routingMap(reference, tested);
  const [cells, marks] = map.data as unknown as [{ z: number[][] }, { x: number[]; y: string[] }];
  expect(cells.z).toEqual(first);
  expect(marks.y.map((block, k) => [Number(block), marks.x[k]])).toEqual(
    flips.map(({ block, position }) => [block, position]),
  );
  expect(map.description).toContain(`${lost.length} of ${4 * tokens.length * 2} choices flipped`);

  const points = (await routingMargins(reference, tested)).data.slice(1) as unknown as { x: number[] }[];
  const drawn = points.flatMap(({ x }) => x).toSorted((a, b) => a - b);
  expect(drawn).toHaveLength(margins.length);
  for (const [k, margin] of margins.toSorted((a, b) => a - b).entries())
    expect(drawn[k]).toBeCloseTo(margin, 6);
  expect(points[1]!.x).toHaveLength(flips.length);
});

describe('faults of a Qwen3-MoE that ran elsewhere', () => {
  const FAULTS = [
    'layers.2.mlp.gate:expert_weight',
    'layers.1.self_attn.k_norm',
    'layers.0.self_attn:attn_weights',
  ];

  it.each(FAULTS)('are named first: %s', async (fault) => {
    expect(faults).toEqual(FAULTS);
    await using reference = await Dump.open(at('moe reference'));
    await using tested = await Dump.open(at(fault));
    for (const model of [at('moe'), undefined]) {
      const { kinds } = await locateDumps(reference, tested, model);
      expect(kinds.map(({ worst }) => worst)).toEqual([fault]);
      expect(kinds[0]!.name).not.toContain('`'); // it has a name in words
    }
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

  // Needs the prebuilt libllama of Linux and a C++ compiler; elsewhere it shows as skipped.
  it.skipIf(!hasLibllama)(
    "gives libllama's logits",
    async () => {
      await compileProgram(join(import.meta.dirname, '..', 'llamacpp', 'logits.cpp'), at('logits'));
      for (const name of ['moe', 'dense']) {
        const { status, stdout, stderr } = runProgram(at('logits'), [
          at(`${name}.gguf`),
          ...tokens.map(String),
        ]);
        expect(status, stderr.slice(-500)).toBe(0);
        const theirs = stdout.trim().split(/\s+/).map(Number);
        using model = await openModel(at(`${name}.gguf`));
        const own = await model.prefill(tokens);
        expect(theirs).toHaveLength(own.length);
        const largest = Math.max(...own.map(Math.abs));
        const error = Math.max(...own.map((value, index) => Math.abs(value - theirs[index]!)));
        expect(error / largest).toBeLessThan(1e-6);
      }
    },
    60_000,
  );

  it('is refused where llama.cpp has no key for what the model does', async () => {
    const written = convertModel(at('mixed'), { type: 'f32', out: at('mixed.gguf') });
    await expect(written).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  });
});
