import { badArgument, ZayascopeError } from '../../errors.js';
import type { PolicySite } from '../../models/runtime/sites.js';
import type { PolicyRunnerOptions, RunCost } from '../replay/policy-runner.js';
import { groupSites } from '../replay/policy-sites.js';
import { openPolicyTests, type PolicyProblem, type PolicyTests } from '../replay/policy-tests.js';
import { deltaDebug, type Minimum, type MinimumUnit, type Unit } from './delta-debug.js';
import { siteSplitter } from './levels.js';
import { openBisectState } from './state.js';
import { type Oracle, TestLedger } from './test-ledger.js';

/** Options of {@link bisect}. */
export interface BisectOptions extends PolicyRunnerOptions {
  /**
   * A run with a larger energy NMSE of its logits fails. Default: half way from the good run's error to the
   * bad run's; the largest number where the bad run has NaN or infinities (an infinite error).
   */
  failAbove?: number;
  /**
   * Forward passes that the search may cost, at least 2; default 30. With too few the result is coarser, or
   * not verified.
   */
  maxPasses?: number;
  /**
   * What single sites do alone, as `expectedErrors` estimates it: the search takes its order from it.
   * Default: it measures the errors of groups.
   */
  expected?: ReadonlyMap<string, number>;
  /** JSON file that keeps the errors of runs: a bisect that was stopped goes on from there. */
  stateFile?: string;
  /** Called after each run: forward passes so far and at most. */
  onProgress?: (passes: number, maxPasses: number) => void;
  /** Stops the search (`CANCELLED`); the state file keeps what was measured. */
  signal?: AbortSignal;
}

/** A part of the minimal set. */
export interface BisectUnit {
  /** Tap pattern of exactly these sites. */
  pattern: string;
  sites: readonly string[];
  /** What the policies choose there. */
  good: string;
  bad: string;
  /** Error with these sites alone bad; null: the passes did not suffice. */
  alone: number | null;
  /** Error of the minimal set without them; null as before. */
  without: number | null;
}

/** Sites that were taken together on the way. */
export interface BisectPart {
  pattern: string;
  sites: number;
  /** Error with them alone bad; null: not measured, what the other parts left was taken for it. */
  alone: number | null;
}

/** Two parts of the minimal set whose errors together are not the sum of their own. */
export interface BisectInteraction {
  /** Patterns. */
  units: readonly [string, string];
  /** Error with both bad. */
  together: number;
  /**
   * {@link together} minus the errors of each alone: above 0 they add to each other, below 0 they cancel in
   * part.
   */
  excess: number;
}

/** What {@link bisect} gives. All errors are energy NMSEs of the logits. */
export interface BisectReport {
  good: { policy: string; error: number };
  bad: { policy: string; error: number };
  /** What errors are measured against. */
  against: 'good run' | 'reference';
  failAbove: number;
  /** How many sites the policies differ at, and where. */
  sites: number;
  groups: readonly string[];
  /** What was cut into what, with the error of each part alone; null where it was not measured. */
  cuts: readonly { whole: BisectPart; parts: readonly BisectPart[] }[];
  /**
   * `site`: {@link minimal} consists of single sites; `group`: some of its units are several, because more
   * passes would be needed.
   */
  level: 'site' | 'group';
  /** The minimal set, largest error alone first. */
  minimal: readonly BisectUnit[];
  /** Error with the minimal set bad. */
  error: number;
  /** True if the run without any one of the units passes; all were run. */
  verified: boolean;
  /** Among the largest units; those for which passes were left. Largest excess first. */
  interactions: readonly BisectInteraction[];
  cost: RunCost & {
    /** Errors taken from the state file. */
    resumed: number;
    /** Passes that the search has counted; equal for equal arguments, whatever was resumed. */
    countedPasses: number;
    maxPasses: number;
  };
}

/** Interactions are looked for among so many units. */
const INTERACTING = 6;

/**
 * Finds a smallest set of sites whose bad choices make a run fail: see `delta-debug.ts`. Deterministic for
 * equal arguments.
 *
 * @throws `BAD_ARGUMENT` if the policies do not differ, the good run fails or the bad one passes; `CANCELLED`
 * by the signal; what opening the model and the state file throw.
 */
