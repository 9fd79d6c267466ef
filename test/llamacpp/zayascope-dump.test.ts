import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toFloat32 } from '../../src/dump/float.js';
import type { Dump } from '../../src/dump/reader.js';
import { runCommand } from '../cli/run-command.js';
import { opened } from '../diff/two-dumps.js';
import { compileProgram, hasLibllama, runProgram } from './libllama.js';
import { TINY_LLAMA, writeTinyLlama } from './tiny-llama.js';

const root = join(import.meta.dirname, '..', '..');
/** A tap's values, all steps. */
async function floats(dump: Dump, tap: string): Promise<Float32Array> {
  const { data, dtype } = await dump.read(tap);
  return toFloat32(data, dtype);
}

// Needs the prebuilt libllama of Linux and a C++ compiler; elsewhere the tests show as skipped.
describe.skipIf(!hasLibllama)('zayascope_dump.h', () => {
  let folder: string;
  let model: string;
  let weights: ReadonlyMap<string, Float32Array>;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-llamacpp-'));
    model = join(folder, 'tiny.gguf');
    weights = await writeTinyLlama(model);
    await compile(join(root, 'dumps', 'llamacpp', 'example.cpp'), 'example');
    await compile(join(import.meta.dirname, 'dtypes.cpp'), 'dtypes');
    await compile(join(import.meta.dirname, 'partial-logits.cpp'), 'partial-logits');
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const compile = (source: string, name: string) =>
    compileProgram(source, join(folder, name), [join(root, 'dumps', 'llamacpp')]);
  const run = (name: string, args: readonly string[]) => runProgram(join(folder, name), args);

  /**
   * Runs the example on `tokens` (`.` begins another batch, `,` another sequence) and imports what it wrote.
   */
  async function capture(name: string, tokens: readonly (number | '.' | ',')[]) {
    const port = join(folder, name);
    const { status, stdout, stderr } = run('example', [model, port, ...tokens.map(String)]);
    expect(status, stderr).toBe(0);
    const out = join(folder, `${name}-dump`);
    const imported = await runCommand([
      'import',
      port,
      '--map',
      join(import.meta.dirname, 'llama-map.json'),
      '--keep-unmapped',
      '--out',
      out,
    ]);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    const best = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number) as [id: number, logit: number]);
    return { dump: await opened(out), best };
  }

  it('shows the logits of the run, batch by batch', async () => {
    const tokens = [3, 17, 2, 39, 0];
    const { dump, best } = await capture('short', [3, 17, 2, 39, '.', 0]);
    expect(dump.manifest).toMatchObject({ status: 'complete', steps: 2, sequences: [{ tokens }] });
    const { shape, data, step, position } = await dump.read('lm_head');
    expect(shape).toEqual([5, TINY_LLAMA.vocabulary]);
    expect([[...step], [...position]]).toEqual([
      [0, 0, 0, 0, 1],
      [0, 1, 2, 3, 4],
    ]);
    const width = TINY_LLAMA.vocabulary;
    for (const [row, [id, logit]] of best.entries()) {
      const own = data.subarray(row * width, (row + 1) * width);
      expect(own[id]).toBe(Math.fround(logit));
      expect(Math.max(...own)).toBe(own[id]);
    }
  });

  it('shows every value as the graph computed it', async () => {
    const tokens = [3, 17, 2, 39, 0];
    const { dump } = await capture('values', [3, 17, 2, 39, '.', 0]);
    const { hidden, epsilon, heads } = TINY_LLAMA;
    const embedded = await floats(dump, 'embed_tokens');
    const table = weights.get('token_embd.weight')!;
    expect([...embedded]).toEqual(
      tokens.flatMap((id) => [...table.subarray(id * hidden, (id + 1) * hidden)]),
    );
    for (const [input, output, weight] of [
      ['embed_tokens', 'layers.0.input_layernorm', 'blk.0.attn_norm.weight'],
      ['layers.0', 'layers.1.input_layernorm', 'blk.1.attn_norm.weight'],
      ['layers.1', 'norm', 'output_norm.weight'],
    ] as const) {
      const [x, y, w] = [await floats(dump, input), await floats(dump, output), weights.get(weight)!];
      for (let row = 0; row < tokens.length; row++) {
        const own = x.subarray(row * hidden, (row + 1) * hidden);
        const scale = 1 / Math.sqrt(own.reduce((sum, value) => sum + value * value, 0) / hidden + epsilon);
        for (let k = 0; k < hidden; k++) {
          const expected = own[k]! * scale * w[k]!;
          expect(Math.abs(y[row * hidden + k]! - expected)).toBeLessThan(2e-6 * (1 + Math.abs(expected)));
        }
      }
    }
    // ggml's {256, T, heads}, padded, becomes [T, heads, S]: each row of attention weights adds up to 1 and
    // sees no later token.
    const attention = await dump.read('layers.0.self_attn:attn_weights', { step: 0 });
    expect(attention.shape).toEqual([4, heads, 4]);
    for (let row = 0; row < 4; row++)
      for (let head = 0; head < heads; head++) {
        const own = (attention.data as Float32Array).subarray(
          (row * heads + head) * 4,
          (row * heads + head + 1) * 4,
        );
        expect(own.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
        expect([...own.subarray(row + 1)]).toEqual(new Array(3 - row).fill(0));
      }
    expect((await dump.read('layers.0.self_attn:attn_weights', { step: 1 })).shape).toEqual([1, heads, 5]);
  });

  it('tells the graphs of a batch apart that llama.cpp splits', async () => {
    const tokens = Array.from({ length: 70 }, (_, k) => (k * 7) % TINY_LLAMA.vocabulary);
    const { dump, best } = await capture('long', [...tokens.slice(0, 69), '.', tokens[69]!]);
    const { step, tokenId, position } = await dump.rows('lm_head');
    expect(dump.manifest.steps).toBe(3);
    expect([0, 1, 2].map((number) => step.filter((each) => each === number).length)).toEqual([64, 5, 1]);
    expect([...tokenId]).toEqual(tokens);
    expect([...position]).toEqual(tokens.map((_, k) => k));
    const { data } = await dump.read('lm_head');
    expect(best.map(([id], row) => data[row * TINY_LLAMA.vocabulary + id])).toEqual(
      best.map(([, logit]) => Math.fround(logit)),
    );
  });

  it('tells sequences of a batch apart, whose ubatches llama.cpp cuts by sequence', async () => {
    // 3 and 5 tokens, then one of each; token 3 begins both.
    const sequences = [
      [3, 17, 2, 39],
      [3, 0, 8, 9, 11, 5],
    ];
    const { dump } = await capture('several', [3, 17, 2, ',', 3, 0, 8, 9, 11, '.', 39, ',', 5]);
    expect(dump.manifest.sequences).toEqual(sequences.map((tokens) => ({ tokens })));
    for (const [sequence, tokens] of sequences.entries()) {
      const { dump: alone } = await capture(`alone-${sequence}`, tokens);
      const names = dump.taps.filter(({ scope }) => scope === 'token').map(({ name }) => name);
      expect(names).toContain('lm_head');
      for (const name of names.filter((each) => !each.includes('attn_weights'))) {
        const [a, b] = [await alone.read(name), await dump.read(name, { sequence })];
        expect([name, [...b.position], b.shape]).toEqual([name, [...a.position], a.shape]);
        for (const [k, value] of (a.data as Float32Array).entries())
          expect(Math.abs(value - b.data[k]!), name).toBeLessThan(2e-5);
      }
      const last = { position: tokens.length - 1, name: 'layers.1.self_attn:attn_weights' };
      const rows = await dump.rows(last.name);
      const row = rows.position.findIndex((at, k) => at === last.position && rows.sequence[k] === sequence);
      const weights = (await dump.readRows(last.name, row, row + 1))!;
      expect(weights.shape).toEqual([1, TINY_LLAMA.heads, tokens.length]);
      const sum = (weights.data as Float32Array).reduce((all, value) => all + value, 0);
      expect(sum).toBeCloseTo(TINY_LLAMA.heads, 5);
    }
  });

  it('shows the logits that llama_get_logits_ith gives, where some tokens of several sequences ask for theirs', async () => {
    // [sequence, token, wanted]: three sequences of other lengths, taking turns, in ubatches of 8; then
    // decode steps of two of them.
    const long = Array.from({ length: 13 }, (_, k) => [0, (5 * k + 1) % 40, k % 5 === 2] as const);
    const middle = Array.from({ length: 9 }, (_, k) => [1, (7 * k + 3) % 40, k === 8] as const);
    const short = Array.from({ length: 4 }, (_, k) => [2, (3 * k + 2) % 40, k < 2] as const);
    const batches = [
      long.flatMap((each, k) => [each, middle[k], short[k]].filter((other) => other !== undefined)),
      [[0, 17, true] as const, [2, 9, false] as const],
      [[2, 30, true] as const, [0, 4, true] as const],
    ];
    const port = join(folder, 'partial-port');
    const input = batches.map((batch) => batch.map((token) => `${token.map(Number).join(' ')}\n`).join(''));
    const program = join(folder, 'partial-logits');
    const { status, stdout, stderr } = runProgram(program, [model, port], input.join('\n'));
    expect(status, stderr).toBe(0);
    const wanted = new Map(
      stdout
        .trim()
        .split('\n')
        .map((line) => {
          const [sequence, position, ...logits] = line.split(' ').map(Number);
          return [`${sequence} ${position}`, logits.map(Math.fround)];
        }),
    );
    expect(wanted.size).toBe(batches.flat().filter(([, , isWanted]) => isWanted).length);
    const out = join(folder, 'partial-dump');
    const map = ['--map', join(import.meta.dirname, 'llama-map.json'), '--keep-unmapped'];
    const imported = await runCommand(['import', port, ...map, '--out', out]);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    const dump = await opened(out);
    const tokens = [0, 1, 2].map((own) =>
      batches.flat().flatMap(([sequence, id]) => (sequence === own ? [id] : [])),
    );
    expect(dump.manifest.sequences).toEqual(tokens.map((ids) => ({ tokens: ids })));
    const found = new Map<string, number[]>();
    const width = TINY_LLAMA.vocabulary;
    for (const sequence of [0, 1, 2]) {
      const { data, position } = await dump.read('lm_head', { sequence });
      for (const [row, at] of position.entries())
        found.set(`${sequence} ${at}`, [...data.subarray(row * width, (row + 1) * width)].map(Number));
    }
    expect(found).toEqual(wanted);
    // What lies before the last block is there for every token, once.
    const { sequence, position, tokenId } = await dump.rows('layers.0');
    const rows = [...sequence].map((own, row) => [own, position[row], tokenId[row]]);
    const all = tokens.flatMap((ids, own) => ids.map((id, at) => [own, at, id]));
    const sorted = (list: (number | undefined)[][]) => list.map((each) => each.join(' ')).sort();
    expect(sorted(rows)).toEqual(sorted(all));
  });

  it('keeps dtypes, makes views contiguous, widens quantised values', async () => {
    const port = join(folder, 'dtypes-port');
    const out = join(folder, 'dtypes-dump');
    expect(run('dtypes', [port])).toMatchObject({ status: 0, stderr: '' });
    expect((await runCommand(['import', port, '--keep-unmapped', '--out', out])).code).toBe(0);
    const dump = await opened(out);
    expect(dump.taps.map(({ name, dtype }) => `${name} ${dtype}`)).toEqual([
      'f32 F32',
      'transposed F32',
      'column F32',
      'f16 F16',
      'bf16 BF16',
      'i32 I32',
      'a "quoted" q8 F32',
    ]);
    const values = Float32Array.from({ length: 128 }, (_, k) => Math.fround(Math.fround(k) / 3) - 20);
    const read = async (name: string) => [...(await floats(dump, name))];
    expect(await read('f32')).toEqual([...values]);
    expect(await read('transposed')).toEqual(
      Array.from({ length: 128 }, (_, k) => values[(k % 2) * 64 + (k >> 1)]),
    );
    expect(await read('column')).toEqual([values[3], values[67]]);
    expect(await read('i32')).toEqual([7, -2]);
    // Q8_0: half a step of the largest of 32 over 127, which is here at most 23.
    for (const [name, relative] of [
      ['f16', 2 ** -11],
      ['bf16', 2 ** -8],
      ['a "quoted" q8', 0],
    ] as const)
      for (const [k, value] of (await read(name)).entries())
        expect(Math.abs(value - values[k]!)).toBeLessThanOrEqual(relative * Math.abs(values[k]!) || 0.12);
    expect(dump.manifest.producer.notes).toContain('a "quoted" q8: dequantised from q8_0.');
  });

  it('writes what its patterns name', async () => {
    const port = join(folder, 'patterns-port');
    const out = join(folder, 'patterns-dump');
    expect(run('dtypes', [port, '*f16', 'node_*']).status).toBe(0);
    await runCommand(['import', port, '--map', 'zaya', '--keep-unmapped', '--out', out]);
    expect((await opened(out)).taps.map(({ name }) => name)).toEqual(['f16', 'bf16', 'node_7']);
  });

  it('says that it cannot write, and lets the run go on', () => {
    const { status, stderr } = run('dtypes', [join(model, 'not-a-folder')]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^zayascope_dump: cannot write into .*not-a-folder\n$/),
    });
  });
});
