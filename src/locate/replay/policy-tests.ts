import { createHash } from 'node:crypto';
import { MetricSums } from '../../diff/metrics.js';
import { badArgument, unmet, ZayascopeError } from '../../errors.js';
import type { Family } from '../../families/family.js';
import type { Policy } from '../../graph/policy.js';
import { architectureOf } from '../../models/architectures.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { configSha256, weightsSha256 } from '../../weights/identity.js';
import type { Oracle } from '../bisect/test-ledger.js';
import { openPolicyRunner, type PolicyRunner, type PolicyRunnerOptions } from './policy-runner.js';
import { policyDiff, type SiteDifference } from './policy-sites.js';

/** What is compared: two policies on one prompt of a model. */
export interface PolicyProblem {
  /** Model folder or GGUF file. */
  model: string;
  tokens: readonly number[];
  good: Policy;
  bad: Policy;
  /** Logits F32 [T, V] that errors are measured against; default: those of the good run. */
  reference?: Float32Array;
}

/** Runs of a model in which some sites are as in the bad policy and the others as in the good one. */
export interface PolicyTests extends Oracle, Disposable {
  readonly runner: PolicyRunner;
  readonly family: Family;
  /** The sites at which the policies differ. */
  readonly differences: readonly SiteDifference[];
  /** Everything that errors depend on. */
  identity(): Promise<unknown>;
  /** Energy NMSE of the logits with these sites bad; Infinity where they are not finite. */
  measure(sites: readonly string[]): Promise<number>;
  /**
   * Blocks that a run has to compute if states at block starts were kept of all sets that were {@link
   * measure}d or {@link note}d, by the blocks of the model.
   */
  price(sites: readonly string[]): number;
  /** Counts a set as measured without running it. */
  note(sites: readonly string[]): void;
  close(): void;
}

/**
 * Opens a model for such runs.
 * @throws what `openPolicyRunner` throws; `BAD_ARGUMENT` for policies that do not differ on the model,
 * `SHAPE_MISMATCH` for a reference of other sizes.
 */
export async function openPolicyTests(
  { model, tokens, good, bad, reference }: PolicyProblem,
  options: PolicyRunnerOptions = {},
): Promise<PolicyTests> {
  const runner = await openPolicyRunner(model, [good, bad], tokens, options);
  try {
    const { config, weights } = runner;
    const differing = new Map(
      policyDiff(good, bad, config, runner.tensors).map((difference) => [difference.site.name, difference]),
    );
    if (differing.size === 0)
      throw badArgument(
        'policies',
        'two that differ on the model',
        `${good.name} and ${bad.name}, which agree at every site`,
      );
    const rows = tokens.length * config.vocab_size;
    if (reference !== undefined && reference.length !== rows)
      throw unmet(
        'SHAPE_MISMATCH',
        'policies',
        `reference logits [${tokens.length}, ${config.vocab_size}]`,
        `${reference.length} values`,
        { tensor: 'lm_head' },
      );
    const [goodSetting, badSetting] = [settingOf(good, config), settingOf(bad, config)];
    const run = (sites: readonly string[]) => {
      const isBad = new Set(sites);
      return runner.run((site) => (isBad.has(site) ? badSetting : goodSetting)(site));
    };
    let logits = reference;
    const blocks = config.num_hidden_layers;
    const reached = new Set<string>();
    /** For each segment, what is bad before it. */
    const starts = (sites: readonly string[]): string[] => {
      const isBad = new Set(sites);
      const bySegment = Array.from({ length: blocks + 2 }, (): string[] => []);
      for (const [name, { site }] of differing)
        if (isBad.has(name)) for (const segment of site.segments) bySegment[segment]!.push(name);
      let before = '';
      return bySegment.map((names, segment) => {
        const key = `${segment} ${before}`;
        before += `${names.join(' ')}\n`;
        return key;
      });
    };
    const note = (sites: readonly string[]) => {
      for (const key of starts(sites)) reached.add(key);
    };
    return {
      runner,
      family: architectureOf(config).family,
      differences: [...differing.values()],
      async identity() {
        return {
          config: weights.source.metadata === undefined ? await configSha256(`${model}/config.json`) : config,
          weights: await weightsSha256(weights.checkpoint),
          tokens,
          good: good.rules,
          bad: bad.rules,
          device: runner.device,
          reference: reference === undefined ? null : bytesSha256(reference),
        };
      },
      async measure(sites) {
        logits ??= await run([]);
        const sums = new MetricSums();
        sums.add(logits, sites.length === 0 && reference === undefined ? logits : await run(sites));
        note(sites);
        const { nmse, nonFinite, nan, inf } = sums.metrics();
        // A search between runs needs one that is right: of a good run, and of a reference, nothing may be
        // NaN.
        if (nan.reference + inf.reference > 0 || (sites.length === 0 && nonFinite > 0))
          throw new ZayascopeError(
            'BAD_ARGUMENT',
            `policies: expected finite logits of ${reference !== undefined && nan.reference + inf.reference > 0 ? 'the reference' : `the good policy ${good.name}`}, got ${nan.tested + nan.reference} NaN and ${inf.tested + inf.reference} infinities`,
            { op: 'policies', tensor: 'lm_head' },
          );
        // One that is not finite fails at any threshold.
        return nonFinite > 0 ? Number.POSITIVE_INFINITY : nmse;
      },
      price(sites) {
        const keys = starts(sites);
        let segment = blocks + 1;
        while (segment > 0 && !reached.has(keys[segment]!)) segment--;
        return (blocks - Math.max(0, segment - 1)) / blocks;
      },
      reach(sites) {
        const first = Math.min(...sites.flatMap((name) => differing.get(name)!.site.segments));
        return (blocks - Math.max(0, first - 1)) / blocks;
      },
      note,
      close: runner.close,
      [Symbol.dispose]: runner.close,
    };
  } catch (error) {
    runner.close();
    throw error;
  }
}

function bytesSha256(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash('sha256').update(bytes).digest('hex');
}
