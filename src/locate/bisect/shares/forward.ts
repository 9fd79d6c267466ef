/** Runs that are remembered segment by segment, so that a backward can compute each segment again. */
import type { Family } from '../../../families/family.js';
import { hasRole } from '../../../families/roles.js';
import { type CompiledGraph, compileGraphs } from '../../../graph/compile.js';
import type { Setting } from '../../../graph/policy.js';
import type { Tensor } from '../../../graph/tensor.js';
import type { Boundary } from '../../../models/runtime/inputs.js';
import { LOGITS } from '../../../models/runtime/segments.js';
import type { RunnerSegments } from '../../replay/policy-runner.js';

/** What a run chose among experts, by tap: I32. */
export type Choices = ReadonlyMap<string, Int32Array>;

/** A run, and what a segment of it can be computed from again. */
export interface RememberedRun {
  logits: Float32Array;
  /** What each segment began with; undefined for the embedding. */
  starts: readonly (Boundary | undefined)[];
  /** Its own choices, also where others took their place. */
  choices: Choices;
}

/** Values that take the place of computed ones: those of a dump (`graftTaps`), or choices. */
export interface Replacement {
  apply?(name: string, value: Tensor): Tensor;
  /** Fills the inputs that it has put into a segment's graph. */
  prepare(segment: number, graph: CompiledGraph): Promise<void> | void;
}

const PIN = 'pin:';

/** Puts the choices of another run in place of the run's own. */
export function pinChoices(choices: Choices): Replacement {
  return {
    apply: (name, value) =>
      choices.has(name) ? value.graph.input(PIN + name, value.dtype, value.shape) : value,
    prepare(_, graph) {
      for (const { name } of graph.inputs)
        if (name.startsWith(PIN)) graph.setInput(name, choices.get(name.slice(PIN.length))!);
    },
  };
}

/** Runs a prompt segment by segment. */
export async function rememberRun(
  segments: RunnerSegments,
  family: Family,
  tokens: readonly number[],
  setting: Setting,
  replacement: Replacement | undefined,
  signal: AbortSignal | undefined,
): Promise<RememberedRun> {
  const { backend, count } = segments;
  const starts: (Boundary | undefined)[] = [];
  const choices = new Map<string, Int32Array>();
  const isChoice = (name: string) => hasRole(family, 'router.expert', name);
  for (let segment = 0; segment < count; segment++) {
    signal?.throwIfAborted();
    starts.push(segment === 0 ? undefined : segments.readBoundary());
    const graph = segments.build(segment, setting, {
      wants: isChoice,
      apply: (name, value) => replacement?.apply?.(name, value) ?? value,
    });
    using compiled = compileGraphs(backend, [graph]);
    const only = compiled.graphs[0]!;
    await replacement?.prepare(segment, only);
    // Where a dump gives what the embedding makes, nothing reads them.
    if (only.inputs.some(({ name }) => name === 'tokens')) only.setInput('tokens', Int32Array.from(tokens));
    await segments.ensure(segment);
    await backend.native.compute([only.native]);
    let logits: Float32Array | undefined;
    for (const { name, bytes } of only.outputs())
      if (name === LOGITS) logits = new Float32Array(bytes.slice().buffer);
      else choices.set(name, new Int32Array(bytes.slice().buffer));
    if (logits !== undefined) return { logits, starts, choices };
  }
  throw new Error('rememberRun: the last segment gives logits');
}

/**
 * Tokens, over all blocks, that two runs sent to other experts; the order of a token's experts does not
 * count.
 */
export function countFlips(a: Choices, b: Choices, tokens: number): number {
  let flips = 0;
  for (const [name, ours] of a) {
    const theirs = b.get(name)!;
    const each = ours.length / tokens;
    const sorted = (values: Int32Array, token: number) =>
      values
        .slice(token * each, (token + 1) * each)
        .sort()
        .join();
    for (let token = 0; token < tokens; token++) if (sorted(ours, token) !== sorted(theirs, token)) flips++;
  }
  return flips;
}
