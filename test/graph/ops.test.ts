import { afterAll, describe, expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { OP_NAMES } from '../../src/graph/ops.js';
import { casesOf, dtypeCombinations, titleOf } from './op-sketch.js';
import { runOp } from './run-op.js';
import { SKETCHES } from './sketches.js';

// Cases take turns: kernels split their rows among threads, but waking a second one costs more than these
// small ops.
const backends = [1, 2].map((threads) => openBackend('cpu', { threads }));
afterAll(() => {
  for (const backend of backends) backend.close();
});

it('the table of cases covers the vocabulary', () => {
  expect([...new Set(SKETCHES.map(({ op }) => op))].sort()).toEqual([...OP_NAMES].sort());
});

for (const sketch of SKETCHES)
  describe(titleOf(sketch), () => {
    for (const dtypes of dtypeCombinations(sketch))
      it(`agrees with double precision: ${Object.entries(dtypes).flat().join(' ')}`, async () => {
        const failures: string[] = [];
        for (const test of casesOf(sketch, dtypes)) {
          const failure = await runOp(backends[test.seed! % 2]!, test).catch((error: unknown) =>
            String(error),
          );
          if (failure !== undefined) failures.push(failure);
        }
        expect(failures).toEqual([]);
      });
  });
