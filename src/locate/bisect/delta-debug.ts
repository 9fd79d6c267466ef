/**
 * Delta debugging over sets of sites: which of them must be bad for a run to fail? Knows nothing of models;
 * `bisect.ts` gives it one.
 *
 * Zeller's ddmin tries subsets blindly and needs up to n² tests. Here a test has an error besides its
 * verdict, and errors of different roundings nearly add up. So the sites are cut where the error is largest,
 * into parts whose errors alone are measured, until the few largest parts together should fail. That only
 * decides what is tried: that the result fails, and that it passes without any one of its parts, is measured.
 */
import { badArgument } from '../../errors.js';
import type { TestLedger } from './test-ledger.js';

/** Cuts a set of sites into parts in a fixed order, each site in exactly one; a single site stays. */
export type Split = (sites: readonly string[]) => string[][];

/** Some sites that are taken together. */
export interface Unit {
  sites: readonly string[];
  /** Error with them alone bad; undefined where it was not measured. */
  alone: number | undefined;
}

/** A part of a {@link Minimum}. */
export interface MinimumUnit extends Unit {
  /** Error of the set without this unit; undefined where the passes did not suffice. */
  without: number | undefined;
}

/** A smallest failing set, as far as the passes allowed. */
export interface Minimum {
  /** Largest error alone first. */
  units: MinimumUnit[];
  /** Error of the whole set. */
  error: number;
  /** True if the set passes without any one of its units: all of that was measured. */
  verified: boolean;
  /** What was cut into what, in that order. */
  cuts: { whole: Unit; parts: Unit[] }[];
}

type Units = readonly (readonly string[])[];

/** A set of sites with what it is thought to do. */
interface Guess {
  sites: readonly string[];
  error: number;
}

/** Runs that finding and trimming a failing set may take beyond the verification. */
const SPARE_RUNS = 2;

/**
 * Finds a set of units that fails and passes without any one of them. Deterministic.
 * @param sites all of them. @param expected what single sites are thought to do alone; then parts are not
 * measured, and what that saves is left for verifying. @throws `BAD_ARGUMENT` if the run with none bad fails
 * or that with all bad passes.
 */
export async function deltaDebug(
  ledger: TestLedger,
  sites: readonly string[],
  split: Split,
  expected?: ReadonlyMap<string, number>,
): Promise<Minimum> {
  const [good, bad] = [await ledger.measure([]), await ledger.measure(sites)];
  if (good === undefined || bad === undefined || ledger.isFailing(good) || !ledger.isFailing(bad))
    throw badArgument(
      'bisect',
      `a good run with an error of at most ${ledger.failAbove} and a bad one above, within ${ledger.maxPasses} forward passes`,
      `${good} and ${bad}`,
    );
  const cuts: Minimum['cuts'] = [];
  const guesses = await cutLargest(ledger, sites, split, cuts, expected);
  let { minimal, verified } = await trim(ledger, await failingPrefix(ledger, guesses));
  if (verified) {
    const finer = await trim(ledger, await refine(ledger, minimal, split));
    // A failing set that is known to be minimal says more than a smaller one that may be.
    if (finer.verified) minimal = finer.minimal;
  }
  const all = minimal.flat();
  const units: MinimumUnit[] = [];
  for (const unit of minimal)
    units.push({
      sites: unit,
      alone: await ledger.measure(unit),
      without: ledger.known(withoutPart(all, unit)),
    });
  units.sort((a, b) => rank(b.alone) - rank(a.alone));
  return { units, error: ledger.known(all)!, verified, cuts };
}

/** For ranking: NaN first, what was not measured last. */
function rank(error: number | undefined): number {
  return error === undefined ? -1 : Number.isFinite(error) ? error : Number.MAX_VALUE;
}

/**
 * Cuts the largest unit among those that should fail together, again and again, while enough is left to
 * verify the result. Largest first.
 */
async function cutLargest(
  ledger: TestLedger,
  all: readonly string[],
  split: Split,
  cuts: Minimum['cuts'],
  expected: ReadonlyMap<string, number> | undefined,
): Promise<readonly Guess[]> {
  const scale = rank(ledger.known(all)) / expectedOf(all, expected);
  let guesses: readonly Guess[] = [{ sites: all, error: rank(ledger.known(all)) }];
  for (;;) {
    const candidate = guesses.slice(0, enough(guesses, ledger.failAbove));
    const whole = candidate.find(({ sites }) => sites.length > 1);
    if (whole === undefined) break;
    const parts = split(whole.sites);
    // The dearest part, the one that begins first, is taken for what the others leave.
    const dearest = parts.reduce((a, b) => (ledger.price(b) > ledger.price(a) ? b : a));
    const measured = expected === undefined ? parts.filter((part) => part !== dearest) : [];
    const price = measured.reduce((sum, part) => sum + ledger.price(part), 0);
    const verifying = [
      ...candidate.filter((each) => each !== whole).map(({ sites }) => sites),
      dearest,
    ].reduce((sum, unit) => sum + ledger.reach(unit) + ledger.price(unit), SPARE_RUNS);
    if (price + verifying > ledger.left) break;
    for (const part of measured) await ledger.measure(part);
    const rest = measured.reduce((sum, part) => sum - rank(ledger.known(part)), whole.error);
    const found = parts.map((part): Guess => {
      const known = ledger.known(part);
      if (expected !== undefined && known === undefined)
        return { sites: part, error: scale * expectedOf(part, expected) };
      return { sites: part, error: known === undefined ? Math.max(0, rest) : rank(known) };
    });
    cuts.push({ whole: asUnit(whole.sites, ledger), parts: parts.map((part) => asUnit(part, ledger)) });
    // Sorting is stable: equals stay in the order of the model.
    guesses = guesses.flatMap((guess) => (guess === whole ? found : [guess])).sort(byError);
  }
  return guesses;
}

