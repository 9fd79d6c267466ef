/** Replays that serve several searches at once: each op reads the dump's values, so that ops do not mix. */
import type { Budget } from '../../causes/search.js';
import type { Hypothesis } from './hypotheses.js';

/** Own errors of ops under some choices, by tap. */
export type Errors = ReadonlyMap<string, { nmse: number }>;

/** Asks for the errors under sets of choices, and is given them in the same order. */
export type Search = Generator<readonly (readonly Hypothesis[])[], void, readonly Errors[]>;

/** A search, and all choices that change the ops it looks at. */
export interface SharedSearch {
  search: Search;
  choices: readonly Hypothesis[];
}

interface Running {
  search: Search;
  sites: ReadonlySet<string>;
  asked: readonly (readonly Hypothesis[])[];
  given: (Errors | undefined)[];
}

/**
 * Runs searches to their ends. One replay serves sets of several searches only where none of them sees a
 * choice that it did not ask for. When the budget is spent the searches return what they have found.
 */
export async function shareReplays(
  searches: readonly SharedSearch[],
  replay: (choices: readonly Hypothesis[]) => Promise<Errors>,
  budget: Budget,
): Promise<void> {
  const running = searches.map(
    ({ search, choices }): Running => ({
      search,
      sites: new Set(choices.map(({ sites }) => sites)),
      asked: [],
      given: [],
    }),
  );
  const goOn = (each: Running, errors: readonly Errors[] | undefined): boolean => {
    const { done, value } = errors === undefined ? each.search.next() : each.search.next(errors);
    if (done === true) return false;
    Object.assign(each, { asked: value, given: value.map(() => undefined) });
    return true;
  };
  let open = running.filter((each) => goOn(each, undefined));
  while (open.length > 0) {
    if (!budget.take()) {
      for (const { search } of open) search.return();
      return;
    }
    const chosen = packed(open);
    const errors = await replay(chosen);
    for (const each of open)
      for (const [index, set] of each.asked.entries())
        if (each.given[index] === undefined && isSeenAs(each, chosen, set)) each.given[index] = errors;
    open = open.filter(
      (each) => each.given.includes(undefined) || goOn(each, each.given as readonly Errors[]),
    );
  }
}

/** Choices of one replay: sets that are asked for, as many as go together. */
function packed(open: readonly Running[]): Hypothesis[] {
  let chosen: Hypothesis[] = [];
  const taken: { by: Running; set: readonly Hypothesis[] }[] = [];
  for (const by of open)
    for (const [index, set] of by.asked.entries()) {
      if (by.given[index] !== undefined) continue;
      const known = new Set(chosen.map(ruleKey));
      const all = [...chosen, ...set.filter((choice) => !known.has(ruleKey(choice)))];
      const isFitting = [...taken, { by, set }].every((each) => isSeenAs(each.by, all, each.set));
      if (!isFitting) continue;
      chosen = all;
      taken.push({ by, set });
      break;
    }
  return chosen;
}

/** True where of `chosen` the search sees `set` and nothing else. */
function isSeenAs({ sites }: Running, chosen: readonly Hypothesis[], set: readonly Hypothesis[]): boolean {
  const seen = chosen.filter((choice) => sites.has(choice.sites)).map(ruleKey);
  const wanted = set.map(ruleKey);
  return seen.length === wanted.length && seen.every((key) => wanted.includes(key));
}

/** The same for choices that are one rule. */
export function ruleKey({ sites, set }: Pick<Hypothesis, 'sites' | 'set'>): string {
  return `${sites} ${set}`;
}
