import { badArgument } from '../../../errors.js';
import { architectureOf } from '../../../models/architectures.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { openPolicyRunner, type PolicyRunnerOptions } from '../../replay/policy-runner.js';
import { policyDiff } from '../../replay/policy-sites.js';
import type { PolicyProblem } from '../../replay/policy-tests.js';
import { aloneErrors } from './alone.js';
import { backward } from './backward.js';
import { type Choices, countFlips, pinChoices, rememberRun } from './forward.js';
import { cancelled, energyOf, growth, nmseOf, SUM_TOLERANCE, siteEffects, timed, total } from './sums.js';

/** Options of {@link adjointShares}. */
export interface ShareOptions extends PolicyRunnerOptions {
  /**
   * `auto` (default): the bad run chooses its own experts, and where its shares do not add up although it
   * chose others, it takes the good run's; `pinned`: it takes the good run's; `free`: its own.
   */
  routing?: 'auto' | 'pinned' | 'free';
  /**
   * Random directions from which the error that each site makes alone is estimated, each about the cost of a
   * way back; default 2. 0: not at all.
   */
  probes?: number;
  /** Called after each segment on the way back: how many are done, of how many of this way. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the work (`CANCELLED`). */
  signal?: AbortSignal;
}

/** What a site does to the error. */
export interface SiteShare {
  site: string;
  /**
   * Signed share of the error: 0.2 is a fifth of it, what is below 0 cancels errors of others. To first
   * order, on the bad run.
   */
  share: number;
  /**
   * Energy NMSE of the logits with this site alone bad, to first order and estimated from random directions;
   * null without probes.
   */
  alone: number | null;
  /** Other sites that are in this share, because no policy has the weights of one alone. */
  together: readonly string[];
  /** True if it changes which experts are chosen, which no gradient sees. */
  chooses: boolean;
}

/** One run with bad choices and where its error comes from. */
export interface SharedRun {
  /** True if it took the good run's experts; of a dump: if the good run took the dump's. */
  pinned: boolean;
  /** Energy NMSE of its logits. */
  error: number;
  /** Tokens, over all blocks, whose own choice of experts differs from the good run's. */
  flips: number;
  /** The shares added up. */
  sum: number;
  /** True if the sum is within {@link SUM_TOLERANCE} of 1: then the shares are an account of the error. */
  holds: boolean;
  /** In the order of the model. */
  sites: readonly SiteShare[];
}

/** What {@link adjointShares} gives. */
export interface ShareReport {
  /** Family of the model, by name. */
  family: string;
  /** Whose errors: sites at which two policies differ, or values (by tap) of a tested dump. */
  subject: 'policies' | 'dump';
  good: { policy: string; error: number };
  bad: { policy: string; error: number };
  against: 'good run' | 'reference';
  /** The run whose shares are to be read. */
  run: SharedRun;
  /** The run with free routing before it, where its shares did not add up. */
  free: SharedRun | null;
  cost: {
    /**
     * Seconds, building of graphs included: the good run, the bad one, ways back for shares and for probes.
     */
    goodSeconds: number;
    badSeconds: number;
    shareSeconds: number;
    probeSeconds: number;
    /** Bytes of the values of the largest graph. */
    graphBytes: number;
  };
}

/**
 * What each site at which two policies differ does to the difference of the logits, to first order, from one
 * way back through the bad run: see `docs/attribution.md`.
 *
 * The error is ‖bad − reference‖² − ‖good − reference‖², the good run being the reference by default. It is
 * ⟨bad − good, good + bad − 2 · reference⟩ exactly, and bad − good is, to first order, the sum of what each
 * site's own error becomes on its way to the logits.
 *
 * @throws what `openPolicyRunner` throws; `BAD_ARGUMENT` for policies that do not differ, for logits that are
 * not finite and for a bad run that is no worse than the good one; `CANCELLED` by the signal.
 */
export async function adjointShares(
  { model, tokens, good, bad, reference }: PolicyProblem,
  { routing = 'auto', probes: count = 2, onProgress, signal, ...options }: ShareOptions = {},
): Promise<ShareReport> {
  using runner = await openPolicyRunner(model, [good, bad], tokens, options);
  const cancel = () => runner.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    const { config, segments } = runner;
    const { family } = architectureOf(config);
    const sites = policyDiff(good, bad, config, runner.tensors).map(({ site }) => site);
    if (sites.length === 0)
      throw badArgument(
        'attribute',
        'policies that differ on the model',
        `${good.name} and ${bad.name}, which agree at every site`,
      );
    const [goodSetting, badSetting] = [settingOf(good, config), settingOf(bad, config)];
    const common = {
      segments,
      tokens,
      sites,
      setting: (bad: ReadonlySet<string>) => (site: string) =>
        (bad.has(site) ? badSetting : goodSetting)(site),
      signal,
      onSegment: onProgress,
    };
    const [right, goodSeconds] = await timed(() =>
      rememberRun(segments, family, tokens, goodSetting, undefined, signal),
    );
    const target = reference ?? right.logits;
    const cost = { goodSeconds, badSeconds: 0, shareSeconds: 0, probeSeconds: 0, graphBytes: 0 };
    const share = async (pins: Choices | undefined): Promise<SharedRun> => {
      const replacement = pins && pinChoices(pins);
      const [run, badSeconds] = await timed(() =>
        rememberRun(segments, family, tokens, badSetting, replacement, signal),
      );
      const error = nmseOf(target, run.logits, bad.name);
      const { seed, energy } = growth(right.logits, run.logits, target, bad.name, good.name);
      const [back, shareSeconds] = await timed(() =>
        backward({ ...common, run, replacement, seeds: [seed] }),
      );
      cost.badSeconds += badSeconds;
      cost.shareSeconds += shareSeconds;
      cost.graphBytes = Math.max(cost.graphBytes, back.graphBytes);
      const effects = siteEffects(back.effects);
      const shares = sites.map(({ name }) => ({
        site: name,
        share: total(effects.get(name)?.sums[0]) / energy,
        alone: null,
        together: effects.get(name)?.together ?? [],
        chooses: back.choosing.has(name),
      }));
      const sum = shares.reduce((all, { share }) => all + share, 0);
      const flips = countFlips(right.choices, run.choices, tokens.length);
      const holds = Math.abs(sum - 1) <= SUM_TOLERANCE;
      return { pinned: pins !== undefined, error, flips, sum, holds, sites: shares };
    };
    const own = await share(routing === 'pinned' ? right.choices : undefined);
    const isRepeated = routing === 'auto' && !own.holds && own.flips > 0;
    const run = isRepeated ? await share(right.choices) : own;
    const alone = await timed(() => aloneErrors(count, { ...common, run: right }, energyOf(target)));
    if (count > 0) cost.probeSeconds = alone[1];
    return {
      family: family.name,
      subject: 'policies',
      good: { policy: good.name, error: nmseOf(target, right.logits, good.name) },
      bad: { policy: bad.name, error: own.error },
      against: reference === undefined ? 'good run' : 'reference',
      run: {
        ...run,
        sites: run.sites.map((each) => ({ ...each, alone: alone[0]?.errors.get(each.site) ?? each.alone })),
      },
      free: isRepeated ? own : null,
      cost,
    };
  } catch (error) {
    throw cancelled(error, signal);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
