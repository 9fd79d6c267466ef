import { expect, it } from 'vitest';
import { captureKills, capturePairs } from './killed-captures.js';

it('15 pairs of captures into one folder leave 15 whole dumps', async () => {
  const outcomes = await capturePairs(15);
  console.log(outcomes);
  expect(outcomes.complete).toBe(15);
});

it('60 kills of an overwriting capture leave nothing that says complete and is not', async () => {
  const outcomes = await captureKills(60, 150, Math.random);
  console.log(outcomes);
  expect(outcomes.complete + outcomes.partial).toBe(61);
  expect(outcomes.partial).toBeGreaterThan(10);
});
