/**
 * A larger sample of the planted suite than `npm test` has. `PLANTED_ALL=1` runs every planted fault in every
 * kind of dump, and all that must not be accused, half an hour; `PLANTED=PATTERN` those whose words it
 * matches; `PLANTED_LOG=FILE` gets each outcome as a line of JSON.
 */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome } from './judge.js';
import { MISSED } from './missed.js';
import { PlantServer } from './plant-server.js';
import { allCases, runSuite, sample } from './suite.js';
import { countKinds, formatKinds, formatOutcome } from './table.js';

const server = new PlantServer();
const plantable = await server.plantable;
const log = process.env.PLANTED_LOG;
const pattern = new RegExp(process.env.PLANTED ?? '');
const isWhole = process.env.PLANTED_ALL === '1' || process.env.PLANTED !== undefined;
const all = allCases(plantable);
const cases = (isWhole ? all : sample(all, 330)).filter(({ kind, fault, program, checkpoint }) =>
  pattern.test(`${kind.name}: ${fault ?? program ?? 'unaltered'} (${checkpoint})`),
);
let outcomes: Outcome[] = [];

beforeAll(
  async () => {
    outcomes = await runSuite(server, cases, (outcome) => {
      if (log !== undefined) appendFileSync(log, `${JSON.stringify(outcome)}\n`);
      // each as it comes: a run of all takes long enough to be ended before
      if (isWhole) process.stdout.write(formatOutcome(outcome));
    });
    console.log(formatKinds(countKinds(outcomes)));
    for (const { kind, name, checkpoint, says, isRight } of outcomes)
      if (!isRight) console.log(`${kind}: ${name} (${checkpoint}): ${says}`);
  },
  isWhole ? 7_200_000 : 1_500_000,
);
afterAll(async () => server[Symbol.asyncDispose]());

it('has at least 90 faults of one call, 18 of several, and 20 right programs', () => {
  expect(plantable.faults.length).toBeGreaterThanOrEqual(90);
  expect(plantable.steps.length).toBeGreaterThanOrEqual(18);
  expect(plantable.programs.length).toBeGreaterThanOrEqual(20);
});

describe.each([...new Set(cases.map(({ kind }) => kind.name))])('%s', (kind) => {
  // A sample may hold most of what is known to be missed: of it all others are named.
  it.runIf(!isWhole)('names the faults first that the whole suite names first', () => {
    const wrong = outcomes.filter(
      (each) => each.kind === kind && !each.isRight && !MISSED.has(`${kind}: ${each.name}`),
    );
    expect(wrong.map(({ name, checkpoint, says }) => `${name} (${checkpoint}): ${says}`)).toEqual([]);
  });

  it.runIf(isWhole)('names at least 95 % of the faults that change a value first', () => {
    for (const { faults, right } of countKinds(outcomes.filter((each) => each.kind === kind)))
      expect(right).toBeGreaterThanOrEqual(0.95 * faults);
  });

  it('accuses nothing that is right', () => {
    for (const { accused } of countKinds(outcomes.filter((each) => each.kind === kind)))
      expect(accused).toBe(0);
  });

  it('says it in at most 40 lines', () => {
    for (const { lines } of outcomes.filter((each) => each.kind === kind))
      expect(lines).toBeLessThanOrEqual(40);
  });
});
