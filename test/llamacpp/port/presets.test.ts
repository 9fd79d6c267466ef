/** What the presets and explanations say of the branch, on what the branch wrote. */
import { expect, it } from 'vitest';
import { Dump, type LocateReport, locateDumps, policy } from '../../../src/index.js';
import { type PortName, portDump, portReference, TINY_MODEL } from './port-folders.js';

async function locate(name: PortName, preset?: string): Promise<LocateReport> {
  await using reference = await Dump.open(portReference());
  await using tested = await Dump.open(await portDump(name));
  const recompute = preset === undefined ? {} : { recompute: policy(preset) };
  return await locateDumps(reference, tested, TINY_MODEL, { threads: 1, ...recompute });
}

it.each<[PortName, preset: string]>([
  ['before-f32', 'llamacpp'],
  ['after-f32', 'llamacpp-f32-im2col'],
  ['before-q8_0', 'llamacpp-q8_0'],
])('every op of %s does what %s says', async (name, preset) => {
  const { found, kinds, ops, notes } = await locate(name, preset);
  expect({ found, kinds }).toEqual({ found: false, kinds: [] });
  expect(ops.filter(({ local }) => local !== null)).toHaveLength(324);
  // One entry of the F16 table of GELU is the most that an op may be off.
  expect(Math.max(...ops.map(({ local }) => local ?? 0))).toBeLessThan(1e-8);
  expect(notes.join('\n')).toContain(
    `Every op does what policy ${preset} says: what it chooses otherwise than the reference makes the error of lm_head`,
  );
});

it('is not silent under the preset of another state of the branch', async () => {
  const { firstFault } = await locate('before-f32', 'llamacpp-f32-im2col');
  expect(firstFault).toBe('layers.0.self_attn.qkv_proj.conv_qk_grouped');
});
