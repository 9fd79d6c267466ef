/**
 * What ggml computes otherwise than transformers in ways that only large heads or other processors show.
 * Right values: numpy, after ggml's sources (`ggml_arithmetic.py`).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump, type LocateReport, locateDumps, type Policy, policy } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { root, runPython } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-arithmetic-'));
const tiny = join(root, 'dumps', 'tiny', 'model');
beforeAll(() => {
  const { status, stderr } = runPython([join('test', 'locate', 'ggml_arithmetic.py'), '--out', scratch]);
  expect(status, stderr).toBe(0);
}, 180_000);
afterAll(() => rmSync(scratch, { recursive: true }));

async function locate(
  dumps: readonly [reference: string, tested: string],
  model: string,
  recompute?: Policy,
): Promise<LocateReport> {
  const [reference, tested] = dumps.map((name) => Dump.open(join(scratch, name)));
  await using a = await reference!;
  await using b = await tested!;
  return await locateDumps(a, b, model, { threads: 1, ...(recompute === undefined ? {} : { recompute }) });
}

describe('RoPE with angles that were multiplied up, over 400 tokens and heads of 128', () => {
  const dumps = ['wide-reference', 'wide-ggml'] as const;
  const ROPE = ['.self_attn:key_rope', '.self_attn:query_rope'];

  it('is the first fault, named with its cause', async () => {
    const report = await locate(dumps, join(scratch, 'wide'));
    expect(report.firstFault).toBe('layers.0.self_attn:query_rope');
    expect(report.kinds.map(({ kind }) => kind).sort()).toEqual(ROPE);
    for (const { kind, largest, sentence } of report.kinds) {
      // 9e-12 was measured of the public branch at this length and size
      expect(largest).toBeGreaterThan(1e-12);
      expect(largest).toBeLessThan(1e-10);
      const name = kind.endsWith('query_rope') ? 'queries' : 'keys';
      expect(sentence).toMatch(
        new RegExp(
          `^The angles of the rotary embedding of the ${name} are multiplied up .* as ggml's rope does.*: recomputed so, its error falls from`,
        ),
      );
    }
  });

  it('is no fault under a policy that says so, nor under the preset of the port', async () => {
    const rules = [{ sites: '**.self_attn:rope#angles', set: 'product' }];
    const alone = { name: 'multiplied up', description: '', rules };
    expect(await locate(dumps, join(scratch, 'wide'), alone)).toMatchObject({ found: false, kinds: [] });
    const { kinds, ops } = await locate(dumps, join(scratch, 'wide'), policy('llamacpp'));
    expect(kinds.map(({ kind }) => kind).filter((kind) => ROPE.includes(kind))).toEqual([]);
    // Not for want of a judgement: what is recomputed gives the dump's values.
    for (const { tap, local } of ops)
      if (ROPE.some((kind) => tap.endsWith(kind))) expect(local).toBeLessThan(1e-13);
  });
});

describe('attention over an F16 cache in a build that sums in F16', () => {
  it.each([
    ['wide-decode', 'in steps of one token their products are summed', 'AVX512-FP16'],
    ['wide-neon', 'their products are summed', "ARM's FP16 vectors"],
  ])('%s errs in both products, each named with its cause', async (tested, sums, build) => {
    const { kinds } = await locate(['wide-few', tested], join(scratch, 'wide'));
    expect(kinds.map(({ kind }) => kind).sort()).toEqual([
      '.self_attn:attn_output',
      '.self_attn:attn_weights',
    ]);
    for (const { kind, sentence, largest } of kinds) {
      expect(largest).toBeGreaterThan(1e-8);
      expect(largest).toBeLessThan(1e-6);
      const rounded = kind.endsWith('weights') ? 'Keys and queries' : 'Values and attention weights';
      const words = `^${rounded} are rounded to F16 .*, and ${sums} in F16, as ggml does row by row where it was built for ${build}: recomputed so, the error of a sample of \\d+ tokens falls from \\S+e-[78] to (0|\\S+e-1\\d)\\.`;
      expect(sentence).toMatch(new RegExp(words));
    }
  });
});

it('does not name sums in F16 that no build of ggml makes', async () => {
  const { kinds } = await locate(['wide-few', 'wide-unknown'], join(scratch, 'wide'));
  expect(kinds).toHaveLength(2);
  for (const { sentence } of kinds) expect(sentence).not.toContain('summed in F16');
});

describe('an f16 file in a build that sums in F16', () => {
  const file: Policy = {
    name: 'matrices of an f16 file',
    description: '',
    rules: [{ sites: '**#weight', set: 'f16' }],
  };

  it.each([
    ['tiny-f16', 'AVX512-FP16'],
    ['tiny-neon', "ARM's FP16 vectors"],
  ])('%s errs where ggml multiplies row by row, and nowhere else', async (tested, build) => {
    const report = await locate(['tiny-reference', tested], tiny, file);
    expect(report.kinds.map(({ kind }) => kind).sort()).toEqual(['.mlp.experts:gate_up', 'lm_head']);
    for (const { sentence, largest } of report.kinds) {
      expect(largest).toBeGreaterThan(3e-8);
      expect(largest).toBeLessThan(1e-6);
      const words = `are made in F16, as ggml makes them row by row where it was built for ${build}: computed so, `;
      expect(sentence).toContain(words);
      const [, same, sampled] = /: computed so, (\d+) of (\d+) sampled values are the dump's/.exec(sentence)!;
      expect(Number(same)).toBe(Number(sampled));
      expect(Number(sampled)).toBeGreaterThan(200);
    }
  });

  it('is read as what it is where products are judged as if widened: weights as stored, in the experts too', async () => {
    const gguf = join(scratch, 'tiny-f16.gguf');
    expect((await runCommand(['convert', tiny, '--type', 'f16', '--out', gguf])).code).toBe(0);
    const { kinds } = await locate(['tiny-reference', 'tiny-f16'], gguf);
    const sentences = new Map(kinds.map(({ kind, sentence }) => [kind, sentence]));
    for (const kind of ['.mlp.experts:down', '.self_attn.o_proj'])
      expect(sentences.get(kind)).toMatch(
        /stays as stored, and its inputs are rounded to that dtype: recomputed so/,
      );
  });
});
