import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordGguf, replayRecording } from '../../src/index.js';
import { ELEMENT_EVALUATORS } from '../../src/recording/double/elements.js';
import { count, Params } from '../../src/recording/double/node-operands.js';
import { PRODUCT_EVALUATORS } from '../../src/recording/double/products.js';
import { runCommand } from '../cli/run-command.js';
import { hasLavapipe, strict, zayascope } from '../gpu/lavapipe.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { modelMaker, PROMPT, python } from './models.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-double-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Each case by numpy in float64: axes are ggml's reversed. */
const NUMPY = `
import json, math, sys
import numpy as np
cases = json.load(open(sys.argv[1]))
erf = np.vectorize(math.erf)
def act(n, x):
    return [None, lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))), lambda x: x / (1 + np.exp(-x)), None, lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2)))][n](x)
def soft(x): e = np.exp(x - x.max(-1, keepdims=True)); return e / e.sum(-1, keepdims=True)
def rope(x, pos, base, dims, neox):
    out = x.copy(); half = dims // 2
    angle = pos[:, None] * base ** (-2.0 * np.arange(half) / dims)
    c, s = np.cos(angle)[None, :, None, :], np.sin(angle)[None, :, None, :]
    a, b = (slice(0, half), slice(half, dims)) if neox else (slice(0, dims, 2), slice(1, dims, 2))
    out[..., a], out[..., b] = x[..., a] * c - x[..., b] * s, x[..., a] * s + x[..., b] * c
    return out
def attend(q, k, v, mask, scale):
    k, v = [np.repeat(t, q.shape[1] // t.shape[1], 1) for t in (k, v)]
    return np.einsum('bhts,bhsd->bthd', soft(np.einsum('bhtd,bhsd->bhts', q, k) * scale + mask), v)
def run(c):
    s = [np.array(x['data'], dtype=np.float64).reshape(x['ne'][::-1]) for x in c['src']]
    p = c['floats']
    op = c['name']
    if op == 'ADD': return s[0] + s[1]
    if op == 'MUL': return s[0] * s[1]
    if op == 'RMS_NORM': return s[0] / np.sqrt((s[0] ** 2).mean(-1, keepdims=True) + p[0])
    if op == 'NORM': return (s[0] - s[0].mean(-1, keepdims=True)) / np.sqrt(s[0].var(-1, keepdims=True) + p[0])
    if op == 'L2_NORM': return s[0] / np.sqrt((s[0] ** 2).sum(-1, keepdims=True))
    if op == 'SCALE': return s[0] * p[0] + p[1]
    if op == 'SOFT_MAX': return soft(s[0] * p[0] + s[1])
    if op == 'silu': return act(2, s[0])
    if op == 'gelu': return act(1, s[0])
    if op == 'geluErf': return act(4, s[0])
    if op == 'SWIGLU': h = s[0].shape[-1] // 2; return act(2, s[0][..., :h]) * s[0][..., h:]
    if op == 'GEGLU2': return act(1, s[0]) * s[1]
    if op == 'MUL_MAT': return s[1] @ np.repeat(s[0], s[1].shape[1] // s[0].shape[1], 1).swapaxes(-1, -2)
    if op == 'MUL_MAT_ID': return np.einsum('tuk,tumk->tum', np.broadcast_to(s[1][0], (s[2].shape[2], s[2].shape[3], s[1].shape[-1])), s[0][0][s[2][0, 0].astype(int)])[None]
    if op == 'GET_ROWS': return s[0][0, 0][s[1].reshape(-1).astype(int)][None, None]
    if op == 'ROPE': return rope(s[0], s[1].reshape(-1), p[5], c['dims'], c['neox'])
    if op == 'FLASH': return attend(s[0], s[1], s[2], s[3], p[0])
    if op == 'CONCAT': return np.concatenate(s, axis=3 - c['axis'])
    if op == 'SUM_ROWS': return s[0].sum(-1, keepdims=True)
print(json.dumps([run(c).reshape(-1).tolist() for c in cases]))
`;

interface Case {
  op: string;
  name?: string;
  src: readonly (readonly number[])[];
  ne: readonly number[];
  floats?: Record<number, number>;
  ints?: Record<number, number>;
  /** Values of a source, in place of random ones. */
  given?: Record<number, readonly number[]>;
}

