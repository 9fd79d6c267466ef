import { rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { plantStepFaults } from '../faults/step-faults.js';
import { expectedOf, locateSteps, namedFirst, silent } from './judge-steps.js';

// A sample: `planted-steps.slow.test.ts` has all, in batches and in single sequences. While tests are
// collected: each fault is a test.
const SAMPLE = [
  'conv-state-not-carried',
  'delayed-value-reset',
  'position-off-by-one-in-decode',
  'mask-off-in-a-chunk',
  'padding-leaks-into-convolutions',
];
const { faults, unaltered, restored, folder } = plantStepFaults({ only: SAMPLE });
afterAll(() => rmSync(folder, { recursive: true }));

describe('a fault planted in decode steps and in a left-padded batch', () => {
  it.each(faults)('$name: locate names $tap first, and the position and step', async (fault) => {
    expect(namedFirst(await locateSteps(unaltered, fault.dump))).toEqual(expectedOf(fault));
  });

  it.each(faults)('$name: where its error begins is told without a model', async (fault) => {
    expect(namedFirst(await locateSteps(unaltered, fault.dump, null))).toEqual(expectedOf(fault));
  });

  it('is told in words', async () => {
    const sentenceOf = async (name: string) =>
      (await locateSteps(unaltered, faults.find((fault) => fault.name === name)!.dump)).kinds[0]!.sentence;
    expect(await sentenceOf('position-off-by-one-in-decode')).toMatch(
      / Sequence 0: right up to position 24, wrong from 25 on \(step 2\); sequence 1: right up to position 17, wrong from 18 on \(step 2\); sequence 2: right up to position 11, wrong from 12 on \(step 2\)\.$/,
    );
    expect(await sentenceOf('padding-leaks-into-convolutions')).toMatch(
      / Sequences 1, 2: wrong at position 0 alone \(step 0\)\. Sequence 0 is right\.$/,
    );
  });

  it('is none where nothing was altered', async () => {
    expect(namedFirst(await locateSteps(unaltered, restored))).toEqual(silent);
    expect(namedFirst(await locateSteps(unaltered, restored, null))).toEqual(silent);
  });
});