/**
 * What sites are thought to do together: the sum of what they do alone. What is not known counts as all that
 * the others do, so that it is tried first.
 */
function expectedOf(sites: readonly string[], expected: ReadonlyMap<string, number> = new Map()): number {
  const known = [...expected.values()].filter(Number.isFinite).reduce((sum, error) => sum + error, 0);
  return sites.reduce((sum, site) => {
    const error = expected.get(site) ?? 0;
    return sum + (Number.isFinite(error) ? error : known);
  }, Number.MIN_VALUE);
}

function byError(a: Guess, b: Guess): number {
  return b.error - a.error;
}

function asUnit(sites: readonly string[], ledger: TestLedger): Unit {
  return { sites, alone: ledger.known(sites) };
}

/** How many of the first units fail together, if errors add up. */
function enough(guesses: readonly Guess[], failAbove: number): number {
  let sum = 0;
  const last = guesses.findIndex(({ error }) => {
    sum += error;
    return sum > failAbove;
  });
  return last === -1 ? guesses.length : last + 1;
}

/** As few of the first units as fail together, or as are known to. */
async function failingPrefix(ledger: TestLedger, guesses: readonly Guess[]): Promise<Units> {
  const units = guesses.map(({ sites }) => sites);
  let passing = 0;
  let failing = units.length;
  let next = enough(guesses, ledger.failAbove);
  let step = 1;
  while (failing - passing > 1) {
    const at = Math.min(failing - 1, Math.max(passing + 1, next));
    const fails = await ledger.fails(units.slice(0, at).flat());
    if (fails === undefined) break;
    if (fails) failing = at;
    else passing = at;
    // The first guess is near: look beside it, further and further.
    next = fails ? at - step : at + step;
    if (next <= passing || next >= failing) next = (passing + failing) >> 1;
    step *= 2;
  }
  return units.slice(0, failing);
}

/** Share of the parts that a refinement keeps, for the estimate of what verifying it takes. */
const KEPT_SHARE = 0.75;

/**
 * Cuts all units of a failing set and drops the parts that are missed least, again and again, while enough is
 * left to verify the result.
 */
async function refine(ledger: TestLedger, units: Units, split: Split): Promise<Units> {
  let current = units;
  for (;;) {
    const parts = current.flatMap((unit) => (unit.length > 1 ? split(unit) : [unit]));
    const all = parts.flat();
    const price = parts.reduce((sum, part) => sum + ledger.price(withoutPart(all, part)), SPARE_RUNS);
    const verifying = parts.reduce((sum, part) => sum + KEPT_SHARE * ledger.reach(part), 0);
    if (parts.length === current.length || price + verifying > ledger.left) return current;
    const spare: Spare[] = [];
    for (const part of parts) {
      const left = await ledger.measure(withoutPart(all, part));
      if (left !== undefined && ledger.isFailing(left)) spare.push({ unit: part, left });
    }
    current = spare.length === 0 ? parts : await drop(ledger, parts, spare);
  }
}

/** A unit that the failing set does not need, and the error without it. */
interface Spare {
  unit: readonly string[];
  left: number;
}

/** Drops units without which the set still fails, until there are none. */
async function trim(ledger: TestLedger, units: Units): Promise<{ minimal: Units; verified: boolean }> {
  let minimal = units;
  for (;;) {
    const all = minimal.flat();
    const spare: Spare[] = [];
    for (const unit of minimal) {
      const left = await ledger.measure(withoutPart(all, unit));
      if (left === undefined) return { minimal, verified: false };
      if (ledger.isFailing(left)) spare.push({ unit, left });
    }
    if (spare.length === 0) return { minimal, verified: true };
    minimal = await drop(ledger, minimal, spare);
  }
}

/**
 * Drops as many spare units at once as leave a failing set, those that are missed least first: at least one.
 */
async function drop(ledger: TestLedger, units: Units, spare: Spare[]): Promise<Units> {
  const error = rank(ledger.known(units.flat()));
  spare.sort((a, b) => rank(b.left) - rank(a.left));
  let expected = error;
  const last = spare.findIndex(({ left }) => {
    expected -= Math.max(0, error - rank(left));
    return expected <= ledger.failAbove;
  });
  // Errors add up only nearly: where too many went, half of them may go.
  for (let count = last === -1 ? spare.length : Math.max(1, last); ; count = count >> 1) {
    const dropped = new Set(spare.slice(0, count).map(({ unit }) => unit));
    const rest = units.filter((unit) => !dropped.has(unit));
    if (count === 1 || (await ledger.fails(rest.flat())) === true) return rest;
  }
}

function withoutPart(all: readonly string[], part: readonly string[]): string[] {
  const removed = new Set(part);
  return all.filter((site) => !removed.has(site));
}