const CASES: readonly Case[] = [
  {
    op: 'ADD',
    src: [
      [5, 3, 2, 2],
      [5, 1, 2, 1],
    ],
    ne: [5, 3, 2, 2],
  },
  {
    op: 'MUL',
    src: [
      [5, 3, 2, 1],
      [1, 3, 1, 1],
    ],
    ne: [5, 3, 2, 1],
  },
  { op: 'RMS_NORM', src: [[7, 3, 2, 1]], ne: [7, 3, 2, 1], floats: { 0: 0.25 } },
  { op: 'NORM', src: [[7, 3, 2, 1]], ne: [7, 3, 2, 1], floats: { 0: 0.25 } },
  { op: 'L2_NORM', src: [[7, 3, 2, 1]], ne: [7, 3, 2, 1], floats: { 0: 2 ** -20 } },
  { op: 'SCALE', src: [[7, 3, 1, 1]], ne: [7, 3, 1, 1], floats: { 0: 0.5, 1: 0.125 } },
  {
    op: 'SOFT_MAX',
    src: [
      [6, 4, 3, 2],
      [6, 4, 1, 2],
    ],
    ne: [6, 4, 3, 2],
    floats: { 0: 0.5 },
  },
  { op: 'UNARY', name: 'silu', src: [[9, 2, 1, 1]], ne: [9, 2, 1, 1], ints: { 0: 10 } },
  { op: 'UNARY', name: 'gelu', src: [[9, 2, 1, 1]], ne: [9, 2, 1, 1], ints: { 0: 8 } },
  { op: 'UNARY', name: 'geluErf', src: [[9, 2, 1, 1]], ne: [9, 2, 1, 1], ints: { 0: 16 } },
  { op: 'GLU', name: 'SWIGLU', src: [[8, 3, 2, 1]], ne: [4, 3, 2, 1], ints: { 0: 2 } },
  {
    op: 'GLU',
    name: 'GEGLU2',
    src: [
      [4, 3, 2, 1],
      [4, 3, 2, 1],
    ],
    ne: [4, 3, 2, 1],
    ints: { 0: 1 },
  },
  {
    op: 'MUL_MAT',
    src: [
      [5, 3, 2, 1],
      [5, 4, 6, 1],
    ],
    ne: [3, 4, 6, 1],
  },
  {
    op: 'MUL_MAT_ID',
    src: [
      [5, 3, 4, 1],
      [5, 1, 2, 1],
      [2, 2, 1, 1],
    ],
    ne: [3, 2, 2, 1],
    given: { 2: [3, 0, 1, 2] },
  },
  {
    op: 'GET_ROWS',
    src: [
      [5, 7, 1, 1],
      [3, 1, 1, 1],
    ],
    ne: [5, 3, 1, 1],
    given: { 1: [6, 0, 2] },
  },
  ...[0, 2].map((mode) => ({
    op: 'ROPE',
    src: [
      [8, 3, 4, 1],
      [4, 1, 1, 1],
    ],
    ne: [8, 3, 4, 1],
    ints: { 1: 6, 2: mode },
    floats: { 5: 10_000, 6: 1, 8: 1 },
    given: { 1: [0, 3, 7, 150] },
  })),
  {
    op: 'FLASH_ATTN_EXT',
    name: 'FLASH',
    src: [
      [4, 3, 4, 1],
      [4, 5, 2, 1],
      [4, 5, 2, 1],
      [5, 3, 1, 1],
    ],
    ne: [4, 4, 3, 1],
    floats: { 0: 0.5 },
  },
  {
    op: 'CONCAT',
    src: [
      [5, 2, 3, 1],
      [5, 4, 3, 1],
    ],
    ne: [5, 6, 3, 1],
    ints: { 0: 1 },
  },
  { op: 'SUM_ROWS', src: [[5, 2, 3, 1]], ne: [1, 2, 3, 1] },
];

