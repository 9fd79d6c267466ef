/** The way back through a remembered run, one segment after the other. */
import { constantValues } from '../../../graph/adjoint/adjoint.js';
import { compileGraphs } from '../../../graph/compile.js';
import { LOGITS } from '../../../models/runtime/segments.js';
import type { PolicySite } from '../../../models/runtime/sites.js';
import type { RunnerSegments } from '../../replay/policy-runner.js';
import type { RememberedRun, Replacement } from './forward.js';
import { GRADIENT, SEED, type SegmentQuestion, segmentAdjoint } from './segment.js';

/** What is asked of a run. */
export interface BackwardQuestion
  extends Pick<SegmentQuestion, 'segments' | 'setting' | 'around' | 'judgesGiven' | 'wantsGradient'> {
  tokens: readonly number[];
  run: RememberedRun;
  /** What took the place of the run's own values; undefined: nothing. */
  replacement?: Replacement | undefined;
  /** Sites at which the good and the bad run differ, in the order of the model. */
  sites: readonly PolicySite[];
  /** F32 [T, V] each: what each logit counts. */
  seeds: readonly Float32Array[];
  signal?: AbortSignal | undefined;
  /** Takes the gradients of the first seed that `wantsGradient` asks for: F32, in the tap's shape. */
  onGradient?: ((tap: string, gradient: Float32Array) => void) | undefined;
  /** Called after each segment: how many are done. */
  onSegment?: ((done: number, total: number) => void) | undefined;
}

/** What the error that some sites add to a value does to the logits. */
export interface LocalEffect {
  sites: readonly string[];
  tap: string;
  /** For each seed, what the error of each row of the value adds to ⟨seed, J · error⟩. */
  rows: readonly Float32Array[];
}

/** What the way back gives. */
export interface Backward {
  effects: readonly LocalEffect[];
  /** Sites that change what is chosen: their effects lack what that does. */
  choosing: ReadonlySet<string>;
  /** Bytes of the largest graph's values. */
  graphBytes: number;
}

/** Computes each segment again from what it began with, and goes back through it; the last first. */
export async function backward(question: BackwardQuestion): Promise<Backward> {
  const { segments, tokens, run, replacement, sites, seeds, signal } = question;
  const { backend, count } = segments;
  const effects: LocalEffect[] = [];
  const choosing = new Set<string>();
  let arriving = seeds.map((seed) => new Map<string, Float32Array>([[LOGITS, seed]]));
  const learned = new Map<string, ReadonlySet<string>>();
  let graphBytes = 0;
  // What comes before the first site makes no error.
  const first =
    question.judgesGiven || question.wantsGradient !== undefined
      ? 0
      : Math.min(...sites.flatMap((site) => site.segments));
  for (let segment = count - 1; segment >= first; segment--) {
    const { graph, errors, written, ...found } = segmentAdjoint({
      ...question,
      segment,
      sites: sites.filter((site) => site.segments.includes(segment)).map(({ name }) => name),
      replace: (tap, computed) => replacement?.apply?.(tap, computed) ?? computed,
      learned,
      arriving: new Set(arriving[0]!.keys()),
    });
    for (const site of found.choosing) choosing.add(site);
    if (graph.outputs.size === 0) break; // nothing arrives at what comes before
    using compiled = compileGraphs(backend, [graph]);
    graphBytes = Math.max(graphBytes, compiled.sizeBytes);
    const only = compiled.graphs[0]!;
    const start = run.starts[segment];
    if (start !== undefined) segments.writeBoundary(start);
    await segments.ensure(segment);
    const results: ReadonlyMap<string, Float32Array>[] = [];
    for (const from of arriving) {
      signal?.throwIfAborted();
      for (const input of only.inputs) {
        const { name } = input;
        const given =
          name === 'tokens'
            ? Int32Array.from(tokens)
            : name.startsWith(SEED)
              ? from.get(name.slice(SEED.length))
              : constantValues(input);
        if (given !== undefined) only.setInput(name, given);
      }
      await replacement?.prepare(segment, only);
      await backend.native.compute([only.native]);
      const values = only.outputs().map(({ name, bytes }) => [name, floats(bytes)] as const);
      results.push(new Map(values));
    }
    for (const [name, values] of results[0]!)
      if (name.startsWith(GRADIENT)) question.onGradient?.(name.slice(GRADIENT.length), values);
    for (const { sites, tap, output } of errors)
      effects.push({ sites, tap, rows: results.map((each) => each.get(output)!) });
    arriving = arriving.map((from, at) => passOn(segments, from, results[at]!, written));
    question.onSegment?.(count - segment, count);
  }
  return { effects: effects.toReversed(), choosing, graphBytes };
}

/** What arrives at the states before a segment: through it, and past it where it leaves a state alone. */
function passOn(
  { states }: RunnerSegments,
  from: ReadonlyMap<string, Float32Array>,
  results: ReadonlyMap<string, Float32Array>,
  written: ReadonlySet<string>,
): Map<string, Float32Array> {
  const passed = [...from].filter(([state]) => state !== LOGITS && !written.has(state));
  const next = new Map(passed);
  for (const state of states.keys()) {
    const own = results.get(state);
    const other = next.get(state);
    if (own !== undefined)
      next.set(state, other === undefined ? own : own.map((value, at) => value + other[at]!));
  }
  return next;
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
