/** NaN in a value of a port that the reference does not hold: no command passes over it. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { rewriteDump } from '../../cli/special-dumps.js';
import { portFolder, portModel, portReference, portScratch, TINY_MODEL } from './port-folders.js';

const STATE = 'layers.2.self_attn.qkv_proj:conv_state';
const out = portScratch('nan-dump');

/** The convolution state that the port leaves in half-layer 4, with one NaN. */
beforeAll(async () => {
  const folder = portScratch('nan-folder');
  cpSync(portFolder('after-f32'), folder, { recursive: true });
  const lines = readFileSync(join(folder, 'index.jsonl'), 'utf8').trimEnd().split('\n');
  const entry = lines.map((line) => JSON.parse(line)).find(({ name }) => name === 'cca_last_conv_states-4');
  const values = readFileSync(join(folder, 'tensors.bin'));
  values.writeFloatLE(Number.NaN, entry.offset + 4 * 7);
  writeFileSync(join(folder, 'tensors.bin'), values);
  const config = join(TINY_MODEL, 'config.json');
  const { code } = await runCommand([
    'import',
    folder,
    '--map',
    'llamacpp',
    '--config',
    config,
    '--out',
    out,
  ]);
  expect(code).toBe(0);
});

it('is named by diff, report, locate and verify-logits, which fail', async () => {
  const [reference, model] = [portReference(), await portModel('after-f32')];
  const page = portScratch('nan.html');
  // Channel 7 / 2 of 160, the second of the two last tokens.
  const words = `1 tap (tested 1 NaN), first ${STATE} at position 23 [3, 1]: NaN`;
  for (const args of [
    ['diff', reference, out, '--fail-above', '1'],
    ['report', reference, out, '--out', page],
    ['locate', reference, out],
    ['locate', reference, out, '--model', model, '--threads', '1'],
    ['verify-logits', reference, out, '--fail-above', '1'],
  ]) {
    const { code, stdout } = await runCommand(args);
    expect({ command: args[0], code }).toEqual({ command: args[0], code: 1 });
    expect(stdout).toContain(args[0] === 'verify-logits' ? words.replace(' [3, 1]: NaN', '') : words);
    expect(stdout).not.toMatch(/SILENT|PASS/);
  }
});

it('is no first fault where an op errs', async () => {
  const args = ['locate', portReference(), out, '--model', await portModel('after-f32'), '--threads', '1'];
  const report = JSON.parse((await runCommand([...args, '--json'])).stdout);
  expect([report.firstFault, report.unpairedNonFinite.counted]).toEqual([
    'layers.0.self_attn:attn_weights',
    1,
  ]);
});

it('is all that is told where nothing else is wrong', async () => {
  const [part, whole, lost] = [portScratch('part'), portScratch('whole'), portScratch('lost')];
  const run = ['capture', '--model', TINY_MODEL, '--tokens', '257,91,87', '--threads', '1', '--out'];
  await runCommand([...run, part, '--taps', 'layers.*.mlp.**']);
  await runCommand([...run, whole]);
  await rewriteDump(whole, lost, ({ name }, values) => {
    if (name === 'layers.2.self_attn.o_proj') values[130] = Number.NaN;
  });
  const { code, stdout } = await runCommand(['locate', part, lost]);
  expect([code, stdout.split('\n').slice(1, 4)]).toEqual([
    1,
    [
      'NOT FINITE  no verdict passes over NaN or infinity',
      'first fault: layers.2.self_attn.o_proj',
      'NOT FINITE: 1 value without a partner, in 1 tap (tested 1 NaN), first layers.2.self_attn.o_proj at position 1 [2]: NaN; no verdict passes over them',
    ],
  ]);
  const allowed = await runCommand(['locate', part, lost, '--allow-nonfinite']);
  expect(allowed.code).toBe(0);
  expect(allowed.stdout).toContain('allowed: 1 value without a partner that is not finite (tested 1 NaN)');
});
