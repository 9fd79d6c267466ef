import { badArgument } from '../../errors.js';
import { type Policy, parametersSite, type Setting, SITE_KINDS } from '../../graph/policy.js';
import { patternGlobs, tapPattern } from '../../tap-pattern.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import type { ModelConfig } from './architecture.js';
import { modelPolicy, presetRuleCount, settingOf } from './model-policy.js';
import { type PolicySite, traceModel } from './trace.js';
import type { RequiredTensor } from './weights.js';

export type { PolicySite } from './trace.js';

/**
 * All sites of a model, in the order in which its graphs ask for them.
 *
 * @param tensors what the checkpoint has; default: what the configuration requires. A head of its own makes a
 * difference.
 */
export function modelSites(
  config: ModelConfig,
  tensors?: readonly (RequiredTensor & { info?: TensorInfo })[],
): readonly PolicySite[] {
  if (tensors === undefined) return traceModel(config).sites;
  const { sites } = traceModel(config, { hasHead: tensors.some(({ name }) => name === 'lm_head.weight') });
  return sites.flatMap((site) => {
    if (site.kind !== 'parameters') return [site];
    const values = roundings(site.name, tensors);
    return values.length > 1 ? [{ ...site, values }] : [];
  });
}

/**
 * What rounding stored weights may choose: only dtypes that change some of them. All where the checkpoint is
 * not known.
 */
function roundings(
  site: string,
  tensors: readonly (RequiredTensor & { info?: TensorInfo })[],
): readonly string[] {
  const [stored, ...dtypes] = SITE_KINDS.parameters;
  const rounded = tensors.filter(({ name, role }) => role !== 'buffer' && parametersSite(name) === site);
  const changes = (dtype: string) => rounded.some(({ info }) => info?.dtype !== dtype);
  return [stored, ...dtypes.filter(changes)];
}

/** What a setting chooses at a site. Weights that are stored in a dtype already are not rounded to it. */
export function siteChoice({ name, kind, values }: PolicySite, setting: Setting): string {
  const choice = setting(name);
  return kind === 'parameters' && !values.includes(choice) ? values[0]! : choice;
}

/**
 * Refuses a policy with a rule that matches no site of the model, and one that is a list of globs of which
 * one matches none (`BAD_ARGUMENT`): a typing error would otherwise change nothing without a word. The rules
 * of a preset, also of one that the policy extends, may: they are for every model of a family, with experts
 * or without. Also refuses a preset of another family, and a value that a site of the rule does not take,
 * unless a later rule sets it.
 */
export function checkPolicy(policy: Policy, config: ModelConfig, tensors?: readonly RequiredTensor[]): void {
  const sites = modelSites(config, tensors);
  const own = modelPolicy(policy, config);
  const written = presetRuleCount(own);
  for (const [index, { sites: pattern }] of [...own.rules.entries()].slice(written))
    for (const glob of patternGlobs(pattern)) {
      const matches = tapPattern(glob);
      // A checkpoint whose weights are stored so has no site of this kind.
      if (!glob.endsWith('#parameters') && !sites.some(({ name }) => matches(name)))
        throw badArgument(
          'checkPolicy',
          'rules that match a site of the model (`zayascope policy show f32 --model MODEL` lists them)',
          `${glob} in rule ${index - written}`,
          policy.name,
        );
    }
  const setting = settingOf(policy, config);
  for (const site of sites) {
    const { name, values } = site;
    if (!values.includes(siteChoice(site, setting)))
      throw badArgument('checkPolicy', `one of ${values.join(', ')} for ${name}`, setting(name), policy.name);
  }
}
