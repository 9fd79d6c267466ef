/**
 * Dumps that measure no rounding: the tested one itself, the reference, another port that errs in the same
 * way. With them as noise every limit would be the tested dump's own error.
 */
import { cpSync, existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { portDump, portModel, portNoise, portReference, portScratch } from './port-folders.js';

const CONVOLUTION = 'first fault: layers.0.self_attn.qkv_proj.conv_qk_grouped';

async function copyOf(folder: string, name: string): Promise<string> {
  const copy = portScratch(name);
  if (!existsSync(copy)) cpSync(folder, copy, { recursive: true });
  return copy;
}

const REFUSED: [what: string, noise: () => Promise<string>, got: string][] = [
  ['the tested dump', () => portDump('before-f32'), 'the tested dump itself'],
  [
    'a copy of it',
    async () => copyOf(await portDump('before-f32'), 'tested-copy'),
    "a dump that has the tested dump's own bits in all 308 values",
  ],
  ['the reference', async () => portReference(), 'the reference itself'],
  [
    'a copy of that',
    () => copyOf(portReference(), 'reference-copy'),
    "a dump that has the reference's own bits in all 308 values",
  ],
  [
    'another state of the port',
    () => portDump('after-f32'),
    'an import of llama.cpp that errs as the tested dump does in 248 of 305 values',
  ],
];

it.each(REFUSED)('%s is refused as noise', async (_what, noise, got) => {
  const [reference, tested, low] = [portReference(), await portDump('before-f32'), await noise()];
  const out = portScratch('no-noise.html');
  for (const args of [
    ['locate', reference, tested, '--noise', low],
    ['locate', reference, tested, '--noise', low, '--model', await portModel('before-f32')],
    ['report', reference, tested, '--noise-floor', low, '--out', out],
  ]) {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`expected a noise dump that measures the reference's rounding, got ${got}`);
    expect(stderr).toContain('dump.py --dtype bfloat16');
  }
  expect(existsSync(out)).toBe(false);
});

it('a quantised run of the port is said to be another program, and covers no fault', async () => {
  const { stdout } = await runCommand([
    ...['locate', portReference(), await portDump('before-f32'), '--model', await portModel('before-f32')],
    ...['--noise', await portDump('before-q8_0'), '--threads', '1'],
  ]);
  expect(stdout).toContain('NOISE OF ANOTHER PROGRAM: before-q8_0-dump is an import of llama.cpp');
  expect(stdout).toContain('FAULT  6 kinds of op');
  expect(stdout).toContain(CONVOLUTION);
});

it("the reference's run in BF16 covers an F32 port's small faults, which is said", async () => {
  const { code, stdout } = await runCommand([
    ...['locate', portReference(), await portDump('before-f32'), '--model', await portModel('before-f32')],
    ...['--noise', portNoise(), '--threads', '1'],
  ]);
  expect(code).toBe(1);
  // im2col, keys, values and both GELUs; the skip class is no rounding.
  expect(stdout).toContain('note: noise rounds where before-f32-dump does not: 5 kinds of op are within');
  expect(stdout).toContain('(first the grouped convolution, by 3.8e-8). Without --noise they are judged.');
  expect(stdout).toContain('first fault: layers.1.mlp.gate:expert');
});

it('an import as the reference is said, and its faults are no limits', async () => {
  const [before, after] = [await portDump('before-f32'), await portDump('after-f32')];
  const args = [
    'locate',
    before,
    after,
    '--model',
    await portModel('before-f32'),
    '--threads',
    '1',
    '--json',
  ];
  const { code, stdout } = await runCommand(args);
  expect(code).toBe(1);
  const { notes, kinds } = JSON.parse(stdout) as { notes: string[]; kinds: { kind: string }[] };
  expect(notes[0]).toContain('The reference (before-f32-dump) is an import of llama.cpp, and no run of');
  // The faults that both have: GELUs, cache and skip class. The convolution is right in the tested one.
  expect(kinds.map(({ kind }) => kind).sort()).toEqual([
    '.mlp.gate.router_mlp:act1',
    '.mlp.gate.router_mlp:act2',
    '.mlp.gate:expert',
    '.self_attn:attn_output',
    '.self_attn:attn_weights',
  ]);
});