export async function bisect(problem: PolicyProblem, options: BisectOptions = {}): Promise<BisectReport> {
  const { maxPasses = 30, stateFile, onProgress, signal } = options;
  if (!(maxPasses >= 2)) throw badArgument('bisect', 'at least 2 forward passes', maxPasses);
  using tests = await openPolicyTests(problem, options);
  const state = await openBisectState(stateFile, stateFile === undefined ? null : await tests.identity());
  const cancel = () => tests.runner.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    let spent = 0;
    const oracle: Oracle = {
      price: tests.price,
      reach: tests.reach,
      async measure(sites) {
        if (signal?.aborted)
          throw new ZayascopeError(
            'CANCELLED',
            `bisect: cancelled after ${spent.toFixed(1)} forward passes`,
            {
              op: 'bisect',
            },
          );
        spent += tests.price(sites);
        const kept = state.get(sites);
        const error = kept ?? (await tests.measure(sites));
        if (kept === undefined) await state.set(sites, error);
        else tests.note(sites);
        onProgress?.(spent, maxPasses);
        return error;
      },
    };
    const all = tests.differences.map(({ site }) => site.name);
    const [good, bad] = [await oracle.measure([]), await oracle.measure(all)];
    if (good === bad && !tests.runner.strictF32) throw vanished(tests.runner.device);
    // Half way to a run that is not finite is no number: then any finite one passes.
    const halfWay = Number.isFinite(bad) ? (good + bad) / 2 : Number.MAX_VALUE;
    const failAbove = options.failAbove ?? halfWay;
    const ledger = new TestLedger(
      oracle,
      failAbove,
      maxPasses,
      [
        [[], good],
        [all, bad],
      ],
      spent,
    );
    const minimum = await deltaDebug(ledger, all, siteSplitter(tests.family), options.expected);
    const interactions = await findInteractions(ledger, minimum, tests);
    return {
      good: { policy: problem.good.name, error: good },
      bad: { policy: problem.bad.name, error: bad },
      against: problem.reference === undefined ? 'good run' : 'reference',
      failAbove,
      sites: all.length,
      groups: patterns(all, tests),
      cuts: minimum.cuts.map(({ whole, parts }) => ({
        whole: describePart(whole, tests),
        parts: parts.map((part) => describePart(part, tests)),
      })),
      level: minimum.units.every(({ sites }) => sites.length === 1) ? 'site' : 'group',
      minimal: minimum.units.map((unit) => describeUnit(unit, tests)),
      error: minimum.error,
      verified: minimum.verified,
      interactions,
      cost: { ...tests.runner.cost, resumed: state.resumed, countedPasses: ledger.passes, maxPasses },
    };
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** A policy that rounds to F16 what the device rounds to F16 anyway changes nothing. */
function vanished(device: string): ZayascopeError {
  return badArgument(
    'bisect',
    `policies that give different logits on ${device}`,
    'the same ones: without --strict-f32 it rounds the F32 operands of products to F16 itself, so what a policy rounds there cannot show',
  );
}

async function findInteractions(
  ledger: TestLedger,
  { units }: Minimum,
  tests: PolicyTests,
): Promise<BisectInteraction[]> {
  const largest = units.slice(0, INTERACTING);
  const found: BisectInteraction[] = [];
  for (const [at, first] of largest.entries())
    for (const second of largest.slice(0, at)) {
      if (first.alone === undefined || second.alone === undefined) continue;
      const together = await ledger.measure([...first.sites, ...second.sites]);
      if (together === undefined) continue;
      const names = [second, first].map(({ sites }) => patterns(sites, tests).join(',')) as [string, string];
      found.push({ units: names, together, excess: together - first.alone - second.alone });
    }
  return found.sort((a, b) => Math.abs(b.excess) - Math.abs(a.excess));
}

function describePart({ sites, alone }: Unit, tests: PolicyTests): BisectPart {
  return { pattern: patterns(sites, tests).join(','), sites: sites.length, alone: alone ?? null };
}

function describeUnit({ sites, alone, without }: MinimumUnit, tests: PolicyTests): BisectUnit {
  const chosen = tests.differences.filter(({ site }) => sites.includes(site.name));
  const values = (pick: (difference: (typeof chosen)[number]) => string) =>
    [...new Set(chosen.map(pick))].join('/');
  return {
    pattern: patterns(sites, tests).join(','),
    sites,
    good: values(({ a }) => a),
    bad: values(({ b }) => b),
    alone: alone ?? null,
    without: without ?? null,
  };
}

/** Tap patterns of sites, one for each op. */
function patterns(sites: readonly string[], tests: PolicyTests): string[] {
  const byName = new Map<string, PolicySite>(tests.differences.map(({ site }) => [site.name, site]));
  return groupSites(sites.map((name) => byName.get(name)!)).map(({ pattern }) => pattern);
}
