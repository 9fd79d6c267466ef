import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { policy } from '../../src/graph/policy.js';
import { locatePolicy } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { root } from '../reference/python.js';
import { portDtypes } from './port-dtypes.js';

const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const EVERY_BLOCK = [0, 1, 2, 3, 4, 5, 6, 7];

let reference: Dump;
let noise: Dump;
beforeAll(async () => {
  reference = await Dump.open(join(tiny, 'reference-float32'));
  noise = await Dump.open(join(tiny, 'reference-bfloat16'));
});
afterAll(async () => {
  await reference.close();
  await noise.close();
});

describe('policy llamacpp', () => {
  let report: LocateReport;
  beforeAll(async () => {
    report = await locatePolicy(reference, model, portDtypes());
  });
  const choice = (sites: string) => report.choices.find((each) => each.sites.endsWith(sites))!;

  it('has F16 im2col, F16 keys and values, and tanh GELU as its only sources, in every block', () => {
    expect(report.found).toBe(true);
    expect(report.kinds.map(({ kind }) => kind).toSorted()).toEqual([
      '.mlp.gate.router_mlp:act1',
      '.mlp.gate.router_mlp:act2',
      '.self_attn.qkv_proj.conv_qk_grouped',
      '.self_attn:attn_output',
      '.self_attn:attn_weights',
    ]);
    for (const { blocks, largest, median, share } of report.kinds) {
      expect(blocks).toEqual(EVERY_BLOCK);
      // half precision keeps 11 bits: a relative error of 2^-12 or so, squared
      expect(largest).toBeLessThan(1e-6);
      expect(median).toBeGreaterThan(1e-9);
      expect(share).toBeGreaterThan(0.01);
    }
    expect(report.firstFault).toBe('layers.0.self_attn.qkv_proj.conv_qk_grouped');
  });

  it('has each source in plain words', () => {
    const words = Object.fromEntries(report.kinds.map(({ kind, sentence }) => [kind, sentence]));
    expect(words['.self_attn.qkv_proj.conv_qk_grouped']).toBe(
      'Im2col in F16 rounds the inputs of the grouped convolution.',
    );
    expect(words['.self_attn:attn_weights']).toMatch(/^Keys and queries are rounded to F16/);
    expect(words['.self_attn:attn_output']).toMatch(/^Values .* are rounded to F16/);
    expect(words['.mlp.gate.router_mlp:act1']).toMatch(/tanh approximation/);
  });

  it('tells im2col from the weights of the convolution, which cost nothing', () => {
    expect(choice('conv_qk_grouped#patches').shows!.kind).toBe('.self_attn.qkv_proj.conv_qk_grouped');
    expect(choice('conv_qk_grouped#patches').shows!.largest).toBeGreaterThan(1e-8);
    const { shows, finalAlone } = choice('conv_qk_grouped#kernel');
    // what F32 itself errs there, to within rounding
    expect(shows === null || shows.largest < 2 * shows.floor).toBe(true);
    expect(finalAlone).toBeLessThan(10 * report.final.floorNmse!);
  });

  it('gives each choice its own site, tap and final error', () => {
    expect(report.choices.map(({ shows }) => shows!.kind)).toEqual([
      '.self_attn.qkv_proj.conv_qk_grouped',
      '.self_attn.qkv_proj.conv_qk_grouped',
      '.self_attn:query_rope',
      '.self_attn:attn_weights',
      '.self_attn:attn_output',
      '.mlp.gate.router_mlp:act1',
      '.mlp.gate.router_mlp:act2',
    ]);
    for (const { finalAlone } of report.choices) expect(finalAlone).toBeLessThan(report.final.nmse);
  });

  it('has shares that add up, estimated in the order of what was measured apart from neighbours', () => {
    const sum = report.kinds.reduce((total, { share }) => total + share!, 0);
    expect(sum).toBeGreaterThan(0.99);
    expect(sum).toBeLessThanOrEqual(1.000001);
    // an estimate: within a factor of 4 of what each choice does alone
    const alone = report.choices.reduce((total, { finalAlone }) => total + finalAlone, 0);
    for (const { kind, share } of report.kinds) {
      const own = report.choices
        .filter(({ shows }) => shows?.kind === kind)
        .reduce((total, { finalAlone }) => total + finalAlone, 0);
      expect(share! / (own / alone)).toBeGreaterThan(0.25);
      expect(share! / (own / alone)).toBeLessThan(4);
    }
  });

  it('splits each error into what an op made and what it got', () => {
    const op = report.ops.find(({ tap }) => tap === 'layers.3.self_attn.o_proj')!;
    expect(op).toMatchObject({ verdict: 'within noise', inputs: ['layers.3.self_attn:attn_output'] });
    expect(op.local!).toBeLessThan(1e-12);
    expect(op.inherited!).toBeGreaterThan(1e-10);
    expect(op.amplification!).toBeGreaterThan(0.1);
    expect(op.local! + op.inherited!).toBeCloseTo(op.cumulative, 12);
  });

  it('has angles multiplied up, which at 56 tokens and heads of 16 are within the noise of F32', () => {
    const { shows, sentence } = choice('rope#angles');
    expect(shows!.largest).toBeLessThan(1e-12);
    expect(sentence).toMatch(/angles of the rotary embedding of the queries are multiplied up/);
  });

  it('never chooses the skip class, which on this model outweighs all else', async () => {
    const whole = await locatePolicy(reference, model, policy('llamacpp'));
    const skip = whole.choices.find(({ sites }) => sites.endsWith('expert#skip'))!;
    expect(skip).toMatchObject({ set: 'dropped', shows: { kind: '.mlp.gate:expert' } });
    expect(skip.finalAlone).toBeGreaterThan(0.5 * whole.final.nmse);
    expect(whole.final.nmse).toBeGreaterThan(100 * report.final.nmse);
    const words = whole.kinds.find(({ kind }) => kind === '.mlp.gate:expert')!.sentence;
    expect(words).toMatch(/^The skip class is never chosen: its tokens go to the best real expert\./);
    // A token that the reference sends to it flips for that cause, not for a wrong choice.
    const causes = new Set(
      whole.routing!.flips.filter(({ reference: chosen }) => chosen === 8).map(({ cause }) => cause),
    );
    expect([...causes]).toEqual(['no skip class']);
  });

  it('is reported without im2col after the fix', async () => {
    const fixed = await locatePolicy(reference, model, portDtypes('llamacpp-f32-im2col'));
    expect(fixed.kinds.map(({ kind }) => kind)).not.toContain('.self_attn.qkv_proj.conv_qk_grouped');
    expect(fixed.final.nmse).toBeLessThan(report.final.nmse);
  });
});

