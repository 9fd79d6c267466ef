/** From what the branch wrote to the op that errs: `zayascope port`, and the same under `--map` for a dump that kept the branch's names. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { type PortName, portFolder, portReferenceOf, portScratch, TINY_MODEL } from './port-folders.js';

let gguf: string;
beforeAll(async () => {
  gguf = portScratch('tiny-f32.gguf');
  const { code } = await runCommand(['convert', TINY_MODEL, '--type', 'f32', '--out', gguf]);
  expect(code).toBe(0);
});

const CCA = 'layers.0.self_attn.qkv_proj';
/** Suffixes of the ops that the branch does otherwise whatever its im2col. */
const ALWAYS = [':attn_output', ':attn_weights', ':act1', ':act2', ':expert'];

it.each<[PortName, first: string, kinds: readonly string[]]>([
  ['before-f32', `${CCA}.conv_qk_grouped`, ['.conv_qk_grouped', ...ALWAYS]],
  ['after-f32', 'layers.0.self_attn:attn_weights', ALWAYS],
  ['before-f32-decode', `${CCA}.conv_qk_grouped`, ['.conv_qk_grouped', ...ALWAYS]],
  ['before-f32-two-sequences', `${CCA}:conv_input`, [':conv_input', '.conv_qk_grouped', ...ALWAYS]],
  [
    'before-f32-flash',
    `${CCA}.conv_qk_grouped`,
    ['.conv_qk_grouped', ...ALWAYS.filter((kind) => kind !== ':attn_weights')],
  ],
  ['after-f32-cache-f32', 'layers.0.mlp.gate.router_mlp:act1', [':act1', ':act2', ':expert']],
])('takes %s to its first fault in one command', async (name, first, kinds) => {
  const out = portScratch(`journey-${name}`);
  const reference = portReferenceOf(name);
  const { code, stdout, stderr } = await runCommand([
    ...['port', portFolder(name), '--model', gguf, '--reference', reference, '--out', out],
    ...(name === 'before-f32-two-sequences' ? ['--sequences', '12,12'] : []),
    ...['--threads', '1', '--json'],
  ]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  const { steps } = JSON.parse(stdout);
  expect(
    steps.map(({ command, code: each }: { command: string; code: number }) => [command.split(' ')[1], each]),
  ).toEqual([
    ['import', 0],
    ['diff', 0],
    ['locate', 1],
    ['report', 0],
  ]);
  expect(existsSync(join(out, 'report.html'))).toBe(true);
  const { firstFault, ops } = steps[2].result;
  expect(firstFault).toBe(first);
  const faults = ops.filter(({ verdict }: { verdict: string }) => verdict === 'fault');
  const found = new Set(
    faults.map(({ tap }: { tap: string }) => kinds.find((kind) => tap.endsWith(kind)) ?? tap),
  );
  expect([...found].sort()).toEqual([...kinds].sort());
});

it('makes the reference of a checkpoint, and prints every step as a command', async () => {
  const out = portScratch('journey-made');
  const { code, stdout, stderr } = await runCommand([
    ...[
      'port',
      portFolder('before-f32'),
      '--model',
      gguf,
      '--reference',
      TINY_MODEL,
      '--out',
      out,
      '--threads',
      '1',
    ],
  ]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  expect(
    stdout.match(/^\$ \S+ \S+/gm)!.map((line) => line.replace(/^\$ \S*\/(?=[^/ ]+ )/, '$ ').split(' ')[1]),
  ).toEqual(['zayascope', 'python', 'zayascope', 'zayascope', 'zayascope']);
  expect(stdout).toContain('372 taps of 24 tokens');
  expect(stdout).toContain(`first fault: ${CCA}.conv_qk_grouped`);
});

it('ends where the import does', async () => {
  const out = portScratch('journey-refused');
  const args = ['--model', gguf, '--reference', portReferenceOf('before-f32-last'), '--out', out];
  const { code, stderr } = await runCommand(['port', portFolder('before-f32-last'), ...args]);
  expect(code).toBe(2);
  expect(stderr).toContain('batch.logits[i] = true');
});

it('compares a dump with the names of the branch in every command that reads two', async () => {
  const kept = portScratch('kept-names');
  // A map without rules keeps all names.
  const imported = await runCommand(['import', portFolder('before-f32'), '--keep-unmapped', '--out', kept]);
  expect(imported.code).toBe(0);
  const reference = portReferenceOf('before-f32');
  const map = ['--map', 'llamacpp'];
  const diff = await runCommand(['diff', reference, kept, ...map, '--json']);
  expect([diff.code, JSON.parse(diff.stdout).tapReports.length]).toEqual([0, 324]);
  const located = await runCommand(['locate', reference, kept, ...map, '--model', gguf, '--threads', '1']);
  expect(located).toMatchObject({ code: 1, stderr: '' });
  expect(located.stdout).toContain(`first fault: ${CCA}.conv_qk_grouped`);
  expect(located.stdout).toContain(`next: zayascope diff ${reference} ${kept} --map llamacpp --taps `);
  const page = portScratch('kept.html');
  const report = await runCommand([
    'report',
    reference,
    kept,
    ...map,
    '--noise-floor',
    reference,
    '--out',
    page,
    '--json',
  ]);
  expect(report).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(report.stdout)).toMatchObject({ taps: 324, tensorTaps: 324 });
  const logits = await runCommand(['verify-logits', reference, kept, ...map, '--json']);
  expect(JSON.parse(logits.stdout)).toMatchObject({
    pass: true,
    tokens: { outcome: 'same' },
    vocabulary: 259,
  });
});
