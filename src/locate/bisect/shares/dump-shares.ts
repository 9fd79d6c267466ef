import type { DumpView } from '../../../dump/dump-view.js';
import { badArgument } from '../../../errors.js';
import { hasRole } from '../../../families/roles.js';
import type { Policy } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { dumpCalls } from '../../replay/calls.js';
import { graftTaps } from '../../replay/graft.js';
import { openPolicyRunner } from '../../replay/policy-runner.js';
import { backward } from './backward.js';
import { countFlips, pinChoices, type RememberedRun, rememberRun } from './forward.js';
import type { SharedRun, ShareOptions, ShareReport } from './shares.js';
import { cancelled, growth, nmseOf, SUM_TOLERANCE, siteEffects, timed, total } from './sums.js';

/** What a tested dump is held against. */
export interface DumpProblem {
  /** Model folder or GGUF file. */
  model: string;
  /** Of tier full; its first sequence, which must be one forward call from its start. */
  tested: DumpView;
  /** How the model is computed where it is right. */
  good: Policy;
  /** Logits F32 [T, V] that errors are measured against; default: those of the good run. */
  reference?: Float32Array | undefined;
}

/**
 * What each value of a tested dump adds to the error of its logits, to first order: its own error is what it
 * differs by from its op on the dump's own inputs. As {@link adjointShares}; with `auto` routing the good run
 * takes the dump's experts where the shares do not add up although experts differ.
 *
 * @throws as `adjointShares` does; `BAD_ARGUMENT` for a dump that is not of one call.
 */
export async function dumpShares(
  { model, tested, good, reference }: DumpProblem,
  { routing = 'auto', onProgress, signal, ...options }: Omit<ShareOptions, 'probes'> = {},
): Promise<ShareReport> {
  const calls = (await dumpCalls(tested)).filter(({ sequence }) => sequence === 0);
  const [call] = calls;
  if (call === undefined || calls.length > 1)
    throw badArgument(
      'attribute',
      'a first sequence of one forward call',
      `${calls.length} calls`,
      tested.dir,
    );
  const { tokens } = call;
  using runner = await openPolicyRunner(model, [good], tokens, options);
  const cancel = () => runner.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    const { config, segments } = runner;
    const { family } = architectureOf(config);
    const setting = settingOf(good, config);
    const replacement = graftTaps({ dump: tested });
    const remember = (with_?: Parameters<typeof rememberRun>[4]) =>
      timed(() => rememberRun(segments, family, tokens, setting, with_, signal));
    const [right, goodSeconds] = await remember();
    const [run, badSeconds] = await remember(replacement);
    // What the dump holds is what was chosen; what it lacks, its own probabilities choose.
    const choices = new Map(run.choices);
    for (const { name } of tested.taps)
      if (hasRole(family, 'router.expert', name) && choices.has(name))
        choices.set(name, Int32Array.from((await tested.read(name, { sequence: 0 })).data as Int32Array));
    const cost = { goodSeconds, badSeconds, shareSeconds: 0, probeSeconds: 0, graphBytes: 0 };
    const flips = countFlips(right.choices, choices, tokens.length);
    const share = async (from: RememberedRun, pinned: boolean): Promise<SharedRun> => {
      const target = reference ?? from.logits;
      const { seed, energy } = growth(from.logits, run.logits, target, 'the tested dump', good.name);
      const [back, seconds] = await timed(() =>
        backward({
          segments,
          tokens,
          run,
          replacement,
          judgesGiven: true,
          sites: [],
          setting: () => setting,
          seeds: [seed],
          signal,
          onSegment: onProgress,
        }),
      );
      cost.shareSeconds += seconds;
      cost.graphBytes = Math.max(cost.graphBytes, back.graphBytes);
      const sites = [...siteEffects(back.effects)].map(([site, { sums }]) => ({
        site,
        share: total(sums[0]) / energy,
        alone: null,
        together: [],
        chooses: false,
      }));
      const sum = total(sites.map((each) => each.share));
      const error = nmseOf(target, run.logits, 'the tested dump');
      return { pinned, error, flips, sum, holds: Math.abs(sum - 1) <= SUM_TOLERANCE, sites };
    };
    const pinnedGood = async () => (await remember(pinChoices(choices)))[0];
    const own = await share(routing === 'pinned' ? await pinnedGood() : right, routing === 'pinned');
    const isRepeated = routing === 'auto' && !own.holds && flips > 0;
    return {
      family: family.name,
      subject: 'dump',
      good: { policy: good.name, error: nmseOf(reference ?? right.logits, right.logits, good.name) },
      bad: { policy: tested.dir, error: nmseOf(reference ?? right.logits, run.logits, 'the tested dump') },
      against: reference === undefined ? 'good run' : 'reference',
      run: isRepeated ? await share(await pinnedGood(), true) : own,
      free: isRepeated ? own : null,
      cost,
    };
  } catch (error) {
    throw cancelled(error, signal);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