describe('policies without a fault', () => {
  it('f32 is silent', async () => {
    const report = await locatePolicy(reference, model, policy('f32'));
    expect(report).toMatchObject({ found: false, kinds: [], firstFault: null, choices: [], bisect: null });
    expect(report.final.nmse).toBe(report.final.floorNmse);
  });

  it('pytorch-bf16 is silent beside the noise of transformers in BF16, and routing explains most of its error', async () => {
    const report = await locatePolicy(reference, model, policy('pytorch-bf16'), { noise });
    expect(report).toMatchObject({ found: false, kinds: [] });
    expect(report.final.noise!.verdict).toBe('within noise');
    const { flipped, flips, pinned } = report.routing!;
    expect(flipped).toBeGreaterThan(0);
    expect(flips.every(({ cause }) => cause === 'close call' || cause === 'inherited')).toBe(true);
    expect(pinned!.finalNmse).toBeLessThan(pinned!.freeNmse / 3);
    expect(report.noiseByTap!.length).toBeGreaterThan(340);
  });

  it('pytorch-bf16 is not silent without that noise: every rounding is a source', async () => {
    const report = await locatePolicy(reference, model, policy('pytorch-bf16'));
    expect(report.kinds.length).toBeGreaterThan(25);
    expect(report.notes.join()).toContain('not run one by one');
  });
});

it('a model with other weights than the reference is pointed out', async () => {
  const out = mkdtempSync(join(tmpdir(), 'zayascope-other-weights-'));
  try {
    cpSync(join(tiny, 'reference-float32'), out, { recursive: true });
    const { manifest } = reference;
    const other = { ...manifest, model: { ...manifest.model, weightsSha256: '0'.repeat(64) } };
    writeFileSync(join(out, 'manifest.json'), JSON.stringify(other));
    await using pretended = await Dump.open(out);
    const { notes } = await locatePolicy(pretended, model, policy('f32'));
    expect(notes.join()).toContain('DIFFERENT WEIGHTS');
    expect((await locatePolicy(reference, model, policy('f32'))).notes).toEqual([]);
  } finally {
    rmSync(out, { recursive: true });
  }
});
