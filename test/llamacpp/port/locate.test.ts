/** `locate` and `report` on dumps of the branch, which lack a class of the router. */
import { expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { portDump, portReference, portScratch, TINY_MODEL } from './port-folders.js';

/** The ops that the branch does otherwise before its im2col fix, in execution order. */
const KINDS = ['conv_qk_grouped', ':attn_weights', ':attn_output', ':act1', ':act2', ':expert'];

/** Kinds of op at fault, each with its largest own error. */
async function located(folder: 'before-f32' | 'before-f32-decode') {
  const args = ['locate', portReference(), await portDump(folder), '--model', TINY_MODEL, '--threads', '1'];
  const { code, stdout, stderr } = await runCommand([...args, '--json']);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  const report = JSON.parse(stdout);
  expect(report.firstFault).toBe('layers.0.self_attn.qkv_proj.conv_qk_grouped');
  const errors = new Map<string, number>();
  for (const { tap, verdict, local } of report.ops as { tap: string; verdict: string; local: number }[]) {
    if (verdict !== 'fault') continue;
    const kind = KINDS.find((each) => tap.endsWith(each)) ?? tap;
    errors.set(kind, Math.max(local, errors.get(kind) ?? 0));
  }
  return errors;
}

it('locates what the branch computes otherwise, the convolution first, in one batch and in decode steps', async () => {
  const whole = await located('before-f32');
  expect([...whole.keys()].sort()).toEqual([...KINDS].sort());
  const decode = await located('before-f32-decode');
  expect([...decode.keys()].sort()).toEqual([...KINDS].sort());
  // The same ops on nearly the same inputs, rounded to F16 in kernels of another size: 1.29 at most, for attention over values.
  for (const [kind, error] of whole) {
    const ratio = decode.get(kind)! / error;
    expect([kind, ratio > 1 / 1.5 && ratio < 1.5]).toEqual([kind, true]);
  }
});

it.each(['before-f32', 'before-f32-decode'] as const)(
  'names the convolution without a model too (%s)',
  async (folder) => {
    const { code, stdout, stderr } = await runCommand(['locate', portReference(), await portDump(folder)]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain('first fault: layers.0.self_attn.qkv_proj.conv_qk_grouped');
  },
);

it('reports beside a noise floor', async () => {
  const reference = portReference();
  const out = portScratch('report.html');
  const args = ['report', reference, await portDump('before-f32'), '--noise-floor', reference, '--out', out];
  args.push('--fail-above', '1e-9');
  const { code, stdout, stderr } = await runCommand([...args, '--json']);
  // Nothing passes where the reference is its own floor; every value must have been compared with it.
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ outcome: 'FAIL', taps: 324, tensorTaps: 324 });
  expect(report.sentence).toContain('of 308 taps beyond the noise floor');
});
