import { badArgument } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import type { Graph } from '../../graph/graph.js';
import { type Policy, parametersSite, requireNearest, type Setting } from '../../graph/policy.js';
import { ResidentMemory } from '../../graph/resident.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { allocateStates } from '../../models/runtime/cache.js';
import type { CallSizes } from '../../models/runtime/call-sizes.js';
import { memoryOf, modelContexts } from '../../models/runtime/context.js';
import { allocateInputs, type Boundary, readBoundary, writeBoundary } from '../../models/runtime/inputs.js';
import { loadWeights, type ModelWeights, weightSite } from '../../models/runtime/loader.js';
import { openModel } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { buildSegment, LOGITS } from '../../models/runtime/segments.js';
import { modelSites, type PolicySite, siteChoice } from '../../models/runtime/sites.js';
import { NO_TAPS, type Taps } from '../../models/runtime/tap.js';
import { checkTokenIds } from '../../models/runtime/token-ids.js';
import { checkWeights, type RequiredTensor } from '../../models/runtime/weights.js';
import { RecentlyUsed } from './recently-used.js';
import { SegmentGraphs } from './segment-graphs.js';

/** Options of {@link openPolicyRunner}. */
export interface PolicyRunnerOptions {
  /** Backend or device name. Default `cpu`. */
  backend?: string;
  /** CPU threads; default as in `openModel`. */
  threads?: number;
  /** Memory for states at the starts of segments, in bytes; default 512 MiB. */
  stateBytes?: number;
  /** Memory for compiled segments, in bytes; default 512 MiB. One is kept whatever its size. */
  graphBytes?: number;
}

/** What runs have cost. */
export interface RunCost {
  /** Runs asked for. */
  runs: number;
  /** Blocks computed, over all runs; a whole run computes every block of the model. */
  blockRuns: number;
  /** {@link blockRuns} by the blocks of the model. */
  forwardPasses: number;
}

/** Runs one prompt under any mixture of policies, computing only what differs from earlier runs. */
export interface PolicyRunner extends Disposable {
  readonly config: ModelConfig;
  readonly sites: readonly PolicySite[];
  /** What the checkpoint has of what the model needs. */
  readonly tensors: readonly RequiredTensor[];
  /** Name of the device. */
  readonly device: string;
  /** False if the device may round F32 operands of products: see `Backend.strictF32`. */
  readonly strictF32: boolean;
  readonly weights: ModelWeights;
  readonly cost: Readonly<RunCost>;
  /** For runs that watch or change what happens in a segment. */
  readonly segments: RunnerSegments;
  /**
   * Logits F32 [T, V] of the prompt under a setting, bit-equal to a whole run. At each site it must choose
   * what one of the runner's policies chooses (`BAD_ARGUMENT` for a weight that was not loaded so). Runs must
   * not overlap.
   */
  run(setting: Setting): Promise<Float32Array>;
  /** Stops the run in progress (`CANCELLED`). */
  cancel(): void;
  close(): void;
}

/** The segments of a runner's model, for who runs them one by one. */
export interface RunnerSegments {
  readonly backend: Backend;
  /** 0 the embedding, whose input `tokens` is to be filled; the last is the head. */
  readonly count: number;
  /** Throws `BAD_ARGUMENT` for weights that none of the policies has so. */
  build(segment: number, setting: Setting, taps?: Taps): Graph;
  /** Resolves when the segment's weights are in place. */
  ensure(segment: number): Promise<void>;
  /** What the segment that ran last hands on, and the memory of each state by its name. */
  readBoundary(): Boundary;
  writeBoundary(boundary: Boundary): void;
  readonly states: ReadonlyMap<string, ResidentTensor>;
}

/** Weights as one policy wants them. */
interface WeightSet {
  weights: ModelWeights;
  setting: Setting;
}

