/**
 * One segment of a run as one graph: what it computes, the error that each choice adds to each value, and the
 * backward that says what these errors do to the result.
 */
import { adjoint } from '../../../graph/adjoint/adjoint.js';
import { GraphMerger } from '../../../graph/adjoint/merge.js';
import { plain } from '../../../graph/adjoint/pieces.js';
import { Graph } from '../../../graph/graph.js';
import { mul, sub } from '../../../graph/ops-arithmetic.js';
import { cont } from '../../../graph/ops-layout.js';
import { sumRows } from '../../../graph/ops-rows.js';
import type { Setting } from '../../../graph/policy.js';
import type { Shape } from '../../../graph/shape.js';
import type { Tensor } from '../../../graph/tensor.js';
import { LOGITS } from '../../../models/runtime/segments.js';
import type { RunnerSegments } from '../../replay/policy-runner.js';
import { siteOp } from '../../replay/policy-sites.js';

/** What a segment's graph is made of. */
export interface SegmentQuestion {
  segments: RunnerSegments;
  segment: number;
  /** Sites of the segment at which the good and the bad run differ, in the order of the model. */
  sites: readonly string[];
  /**
   * `bad` (default): the run is the bad one, and the errors of a piece's choices add up to the piece's error;
   * `good`: it is the good one, and errors are those of each choice alone.
   */
  around?: 'bad' | 'good' | undefined;
  /** The setting of a run with exactly these sites bad. */
  setting(bad: ReadonlySet<string>): Setting;
  /** The value that the run goes on with; another one than the computed stands for it. */
  replace: (tap: string, computed: Tensor) => Tensor;
  /**
   * True to take for a local error what a given value differs from the one that is computed; default false.
   */
  judgesGiven?: boolean | undefined;
  /** Taps whose gradients are asked for; default none. */
  wantsGradient?: ((tap: string) => boolean) | undefined;
  /** By site without its block, the taps (so too) that its choice changes; grows with each segment. */
  learned: Map<string, ReadonlySet<string>>;
  /** States that a gradient arrives at from the segments behind. */
  arriving: ReadonlySet<string>;
}

/** An error that a choice adds to a value. */
export interface LocalError {
  /** More than one where weights are not held for each choice alone. */
  sites: readonly string[];
  tap: string;
  /** Output of the graph: ⟨gradient, error⟩ of each row, F32. */
  output: string;
}

/** The graph, and what its inputs and outputs are. */
export interface SegmentAdjoint {
  graph: Graph;
  errors: readonly LocalError[];
  /** Sites that change what is chosen, which no gradient sees. */
  choosing: readonly string[];
  /** States that the segment replaces: what arrives at the state before is what these outputs hold. */
  written: ReadonlySet<string>;
}

/** Inputs: what arrives at a state or at the logits. Outputs: what arrives at a state before the segment. */
export const SEED = 'seed:';
/** Outputs: gradients of taps. */
export const GRADIENT = 'gradient:';
const CUT = 'cut:';

interface Variant {
  graph: Graph;
  /** The values at taps, in order, as the segment's graph makes them. */
  made: ReadonlyMap<string, Tensor>;
}

/**
 * Errors are those that a choice makes on the run's own values: each piece of the segment between taps is
 * computed from what the run has before it. Around the bad run one more of its choices is bad each time, in
 * the order of the model; around the good run one alone.
 */
export function segmentAdjoint(question: SegmentQuestion): SegmentAdjoint {
  const { segments, segment, sites, replace, judgesGiven = false, wantsGradient = () => false } = question;
  const graph = new Graph(`adjoint:${segment}`);
  const merger = new GraphMerger(graph);
  const main = variant(question, new Set(question.around === 'good' ? [] : sites));
  const values = new Map<string, Tensor>();
  const inputs = new Map<string, Tensor>();
  const leaf = ({ name, dtype, shape }: Tensor): Tensor => {
    const value = name.startsWith(CUT) ? values.get(name.slice(CUT.length)) : inputs.get(name);
    if (value !== undefined) return value;
    const input = graph.input(name, dtype, shape);
    inputs.set(name, input);
    return input;
  };
  const tapsOf = new Map<Tensor, string[]>();
  for (const [tap, value] of main.made) tapsOf.set(value, [...(tapsOf.get(value) ?? []), tap]);
  const standsFor = new Map<Tensor, Tensor>();
  const here = merger.merge(main.graph, leaf, (tensor, computed) => {
    for (const tap of tapsOf.get(tensor) ?? []) {
      const own = cont(computed);
      const value = replace(tap, own);
      values.set(tap, value);
      if (value !== own && value.dtype !== 'I32') standsFor.set(value, own);
    }
  });
  const local = localErrors(question, main, merger, leaf);
  if (judgesGiven)
    for (const [tap, value] of values) {
      const computed = standsFor.get(value);
      if (computed !== undefined) local.push({ sites: [tap], tap, error: sub(value, computed) });
    }
  const shown = [...values].filter(([tap, { dtype }]) => dtype !== 'I32' && wantsGradient(tap));
  const { seeds, written } = seedsOf(question, main, here, graph);
  const before = [...segments.states].flatMap(([state, memory]) =>
    graph.tensors.some(({ resident }) => resident === memory)
      ? [[state, graph.resident(memory)] as const]
      : [],
  );
  const wanted = [
    ...before.map(([, leaf]) => leaf),
    ...local.flatMap(({ tap, error }) => (error === undefined ? [] : [values.get(tap)!])),
    ...shown.map(([, value]) => value),
  ];
  const gradients = adjoint(graph, { seeds, wanted, standsFor });
  for (const [state, leaf] of before) {
    const gradient = gradients.get(leaf);
    if (gradient !== undefined) graph.output(state, cont(gradient));
  }
  const errors: LocalError[] = [];
  for (const { tap, sites, error } of local) {
    const gradient = gradients.get(values.get(tap)!);
    if (gradient === undefined || error === undefined) continue;
    const output = `error:${errors.length}`;
    graph.output(output, sumRows(mul(gradient, error)));
    errors.push({ sites, tap, output });
  }
  for (const [tap, value] of shown) {
    const gradient = gradients.get(value);
    if (gradient !== undefined) graph.output(GRADIENT + tap, cont(gradient));
  }
  const choosing = local.filter(({ error }) => error === undefined).flatMap(({ sites }) => sites);
  return { graph, errors, choosing, written };
}

