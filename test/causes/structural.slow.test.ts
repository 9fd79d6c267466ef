import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { formatLocate } from '../../src/locate/faults/format.js';
import { locateStructural, namedCause, plantStructural, tiny } from './structural.js';

const { faults, unaltered, folder } = plantStructural();
afterAll(() => rmSync(folder, { recursive: true }));

describe('every fault of structure', () => {
  const structural = faults.filter(({ cause }) => cause !== null);

  it('there are at least 25', () => {
    expect(structural.length).toBeGreaterThanOrEqual(25);
  });

  it.each(structural)('$name: its cause is $cause', async ({ tap, cause, dump }) => {
    const report = await locateStructural(unaltered, dump);
    expect(report.firstFault).toBe(tap);
    const named = namedCause(report);
    // Two causes that give the same values are both told.
    expect([named.cause, ...named.ties]).toContain(cause);
    expect(formatLocate(report).split('\n').length).toBeLessThanOrEqual(40);
  });
});

describe('in other kinds of dump', () => {
  const blocks = 'input_affine,layers.*,layers.*.mlp.gate:router_hidden_states,norm,lm_head';
  it.each([
    [
      'of block outputs and router states alone',
      { taps: blocks },
      [
        'output-transposed',
        'gate-up-rows-exchanged',
        'grouped-taps-reversed',
        'router-bias-missing',
        'mask-missing',
      ],
    ],
    [
      'in BF16',
      { dtype: 'bfloat16' },
      [
        'output-transposed',
        'expert-plus-one',
        'other-key-head',
        'residual-left-out',
        'router-relu',
        'block-repeated',
      ],
    ],
  ] as const)('%s causes are found too', async (_, options, only) => {
    const planted = plantStructural({ ...options, only });
    try {
      for (const { name, cause, dump } of planted.faults) {
        const { causes } = await locateStructural(planted.unaltered, dump);
        const found = causes.flatMap(({ key, ties }) => [key, ...ties]);
        // Inside a span the order of a weight's rows is told by the weight.
        const expected =
          cause === 'halves out' && 'taps' in options ? 'halves mlp.experts.gate_up_proj' : cause;
        expect([name, found]).toEqual([name, expect.arrayContaining([expected])]);
      }
      expect(await locateStructural(planted.unaltered, planted.unaltered)).toMatchObject({
        found: false,
        causes: [],
      });
    } finally {
      rmSync(planted.folder, { recursive: true });
    }
  });
});

describe('no cause of structure', () => {
  it.each(faults.filter(({ cause }) => cause === null))('is named for $name', async ({ tap, dump }) => {
    const report = await locateStructural(unaltered, dump);
    expect(report.firstFault).toBe(tap);
    expect(report.causes).toEqual([]);
  });

  it('is named for the unaltered model', async () => {
    for (const reference of ['reference-float32', 'reference-bfloat16'])
      expect(await locateStructural(unaltered, join(tiny, reference))).toMatchObject({
        found: false,
        causes: [],
      });
  });
});
