import { describe, expect, it } from 'vitest';
import { Budget } from '../../src/locate/causes/search.js';
import type { Hypothesis } from '../../src/locate/faults/explain/hypotheses.js';
import { type Errors, type Search, shareReplays } from '../../src/locate/faults/explain/shared-replays.js';

const choice = (sites: string): Hypothesis => ({ sites, set: 'F16', at: sites });
const NONE: Errors = new Map();

/** A search that goes on for ever, and says whether it was ended. */
function* endless(own: Hypothesis, log: string[]): Search {
  try {
    for (let asked = 0; ; asked++) {
      yield [[own]];
      log.push(`${own.sites} ${asked}`);
    }
  } finally {
    log.push(`${own.sites} ended`);
  }
}

describe('searches that share replays', () => {
  it('are ended when their budget is spent, and may say what they have found', async () => {
    const log: string[] = [];
    const replays: string[] = [];
    const budget = new Budget(3, 60);
    const searches = ['a', 'b'].map((sites) => ({
      search: endless(choice(sites), log),
      choices: [choice(sites)],
    }));
    const replay = async (choices: readonly Hypothesis[]) => {
      replays.push(choices.map(({ sites }) => sites).join());
      return NONE;
    };
    await shareReplays(searches, replay, budget);
    expect(replays).toEqual(['a,b', 'a,b', 'a,b']);
    expect(log).toEqual(['a 0', 'b 0', 'a 1', 'b 1', 'a 2', 'b 2', 'a ended', 'b ended']);
    expect(budget.isSpent).toBe(true);
  });

  it('are ended by an abort', async () => {
    const controller = new AbortController();
    const replay = async () => {
      controller.abort();
      return NONE;
    };
    const search = { search: endless(choice('a'), []), choices: [choice('a')] };
    await expect(shareReplays([search], replay, new Budget(9, 60, controller.signal))).rejects.toThrow(
      'cancelled',
    );
  });
});