it('ops give what numpy gives in float64', () => {
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 0x7fffffff;
    return (seed / 0x7fffffff - 0.5) * 4;
  };
  const made = CASES.map(({ op, name, src, ne, floats = {}, ints = {}, given = {} }) => {
    const params = Buffer.alloc(64);
    for (const [word, value] of Object.entries(floats)) params.writeFloatLE(value, 4 * Number(word));
    for (const [word, value] of Object.entries(ints)) params.writeInt32LE(value, 4 * Number(word));
    const operands = src.map((sizes, k) => ({
      ne: sizes,
      data: given[k] ?? Array.from({ length: count(sizes) }, random),
    }));
    const evaluate = ELEMENT_EVALUATORS[op] ?? PRODUCT_EVALUATORS[op];
    const result = evaluate!({ src: operands, ne, params: new Params(params.toString('hex')) });
    const read = Array.from({ length: 16 }, (_, word) => params.readFloatLE(4 * word));
    const case_ = {
      name: name ?? op,
      src: operands,
      floats: read,
      dims: ints[1],
      neox: ints[2] === 2,
      axis: ints[0],
    };
    return { case_, result: result! };
  });
  const file = join(folder, 'cases.json');
  writeFileSync(file, JSON.stringify(made.map(({ case_ }) => case_)));
  const expected = python<number[][]>(pythonPath(), NUMPY, [file]);
  for (const [k, { case_, result }] of made.entries()) {
    const right = expected[k]!;
    expect([case_.name, result.length]).toEqual([case_.name, right.length]);
    const worst = result.reduce((most, value, at) => Math.max(most, Math.abs(value - right[at]!)), 0);
    expect([case_.name, worst < 1e-12]).toEqual([case_.name, true]);
  }
});

describeWith('a C++ compiler or libllama', hasLibllama, 'replay in double precision', () => {
  let make: Awaited<ReturnType<typeof modelMaker>>;
  beforeAll(async () => {
    make = await modelMaker();
  }, 60_000);
  afterAll(() => rmSync(make.folder, { recursive: true, force: true }));

  it('agrees with every node that rounds nothing, and shows what the others round', async () => {
    const model = make.make('qwen3moe');
    const recording = join(folder, 'run');
    await recordGguf({ model, tokens: PROMPT.slice(0, 6), generate: 1, threads: 1, out: recording });
    const { nodes } = await replayRecording({ recording, model, modes: ['widened', 'double'] });
    const done = nodes.filter(({ doubleError }) => doubleError !== undefined);
    expect(done.length / nodes.length).toBeGreaterThan(0.9);
    // The CPU's silu in GLU and its exp are good to F32; sums of F32 as well.
    for (const { name, ownError, doubleError, widened } of done)
      if (widened === undefined) expect([name, doubleError! < 1e-12]).toEqual([name, true]);
      else expect([name, doubleError! <= 1.1 * ownError! + 1e-12]).toEqual([name, true]);
    expect(done.some(({ doubleError }) => doubleError! > 1e-9)).toBe(true);
    const shown = await runCommand(['replay', recording, '--model', model, '--mode', 'double']);
    expect([shown.code, shown.stdout]).toEqual([
      0,
      expect.stringMatching(/^in double precision: \d+ of \d+ nodes/m),
    ]);
    const file = join(recording, 'graph.json');
    const graph = JSON.parse(readFileSync(file, 'utf8'));
    const norm = graph.tensors.find(({ tap }: { tap?: string }) => tap === 'norm-2');
    norm.params = Buffer.from(new Float32Array([1e-1]).buffer).toString('hex');
    writeFileSync(file, JSON.stringify(graph));
    const again = await replayRecording({ recording, model, modes: ['double'] });
    const [worst] = again.nodes.toSorted((a, b) => (b.doubleError ?? 0) - (a.doubleError ?? 0));
    expect(worst!.name).toBe('norm-2');
  }, 60_000);
});

it.runIf(hasLavapipe())(
  'is what a function that the CPU looks up is judged by on Vulkan',
  async () => {
    const out = join(folder, 'gelu');
    const model = 'dumps/tiny/model';
    const own = ['capture', '--model', model, '--tokens', '3,10', '--policy', 'llamacpp', '--threads', '1'];
    expect((await runCommand([...own, '--nodes', '--out', out])).code).toBe(0);
    const { stdout } = await zayascope(['replay', out, '--model', model, ...strict, '--json']);
    const { nodes } = JSON.parse(stdout) as Awaited<ReturnType<typeof replayRecording>>;
    expect(nodes.filter(({ op, onDevice }) => op === 'UNARY' && onDevice!.isBeyond)).toEqual([]);
    expect(nodes.filter(({ op }) => op === 'UNARY').length).toBeGreaterThan(8);
  },
  240_000,
);
