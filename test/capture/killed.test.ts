import { expect, it } from 'vitest';
import { captureKills, capturePairs } from './killed-captures.js';

it('two captures into one folder leave one whole dump', async () => {
  const { complete, succeeded } = await capturePairs(1);
  expect(complete).toBe(1);
  expect(succeeded).toBeGreaterThanOrEqual(1);
}, 60_000);

it('a capture that is killed while it overwrites leaves nothing that says complete and is not', async () => {
  const { complete, partial, none } = await captureKills(3, 60, Math.random);
  expect(complete + partial).toBe(4);
  expect(none).toBe(0);
}, 60_000);