/**
 * Loads a model for runs under mixtures of `policies`. Weights are loaded once, and again for each policy
 * that wants other dtypes.
 *
 * What the model hands on (its `states`) at the start of each segment are kept under the choices at all sites
 * before it, so that a run starts at the first segment that no earlier run has reached with the same choices.
 * Graphs of segments are kept the same way.
 *
 * @param tokens one prompt. @throws what `openModel` throws; `BAD_ARGUMENT` for no policy, one that rounds
 * stochastically, no token, or ids outside the vocabulary.
 */
export async function openPolicyRunner(
  path: string,
  policies: readonly Policy[],
  tokens: readonly number[],
  options: PolicyRunnerOptions = {},
): Promise<PolicyRunner> {
  const { stateBytes = 2 ** 29, graphBytes = 2 ** 29 } = options;
  if (policies.length === 0 || tokens.length === 0)
    throw badArgument(
      'openPolicyRunner',
      'at least one policy and one token',
      `${policies.length} and ${tokens.length}`,
    );
  for (const policy of policies) requireNearest('openPolicyRunner', policy);
  const model = await openModel(path, {
    policy: policies[0]!,
    backend: options.backend,
    threads: options.threads,
  });
  const { backend, config } = model;
  const sets: WeightSet[] = [{ weights: model.weights, setting: settingOf(policies[0]!, config) }];
  const memory = new ResidentMemory(backend);
  let graphs: SegmentGraphs | undefined;
  const close = () => {
    graphs?.close();
    memory.close();
    for (const { weights } of sets.slice(1)) weights.close();
    model.close();
  };
  try {
    checkTokenIds('openPolicyRunner', tokens, config.vocab_size);
    const tensors = checkWeights(model.weights.checkpoint, config).tensors;
    const sites = modelSites(config, tensors);
    for (const policy of policies.slice(1)) await addSet(sets, policy, sites, path, backend);
    const inputs = allocateInputs(memory, config, callSizes(tokens.length), undefined);
    inputs.place({ past: 0, padding: [] });
    const states = allocateStates(memory, model.weights, 1);
    const sizesOfCall = callSizes(tokens.length);
    const context = segmentContexts(config, tensors, sites, sets, inputs.tensors, states, sizesOfCall);
    const ensure = async (segment: number) => {
      for (const { weights } of sets) await weights.ensure?.(segment);
    };
    const blocks = config.num_hidden_layers;
    const sizes = { blocks, batch: 1, tokens: tokens.length, logits: 'all' as const };
    const compiled = new SegmentGraphs(backend, graphBytes, (segment, setting) =>
      buildSegment(segment, sizes, context(setting)),
    );
    graphs = compiled;
    const boundaries = new RecentlyUsed<Boundary>(stateBytes, (boundary) =>
      Object.values(boundary).reduce((sum, { length }) => sum + length, 0),
    );
    const last = blocks + 1;
    const namesOf = Array.from({ length: last + 1 }, (_, segment) =>
      sites.filter(({ segments }) => segments.includes(segment)).map(({ name }) => name),
    );
    const prefixes = new Map<string, number>();
    const cost: RunCost = { runs: 0, blockRuns: 0, forwardPasses: 0 };
    const run = async (setting: Setting): Promise<Float32Array> => {
      checkWeightSites(sites, sets, setting);
      cost.runs++;
      const choices = namesOf.map((names) => names.map(setting).join(' '));
      const starts = startKeys(choices, prefixes);
      let segment = last;
      while (segment > 0 && !boundaries.has(starts[segment]!)) segment--;
      const start = boundaries.get(starts[segment]!);
      if (start !== undefined) writeBoundary(inputs, start);
      for (; ; segment++) {
        const graph = compiled.get(segment, choices[segment]!, setting);
        if (segment === 0) graph.setInput('tokens', Int32Array.from(tokens));
        await ensure(segment);
        await backend.native.compute([graph.native]);
        if (segment > 0 && segment < last) {
          cost.blockRuns++;
          cost.forwardPasses = cost.blockRuns / blocks;
        }
        if (segment === last) {
          const { bytes } = graph.outputs().find(({ name }) => name === LOGITS)!;
          return new Float32Array(bytes.slice().buffer);
        }
        boundaries.set(starts[segment + 1]!, readBoundary(config, inputs));
      }
    };
    const cancel = () => backend.native.cancel();
    return {
      config,
      sites,
      tensors,
      device: backend.device.name,
      strictF32: backend.strictF32,
      weights: model.weights,
      cost,
      segments: {
        backend,
        count: last + 1,
        build: (segment, setting, taps) => buildSegment(segment, sizes, context(setting, taps)),
        ensure,
        readBoundary: () => readBoundary(config, inputs),
        writeBoundary: (boundary) => writeBoundary(inputs, boundary),
        states: inputs.tensors,
      },
      run,
      cancel,
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function callSizes(tokens: number): CallSizes {
  return { batch: 1, tokens, span: tokens, padded: false };
}

/** True for sites whose choice is made when weights are loaded. */
function isOfWeights({ kind }: PolicySite): boolean {
  return kind === 'weight' || kind === 'parameters';
}

/** Loads the weights again if a policy wants a weight as no set has it. */
async function addSet(
  sets: WeightSet[],
  policy: Policy,
  sites: readonly PolicySite[],
  path: string,
  backend: Backend,
): Promise<void> {
  const setting = settingOf(policy, sets[0]!.weights.config);
  const differs = sets.every((set) =>
    sites.some((site) => isOfWeights(site) && siteChoice(site, set.setting) !== siteChoice(site, setting)),
  );
  if (differs) sets.push({ weights: await loadWeights(path, backend, policy), setting });
}

function checkWeightSites(sites: readonly PolicySite[], sets: readonly WeightSet[], setting: Setting): void {
  const missing = sites.find(
    (site) =>
      isOfWeights(site) && sets.every((set) => siteChoice(site, set.setting) !== siteChoice(site, setting)),
  );
  if (missing !== undefined)
    throw badArgument(
      'run',
      "a weight dtype of one of the runner's policies",
      setting(missing.name),
      missing.name,
    );
}

/** For each segment a key of all choices before it. `prefixes` numbers those seen so far. */
function startKeys(choices: readonly string[], prefixes: Map<string, number>): string[] {
  let prefix = 0;
  return choices.map((choice, segment) => {
    const key = `${segment} ${prefix}`;
    const extended = `${prefix} ${choice}`;
    const known = prefixes.get(extended);
    prefix = known ?? prefixes.size + 1;
    if (known === undefined) prefixes.set(extended, prefix);
    return key;
  });
}

/** What the model file reads, with each weight from the set that has it as the setting wants it. */
function segmentContexts(
  config: ModelConfig,
  tensors: readonly RequiredTensor[],
  sites: readonly PolicySite[],
  sets: readonly WeightSet[],
  inputs: ReadonlyMap<string, ResidentTensor>,
  states: ReturnType<typeof allocateStates>,
  sizes: CallSizes,
) {
  const matrices = new Set(
    tensors.filter(({ role }) => role === 'matmul' || role === 'embedding').map(({ name }) => name),
  );
  const byName = new Map(sites.map((site) => [site.name, site]));
  const choice = (name: string, setting: Setting) => {
    const site = byName.get(name);
    return site === undefined ? '' : siteChoice(site, setting);
  };
  const chosen = (name: string, setting: Setting): ResidentTensor => {
    const names = [parametersSite(name), ...(matrices.has(name) ? [weightSite(name)] : [])];
    const set = sets.find((each) => names.every((at) => choice(at, each.setting) === choice(at, setting)));
    if (set === undefined)
      throw badArgument(
        'run',
        "the dtype and the rounding of a weight as one of the runner's policies has them",
        names.map((at) => choice(at, setting)).join(' and '),
        name,
      );
    return set.weights.tensors.get(name)!;
  };
  return (setting: Setting, taps?: Taps) => {
    const memory = { inputs, states, weight: (name: string) => chosen(name, setting) };
    return modelContexts({
      config,
      setting,
      taps: taps ?? NO_TAPS,
      sizes,
      hasHead: sets[0]!.weights.tensors.has('lm_head.weight'),
      leaf: (graph, leaf) => graph.resident(memoryOf(config, memory, leaf)!),
    });
  };
}
