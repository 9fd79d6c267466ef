import { ZayascopeError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import { type Policy, resolvePolicy, SITE_KINDS, type SiteKind, siteKind } from '../../graph/policy.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { patternGlobs, tapPattern } from '../../tap-pattern.js';
import { NO_TAPS } from '../runtime/tap.js';
import { convChannels, convStateLength, routerClasses, type ZayaConfig } from './config.js';
import type { ZayaContext } from './module.js';
import { buildSegment } from './segments.js';
import { type RequiredTensor, requiredTensors } from './weights.js';

/** A place of a model at which a policy chooses. */
export interface PolicySite {
  /** E.g. `layers.3.self_attn.o_proj#round`. */
  name: string;
  kind: SiteKind;
  /** Decoder block, or null for embedding and head. */
  block: number | null;
  /** Segments whose graphs depend on the choice: 0 the embedding, 1 … L the blocks, L + 1 the head. A tied embedding weight has two. */
  segments: readonly number[];
  /** What it can be set to; the first is what holds where no rule says otherwise. */
  values: readonly string[];
}

/** Tokens of the graphs that are built to see what they ask for: the fewest with a token before another. */
const TOKENS = 2;

/**
 * All sites of a model, in the order in which its graphs ask for them. They are found by building the graphs (which needs neither weights nor native code), so there is no list of
 * them to keep up to date.
 *
 * @param tensors what the checkpoint has; default: what the configuration requires. A head of its own makes a difference.
 */
export function zayaSites(
  config: ZayaConfig,
  tensors: readonly RequiredTensor[] = requiredTensors(config),
): PolicySite[] {
  const weights = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const blocks = config.num_hidden_layers;
  const found = new Map<string, PolicySite & { segments: number[] }>();
  for (let segment = 0; segment <= blocks + 1; segment++) {
    const setting = (name: string): string => {
      const kind = siteKind(name);
      const site = found.get(name);
      if (site === undefined) {
        const block = segment >= 1 && segment <= blocks ? segment - 1 : null;
        found.set(name, { name, kind, block, segments: [segment], values: SITE_KINDS[kind] });
      } else if (site.segments.at(-1) !== segment) site.segments.push(segment);
      return SITE_KINDS[kind][0];
    };
    buildSegment(segment, { blocks, batch: 1, tokens: TOKENS, logits: 'all' }, (graph) =>
      graphContext(graph, config, weights, setting),
    );
  }
  return [...found.values()];
}

/**
 * Refuses a policy with a rule that matches no site of the model, and one that is a list of globs of which one matches none (`BAD_ARGUMENT`): a typing error would otherwise change
 * nothing without a word. Also refuses a value that a site of the rule does not take, unless a later rule sets it.
 */
export function checkPolicy(policy: Policy, config: ZayaConfig, tensors?: readonly RequiredTensor[]): void {
  const sites = zayaSites(config, tensors);
  for (const [index, { sites: pattern }] of policy.rules.entries())
    for (const glob of patternGlobs(pattern)) {
      const matches = tapPattern(glob);
      if (!sites.some(({ name }) => matches(name)))
        throw new ZayascopeError(
          'BAD_ARGUMENT',
          `checkPolicy: expected rules that match a site of the model (\`zayascope policy show f32 --model MODEL\` lists them), got ${glob} in rule ${index} (${policy.name})`,
          { op: 'checkPolicy' },
        );
    }
  const setting = resolvePolicy(policy);
  for (const { name, values } of sites)
    if (!values.includes(setting(name)))
      throw new ZayascopeError(
        'BAD_ARGUMENT',
        `checkPolicy: expected one of ${values.join(', ')} for ${name}, got ${setting(name)} (${policy.name})`,
        { op: 'checkPolicy' },
      );
}

/** Everything the model file reads, as leaves of the right shape without memory. */
function graphContext(
  graph: Graph,
  config: ZayaConfig,
  weights: ReadonlyMap<string, readonly number[]>,
  setting: (site: string) => string,
): ZayaContext {
  const half = (config.num_key_value_heads * config.head_dim) / 2;
  const classes = routerClasses(config);
  const shapes: Record<string, readonly number[]> = {
    hidden: [TOKENS, config.hidden_size],
    router: [TOKENS, config.router_hidden_size],
    mask: [TOKENS, TOKENS],
    cos: [TOKENS, 1, config.head_dim],
    sin: [TOKENS, 1, config.head_dim],
    expert_keep: [classes, 1],
    conv_state: [1, convStateLength(config), convChannels(config)],
    delayed_state: [1, 1, half],
  };
  const leaves = new Map<string, ResidentTensor>();
  const leaf = (name: string, shape: readonly number[], dtype: 'F32' | 'I32' = 'F32') => {
    let memory = leaves.get(name);
    if (memory === undefined) {
      memory = { name, dtype, shape } as ResidentTensor; // nothing reads a leaf's memory until a graph is compiled
      leaves.set(name, memory);
    }
    return graph.resident(memory);
  };
  return {
    graph,
    config,
    setting,
    taps: NO_TAPS,
    batch: 1,
    weight: (name) => leaf(name, weights.get(name)!),
    hasWeight: (name) => weights.has(name),
    state: (name) => leaf(name, shapes[name]!),
    constant: (name) => (name === 'expert_ids' ? leaf(name, [classes, 1], 'I32') : leaf(name, shapes[name]!)),
    padding: undefined,
    history: (_, name) => leaf(name, shapes[name]!),
    cache: undefined,
  };
}
