/**
 * A seeded sample of the planted suite, in every kind of dump; `planted.slow.test.ts` runs more of it. Two
 * files share it, so that they run beside each other.
 */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEAST_CHANGED, type Outcome } from './judge.js';
import { MISSED } from './missed.js';
import { PlantServer } from './plant-server.js';
import { allCases, runSuite, type SuiteCase, sample } from './suite.js';
import { countKinds, formatKinds } from './table.js';

/** Defines the tests of the sampled cases that `isOwn` chooses. */
export async function sampledCases(isOwn: (each: SuiteCase) => boolean): Promise<void> {
  const server = new PlantServer();
  const sampled = sample(allCases(await server.plantable), 110);
  const cases = sampled.filter(isOwn);
  let outcomes: Outcome[] = [];

  beforeAll(async () => {
    outcomes = await runSuite(server, cases, (outcome) => {
      if (process.env.PLANTED_LOG !== undefined)
        appendFileSync(process.env.PLANTED_LOG, `${JSON.stringify(outcome)}\n`);
    });
    console.log(formatKinds(countKinds(outcomes)));
  }, 600_000);
  afterAll(async () => server[Symbol.asyncDispose]());

  it('has 150 cases in both files, most of which change a value', () => {
    expect(sampled.length).toBeGreaterThanOrEqual(150);
    expect(outcomes).toHaveLength(cases.length);
    const faults = outcomes.filter(({ isFault }) => isFault);
    const shown = faults.filter(({ changed }) => changed >= LEAST_CHANGED);
    expect(shown.length).toBeGreaterThanOrEqual(0.85 * faults.length);
  });

  describe.each([...new Set(cases.map(({ kind }) => kind.name))])('%s', (kind) => {
    it('every fault is named first that the whole suite names first, and nothing that is right is accused', () => {
      const wrong = outcomes.filter(
        ({ isRight, name, ...each }) => each.kind === kind && !isRight && !MISSED.has(`${kind}: ${name}`),
      );
      expect(wrong.map(({ name, checkpoint, says }) => `${name} (${checkpoint}): ${says}`)).toEqual([]);
    });

    it('is said in at most 40 lines', () => {
      for (const { lines } of outcomes.filter((each) => each.kind === kind))
        expect(lines).toBeLessThanOrEqual(40);
    });
  });
}
