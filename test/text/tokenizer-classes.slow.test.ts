import { expect, it } from 'vitest';
import { temporaryFolder } from '../weights/fixtures.js';
import { fixture, runClasses } from './tokenizer-classes.js';

it(`a tokenizer.json under a class gives the ids of transformers or is refused: ${fixture.cases.length} cases`, async () => {
  const { results, wrong } = await runClasses(await temporaryFolder(), fixture.cases);
  expect(results.length).toBeGreaterThan(2300);
  expect(wrong).toEqual([]);
}, 120_000);
