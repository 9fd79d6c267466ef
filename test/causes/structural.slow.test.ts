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
