/** `locate` and `report` on dumps of the branch, which lack a class of the router. */
import { expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { portDump, portReference, portScratch } from './port-folders.js';

it('names the convolution without a model', async () => {
  const { code, stdout, stderr } = await runCommand([
    'locate',
    portReference(),
    await portDump('before-f32'),
  ]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  expect(stdout).toContain('first fault: layers.0.self_attn.qkv_proj.conv_qk_grouped');
});

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