/** The segment's graph with these sites bad, cut at every tap. */
function variant({ segments, segment, setting }: SegmentQuestion, bad: ReadonlySet<string>): Variant {
  const made = new Map<string, Tensor>();
  const graph = segments.build(segment, setting(bad), {
    wants: () => false,
    apply(name, value) {
      made.set(name, value);
      return value.graph.input(CUT + name, value.dtype, value.shape);
    },
  });
  return { graph, made };
}

/** `error` is absent where a choice changes. */
type TapError = { sites: readonly string[]; tap: string; error?: Tensor };

/**
 * Sites of which none changes a tap of another are made bad at once: which taps a site changes is learned in
 * the first block that has it. Where more taps change than was learned, one after the other.
 */
function localErrors(
  question: SegmentQuestion,
  main: Variant,
  merger: GraphMerger,
  leaf: (input: Tensor) => Tensor,
): TapError[] {
  const { sites, learned } = question;
  const isKnown = sites.every((site) => learned.has(siteOp(site)));
  const rounds = isKnown ? inRounds(sites, learned) : undefined;
  return (
    (rounds && errorsOf(question, rounds, main, merger, leaf)) ??
    errorsOf(
      question,
      sites.map((site) => [site]),
      main,
      merger,
      leaf,
    )!
  );
}

/** Undefined where a tap changes that belongs to none of the sites of a round. */
function errorsOf(
  question: SegmentQuestion,
  rounds: readonly (readonly string[])[],
  main: Variant,
  merger: GraphMerger,
  leaf: (input: Tensor) => Tensor,
): TapError[] | undefined {
  const { sites, learned } = question;
  const valuesOf = ({ graph, made }: Variant) => {
    const here = merger.merge(graph, leaf);
    return new Map([...made].map(([tap, tensor]) => [tap, here.get(tensor)!]));
  };
  const errors: TapError[] = [];
  const bad = new Set<string>();
  const isAlone = question.around === 'good';
  const good = isAlone ? main : variant(question, bad);
  let before = sites.length === 0 ? new Map<string, Tensor>() : valuesOf(good);
  let added: string[] = [];
  for (const round of rounds) {
    if (isAlone) bad.clear();
    for (const site of round) bad.add(site);
    added.push(...round);
    const next = bad.size === sites.length && !isAlone ? main : variantIfHeld(question, bad);
    if (next === undefined) {
      if (isAlone) added = [];
      continue;
    }
    const after = valuesOf(next);
    const changed = new Set<string>();
    for (const [tap, value] of after) {
      const other = before.get(tap);
      if (other === undefined || other === value) continue;
      changed.add(siteOp(tap));
      const own =
        round.length === 1 ? added : added.filter((site) => learned.get(siteOp(site))?.has(siteOp(tap)));
      if (own.length === 0) return undefined;
      errors.push({
        sites: own,
        tap,
        ...(value.dtype === 'I32' ? {} : { error: sub(plain(value), plain(other)) }),
      });
    }
    if (added.length === 1) learned.set(siteOp(added[0]!), changed);
    if (!isAlone) before = after;
    added = [];
  }
  return errors;
}

/** Each site comes after all before it that change one of its taps. */
function inRounds(
  sites: readonly string[],
  learned: ReadonlyMap<string, ReadonlySet<string>>,
): readonly (readonly string[])[] {
  const rounds: string[][] = [];
  const nextOf = new Map<string, number>();
  for (const site of sites) {
    const taps = [...learned.get(siteOp(site))!];
    const round = Math.max(0, ...taps.map((tap) => nextOf.get(tap) ?? 0));
    for (const tap of taps) nextOf.set(tap, round + 1);
    rounds[round] ??= [];
    rounds[round].push(site);
  }
  return rounds;
}

/** Undefined where no policy has the weights so: a weight's dtype and its rounding are chosen apart. */
function variantIfHeld(question: SegmentQuestion, bad: ReadonlySet<string>): Variant | undefined {
  try {
    return variant(question, bad);
  } catch (error) {
    if ((error as { code?: string }).code === 'BAD_ARGUMENT') return undefined;
    throw error;
  }
}

function seedsOf(
  { segments, arriving }: SegmentQuestion,
  { graph: own }: Variant,
  here: ReadonlyMap<Tensor, Tensor>,
  graph: Graph,
): { seeds: Map<Tensor, Tensor>; written: Set<string> } {
  const seeds = new Map<Tensor, Tensor>();
  const seed = (name: string, value: Tensor, shape: Shape = value.shape) =>
    seeds.set(value, graph.input(SEED + name, 'F32', shape));
  const logits = own.outputs.get(LOGITS);
  if (logits !== undefined) seed(LOGITS, here.get(logits)!);
  const written = new Set<string>();
  for (const { sources } of own.effects) {
    const state = [...segments.states].find(([, memory]) => memory === sources[1]?.resident)?.[0];
    if (state === undefined) continue;
    written.add(state);
    if (arriving.has(state)) seed(state, here.get(sources[0]!)!);
  }
  return { seeds, written };
}
