import { architectureOf } from '../../../models/architectures.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { openPolicyRunner } from '../../replay/policy-runner.js';
import { policyDiff } from '../../replay/policy-sites.js';
import type { PolicyProblem } from '../../replay/policy-tests.js';
import { type BackwardQuestion, backward } from './backward.js';
import { rememberRun } from './forward.js';
import type { ShareOptions } from './shares.js';
import { cancelled, energyOf, probes, siteEffects } from './sums.js';

/** What each site does alone, estimated. */
export interface AloneErrors {
  /** By site, the energy NMSE that it makes alone. */
  errors: ReadonlyMap<string, number>;
  /** Sites that change which experts are chosen, which no gradient sees. */
  choosing: ReadonlySet<string>;
}

/**
 * By site, the energy NMSE that it makes alone. The squares of what arrives from a random direction are, in
 * the mean, the energy of the error; rows are squared one by one, for their errors hardly know of each other.
 *
 * @param count directions; 0 gives undefined. @param energy of the logits that errors are measured against.
 */
export async function aloneErrors(
  count: number,
  question: Omit<BackwardQuestion, 'seeds' | 'around'>,
  energy: number,
): Promise<AloneErrors | undefined> {
  if (count === 0) return undefined;
  const seeds = probes(count, question.run.logits.length);
  const { effects, choosing } = await backward({ ...question, around: 'good', seeds });
  const errors = new Map(question.sites.map(({ name }) => [name, 0]));
  for (const [site, { sums }] of siteEffects(effects))
    errors.set(site, sums.flat().reduce((sum, row) => sum + row * row, 0) / count / energy);
  return { errors, choosing };
}

/**
 * What each site at which two policies differ does alone, for the order of a bisect: from one run and one way
 * back for each of `probes` directions (default 4). Of sites that change a choice it is infinite: what they
 * do is not known.
 * @throws as `adjointShares` does.
 */
export async function expectedErrors(
  { model, tokens, good, bad, reference }: PolicyProblem,
  { probes: count = 4, onProgress, signal, ...options }: Omit<ShareOptions, 'routing'> = {},
): Promise<ReadonlyMap<string, number>> {
  using runner = await openPolicyRunner(model, [good, bad], tokens, options);
  const cancel = () => runner.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    const { config, segments } = runner;
    const [goodSetting, badSetting] = [settingOf(good, config), settingOf(bad, config)];
    const { family } = architectureOf(config);
    const run = await rememberRun(segments, family, tokens, goodSetting, undefined, signal);
    const question = {
      segments,
      tokens,
      run,
      sites: policyDiff(good, bad, config, runner.tensors).map(({ site }) => site),
      setting: (bad: ReadonlySet<string>) => (site: string) =>
        (bad.has(site) ? badSetting : goodSetting)(site),
      signal,
      onSegment: onProgress,
    };
    const found = await aloneErrors(Math.max(1, count), question, energyOf(reference ?? run.logits));
    const { errors, choosing } = found!;
    return new Map(
      [...errors].map(([site, error]) => [site, choosing.has(site) ? Number.POSITIVE_INFINITY : error]),
    );
  } catch (error) {
    throw cancelled(error, signal);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
