import type { DumpView } from '../../dump/dump-view.js';
import type { Family } from '../../families/family.js';
import { hasRole } from '../../families/roles.js';
import { type Policy, SITE_KINDS, siteKind } from '../../graph/policy.js';
import { architectureOf } from '../../models/architectures.js';
import { exampleConfig } from '../../models/example.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { weightSite } from '../../models/runtime/loader.js';
import { siteTaps } from '../../models/runtime/site-taps.js';
import { modelSites, type PolicySite } from '../../models/runtime/sites.js';
import { traceModel } from '../../models/runtime/trace.js';
import { flashErrors } from '../causes/flash-attention.js';
import { tapPlace } from '../replay/tap-graph.js';
import { storedProducts } from './dtypes/stored-types.js';
import { halfAttention } from './ggml/half-attention.js';
import { halfSums } from './ggml/half-sums.js';
import { type LocalOptions, localErrors } from './local.js';
import { choiceSentence, halfAttentionSentence, halfSumsSentence } from './plain-words.js';
import type { LocatedKind } from './report.js';
import type { PolicyRunners } from './runners.js';

/** An own error must fall to a hundredth of its energy for a choice to explain it. */
const EXPLAINS = 0.01;
/** Kinds of op that are explained, and choices tried for each. */
const MAX_KINDS = 8;
const MAX_CHOICES = 12;

/** A choice that may explain an op, as a rule of a policy. */
export interface Hypothesis {
  sites: string;
  set: string;
}

/**
 * Tries whether a known choice of dtype or form explains ops at fault: each is recomputed from the tested
 * dump's inputs under `base` with that choice, and where that leaves less than a hundredth of its own error,
 * the choice is named. One replay serves one choice of every kind at once, for each op reads the dump's
 * values.
 * @returns sentences by kind of op; kinds that nothing explains are absent.
 */
export async function explainFaults(
  { runners, base, holds }: { runners: PolicyRunners; base: Policy; holds: (name: string) => boolean },
  tested: DumpView,
  kinds: readonly LocatedKind[],
  hooks: Pick<LocalOptions, 'signal' | 'onProgress'>,
): Promise<Map<string, string>> {
  const { config } = runners.model!;
  const sites = modelSites(config);
  const shows = shownAt(config);
  const { family } = architectureOf(config);
  const isProduct = storedProducts(config);
  const open = kinds
    .slice(0, MAX_KINDS)
    .map((kind) => ({ kind, left: hypotheses(kind.inside, sites, shows) }));
  const explained = new Map<string, string>();
  for (let round = 0; round < MAX_CHOICES; round++) {
    const trying = open.filter(({ kind, left }) => left[round] !== undefined && !explained.has(kind.kind));
    if (trying.length === 0) break;
    const choices = trying.map(({ left }) => left[round]!);
    const rules = [...base.rules, ...choices];
    const runner = await runners.use({ name: 'hypothesis', description: 'choices under test', rules });
    const local = await localErrors(runner, tested, { right: 'computed', holds, ...hooks });
    for (const [index, { kind }] of trying.entries()) {
      const left = local.get(kind.worst)!.nmse;
      if (!(left < EXPLAINS * kind.largest)) continue;
      const { sites: site, set } = choices[index]!;
      const sentence = choiceSentence(siteKind(site), set, kind.kind, family);
      explained.set(kind.kind, `${sentence}${fallen(kind, left, family)}`);
    }
  }
  const names = family.attention;
  const attention = open.find(
    ({ kind }) => kind.inside.join() === `${names?.weights},${names?.output}` && !explained.has(kind.kind),
  );
  if (names !== undefined && attention !== undefined) {
    const errors = await flashErrors(tested, tapPlace(attention.kind.worst).block!, names);
    if (errors !== undefined && errors.flash < EXPLAINS * errors.exact)
      explained.set(
        attention.kind.kind,
        `flash attention over an F16 cache rounds keys, queries, values and the sum of the weighted values to F16: recomputed so, ${errors.isAll ? 'its error' : `the error of the first ${errors.rows} positions`} falls from ${errors.exact.toExponential(1)} to ${errors.flash.toExponential(1)}.`,
      );
  }
  for (const { kind } of open) {
    const part = (['weights', 'output'] as const).find((each) => kind.inside.join() === names?.[each]);
    if (explained.has(kind.kind) || names === undefined || part === undefined) continue;
    const sums = await halfAttention(tested, tapPlace(kind.worst).block!, names, part, EXPLAINS);
    if (sums !== null) explained.set(kind.kind, halfAttentionSentence(kind.kind, sums, family));
  }
  for (const { kind } of open) {
    if (explained.has(kind.kind) || kind.inside.length > 1 || !isProduct(kind.worst)) continue;
    const sums = await halfSums(runners.model!, base, tested, kind.worst);
    if (sums !== null) explained.set(kind.kind, halfSumsSentence(kind.kind, sums, family));
  }
  return explained;
}

function fallen({ worst, largest }: LocatedKind, left: number, family: Family): string {
  const what = hasRole(family, 'router.expert', worst) ? 'its share of wrong choices' : 'its error';
  return `: recomputed so, ${what} falls from ${largest.toExponential(1)} to ${left === 0 ? '0' : left.toExponential(1)}.`;
}

/**
 * Where choices show that are no rounding of a value by their own name: by site, the taps, both without their
 * block.
 */
function shownAt(config: ModelConfig): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [site, taps] of siteTaps(exampleConfig(config.model_type)))
    if (siteKind(site) !== 'round')
      found.set(
        tapPlace(site).suffix,
        taps.map((tap) => tapPlace(tap).suffix),
      );
  // A weight shows in the products with it, whatever it is called: of experts, of a head that is tied to the
  // embedding.
  for (const [tap, weights] of traceModel(config).products)
    for (const weight of weights) {
      const site = tapPlace(weightSite(weight)).suffix;
      found.set(site, [...new Set([...(found.get(site) ?? []), tapPlace(tap).suffix])]);
    }
  return found;
}

/** Choices that change an op, or one inside its span, likelier ones first. */
export function choicesInside(inside: readonly string[], config: ModelConfig): Hypothesis[] {
  return hypotheses(inside, modelSites(config), shownAt(config)).slice(0, MAX_CHOICES);
}

/** As {@link choicesInside}. */
function hypotheses(
  inside: readonly string[],
  sites: readonly PolicySite[],
  shows: ReadonlyMap<string, readonly string[]>,
): Hypothesis[] {
  const found = new Map<string, Hypothesis>();
  for (const { name, kind: choice, block, values } of sites) {
    const suffix = block === null ? name : tapPlace(name).suffix;
    const places = shows.get(suffix) ?? [suffix.slice(0, suffix.lastIndexOf('#'))];
    // Parts of an op are named after it, e.g. `.input_layernorm:normalised`.
    const isInside = inside.some((kind) =>
      places.some((at) => at === kind || (kind !== '' && at.startsWith(`${kind}:`))),
    );
    if (!isInside) continue;
    // Rounded weights and types of whole files change every op at once: see `dtypes/stored-types.ts`.
    const sets = choice === 'parameters' ? [] : choice === 'weight' ? ['stored'] : values.slice(1);
    for (const set of sets)
      found.set(`${suffix} ${set}`, { sites: block === null ? suffix : `layers.*${suffix}`, set });
  }
  const order = Object.keys(SITE_KINDS);
  const last = (each: Hypothesis) =>
    siteKind(each.sites) === 'round' ? order.length : order.indexOf(siteKind(each.sites));
  return [...found.values()].sort((a, b) => last(a) - last(b));
}
