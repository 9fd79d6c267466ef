/** A model with one NaN among its weights: every command that judges or runs it says so. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

const root = join(import.meta.dirname, '..', '..');
const tiny = join(root, 'dumps', 'tiny', 'model');
const reference = join(root, 'dumps', 'tiny', 'reference-float32');
const TOKENS = ['--tokens', '91,87,101,100,110,101,115,100'];
/** Its output's first column is NaN at every position. */
const WEIGHT = 'model.layers.3.self_attn.o_proj.weight';
const ORIGIN = 'layers.3.self_attn.o_proj';

let folder: string;
let model: string;
let dumps: [string, string];
const results: { code: number; stdout: string }[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-nan-'));
  model = join(folder, 'model');
  cpSync(tiny, model, { recursive: true });
  const file = join(model, 'model.safetensors');
  const bytes = readFileSync(file);
  const header = Number(bytes.readBigUInt64LE());
  const { data_offsets: offsets, dtype } = JSON.parse(bytes.subarray(8, 8 + header).toString())[WEIGHT];
  expect(dtype).toBe('BF16');
  bytes.writeUInt16LE(0x7fc0, 8 + header + offsets[0]);
  writeFileSync(file, bytes);
  dumps = [join(folder, 'a'), join(folder, 'b')];
  for (const out of dumps)
    results.push(await runCommand(['capture', '--model', model, ...TOKENS, '--out', out]));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a NaN among the weights', () => {
  it('lets capture finish the dump, name the value and end with 1', () => {
    for (const { code, stdout } of results) {
      expect(code).toBe(1);
      expect(stdout).toContain(': complete, tier full');
      expect(stdout).toMatch(/^next token +none: logits are not finite$/m);
      expect(stdout).toContain(`the first value is ${ORIGIN} at position 0, with 1 NaN and 0 infinite`);
    }
  });

  it.each(['stats', 'hash'])('is told by capture of tier %s', async (tier) => {
    const out = join(folder, tier);
    const { code, stdout } = await runCommand([
      'capture',
      '--model',
      model,
      ...TOKENS,
      '--out',
      out,
      '--tier',
      tier,
      '--json',
    ]);
    const { topTokens, nonFiniteLogits, nonFinite } = JSON.parse(stdout);
    expect([code, topTokens, nonFiniteLogits]).toEqual([1, [null], 259]);
    expect(nonFinite?.tap ?? null).toBe(tier === 'hash' ? null : ORIGIN);
  });

  it('fails the proof of a capture, though capturing changes no bit', async () => {
    const args = ['capture', '--model', model, ...TOKENS, '--prove'];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/proof +NOT FINITE .* 2,072 of them are NaN or infinite/);
    expect(stdout).not.toContain('PASS');
    expect(JSON.parse((await runCommand([...args, '--json'])).stdout)).toMatchObject({
      isEqual: true,
      nonFinite: 2072,
    });
  });

  it('fails diff, verify-logits, report, locate and diff-weights of it with itself', async () => {
    const page = join(folder, 'report.html');
    for (const [args, sentence] of [
      [['diff', ...dumps], `NOT FINITE: `],
      [['verify-logits', ...dumps], 'FAIL  NOT FINITE: 259 of 259 pairs of logits'],
      [['report', ...dumps, '--out', page], 'FAIL  201 of 372 taps differ'],
      [['locate', ...dumps], `NaN or infinity arises at ${ORIGIN}, in 8 values`],
      [['locate', ...dumps, '--model', model], `NaN or infinity arises at ${ORIGIN}, in 8 values`],
      [['diff-weights', model, model], `first ${WEIGHT}`],
    ] as [string[], string][]) {
      const { code, stdout, stderr } = await runCommand(args);
      expect([code, stderr], args[0]).toEqual([1, '']);
      expect(stdout, args[0]).toContain(sentence);
      expect(stdout, args[0]).not.toMatch(
        /PASS|SILENT|every compared value is identical|All \d+ taps are identical/,
      );
    }
  });

  it('passes where that is asked for, and says what was left out', async () => {
    for (const args of [
      ['diff', ...dumps],
      ['diff-weights', model, model],
      ['locate', ...dumps],
    ]) {
      const { code, stdout } = await runCommand([...args, '--allow-nonfinite']);
      expect(code, args[0]).toBe(0);
      expect(stdout, args[0]).not.toContain('\\n');
      expect(stdout, args[0]).toMatch(
        /allowed: \d+ pairs? that (is|are) not finite in the same way on both sides/,
      );
    }
  });

  it('is the first fault of the run under a policy, of a right reference', async () => {
    const { code, stdout } = await runCommand(['locate', reference, '--model', model, '--policy', 'f32']);
    expect(code).toBe(1);
    expect(stdout).toContain(`NaN or infinity arises at ${ORIGIN}, in 56 values at position 0 [0]: `);
  });

  it('ends step with 1 where the value it shows has one, and is what --until nan looks for', async () => {
    const step = (...args: string[]) => runCommand(['step', '--model', model, ...TOKENS, ...args]);
    const at = await step('--break', ORIGIN);
    expect([at.code, at.stdout]).toEqual([
      1,
      expect.stringMatching(/^NOT FINITE +8 NaN and 0 infinite elements$/m),
    ]);
    const printed = await step('--break', ORIGIN, '--print', 'rms');
    expect([printed.code, printed.stderr]).toEqual([
      1,
      expect.stringContaining('NOT FINITE: 8 NaN and 0 infinite'),
    ]);
    const until = await step('--until', 'nan');
    expect([until.code, until.stdout]).toEqual([0, expect.stringContaining(`${ORIGIN} (`)]);
    expect((await step('--break', 'layers.2')).code).toBe(0);
  });

  it('fails repro run of the value, also without a limit', async () => {
    const out = join(folder, 'repro');
    const written = await runCommand(['repro', dumps[0], '--op', ORIGIN, '--model', model, '--out', out]);
    expect(written.code).toBe(0);
    for (const args of [[], ['--fail-above', '1']]) {
      const { code, stdout } = await runCommand(['repro', 'run', out, '--backends', 'cpu', ...args]);
      expect([code, stdout]).toEqual([1, expect.stringMatching(/NOT FINITE: 8 elements$/m)]);
    }
  });

  it('is not converted to any type, and named; diff-weights tells it', async () => {
    const out = join(folder, 'converted.gguf');
    for (const type of ['q4_0', 'f16', 'f32']) {
      const converted = await runCommand(['convert', model, '--type', type, '--out', out]);
      expect([converted.code, converted.stdout]).toEqual([2, '']);
      expect(converted.stderr).toMatch(
        /BAD_CHECKPOINT: .* expected finite values, got NaN at index 0 \(blk\.6\.attn_output\.weight\)/,
      );
    }
    const compared = await runCommand(['diff-weights', model, model]);
    expect([compared.code, compared.stdout]).toEqual([1, expect.stringContaining(`1 NaN), first ${WEIGHT}`)]);
  });

  it('ends generate, evaluate, bisect and attribute with a sentence that says NaN', async () => {
    const policies = ['--good', 'f32', '--bad', 'llamacpp'];
    for (const args of [
      ['generate', '--max-tokens', '2'],
      ['evaluate'],
      ['bisect', ...policies],
      ['attribute', ...policies],
    ]) {
      const { code, stdout, stderr } = await runCommand([...args, '--model', model, ...TOKENS]);
      expect([code, stdout.trim()], args[0]).toEqual([2, '']);
      expect(stderr, args[0]).toMatch(/^zayascope: [A-Z_]+: .*NaN/m);
    }
  });
});
