import { rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { plantStepFaults } from '../faults/step-faults.js';
import { expectedOf, locateSteps, namedFirst, silent } from './judge-steps.js';

const batch = plantStepFaults();
const single = plantStepFaults({ batch: false });
// No state and no cache is held: they are made of the dump's keys, values and convolution inputs.
const stateless = plantStepFaults({
  taps: 'embed_tokens,input_affine,norm,lm_head,layers.*,layers.*.mlp.**,layers.*.self_attn.{qk_norm,o_proj}*,layers.*.*_layernorm,layers.*.post_*,**.{q,k}_proj,**.v_proj_*,**:conv_input,**.conv_qk_*,**:lead,**:query,**:key,**:value,**:value_delayed,**:*_rope,**:*_residual,**:attn_*',
});
afterAll(() => {
  for (const { folder } of [batch, single, stateless]) rmSync(folder, { recursive: true });
});

describe.each([
  ['a left-padded batch', batch, 18],
  ['a single sequence', single, 12],
] as const)('faults planted in %s', (_, { faults, unaltered, restored }, count) => {
  it('are at least a dozen', () => {
    expect(faults.length).toBeGreaterThanOrEqual(count);
  });

  it.each(faults)('$name is named first, with and without a model', async (fault) => {
    expect(namedFirst(await locateSteps(unaltered, fault.dump))).toEqual(expectedOf(fault));
    expect(namedFirst(await locateSteps(unaltered, fault.dump, null))).toEqual(expectedOf(fault));
  });

  it('are none where nothing was altered', async () => {
    expect(namedFirst(await locateSteps(unaltered, restored))).toEqual(silent);
    expect(namedFirst(await locateSteps(unaltered, restored, null))).toEqual(silent);
  });
});

/** Without states the first value that shows a fault of a state is one that reads it, in the next call. */
const SHOWS_AT: Record<string, string> = {
  'conv-state-one-token-late': '.self_attn.qkv_proj.conv_qk_depthwise:lead',
  'conv-state-of-the-first-token': '.self_attn.qkv_proj.conv_qk_depthwise:lead',
  'conv-state-reversed': '.self_attn.qkv_proj.conv_qk_depthwise:lead',
  'delayed-value-of-the-first-token': '.self_attn.qkv_proj:value_delayed',
  'key-cache-in-f16': '.self_attn:attn_weights',
  'value-cache-turned-in-a-chunk': '.self_attn:attn_output',
};

describe('faults in a dump without states', () => {
  const { faults, unaltered, restored } = stateless;

  it.each(faults)('$name is named first where it first shows', async ({ name, tap, dump }) => {
    const kind = SHOWS_AT[name] ?? tap.replace(/^layers\.\d+/, '');
    const named = namedFirst(await locateSteps(unaltered, dump));
    expect(named).toMatchObject({ found: true, firstFault: `layers.0${kind}`, kind });
  });

  it('are none where nothing was altered', async () => {
    expect(namedFirst(await locateSteps(unaltered, restored))).toEqual(silent);
  });
});
