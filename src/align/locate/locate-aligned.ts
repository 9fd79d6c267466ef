/** Which value of a recording is the first that is not what its reference computes, for any model. */
import { basename } from 'node:path';
import { Dump } from '../../dump/reader.js';
import { type JudgedNode, locateRecording, type RecordingVerdict } from '../../recording/locate/locate.js';
import { type Alignment, alignDumps } from '../align-dumps.js';
import type { FurtherPair } from '../further-calls.js';
import { bestFit } from '../layouts.js';
import { GROWTH } from '../pairing/explained.js';
import { type Divergence, findDivergence, type Origin, type ResultPair } from './divergence.js';

/** Options of {@link locateAligned}. */
export interface LocateAlignedOptions {
  /** GGUF file that ran: every node is run again on its own inputs. Default: that is left out. */
  model?: string;
  /**
   * Energy NMSE that rounding explains of a value whose inputs agree; default by the types of values and
   * weights, 1e-6 at least. It is also the least limit of a node's own error.
   */
  failAbove?: number;
  threads?: number;
  backend?: string;
  signal?: AbortSignal;
  /** Called with what is done and what there is in all, of values read and then of nodes. */
  onProgress?: (done: number, total: number) => void;
}

/** A value of the recording that is another than the reference's although its inputs are the same. */
export interface AlignedFault {
  /** Its tap in the recording. */
  name: string;
  /** ggml's op. */
  op: string;
  block: number | null;
  /** What it is computed from, by tap; all of it agrees. */
  inputs: string[];
  /** Weights that it reads. */
  weights: string[];
}

/** A node that is not what its inputs give. */
export interface NumericFault {
  name: string;
  op: string;
  block: number | null;
  /** NMSE against the node run again on its recorded inputs with operands in F32, and what it may be. */
  error: number;
  limit: number;
  /** What takes the error away, in words; null where nothing that is tried does. */
  cause: string | null;
}

/** The outcome of {@link locateAligned}. */
export interface AlignedVerdict {
  names: { reference: string; recording: string };
  /** Values of the recording where it begins to differ, in the order of execution. */
  faults: AlignedFault[];
  /**
   * Of `faults`. `semantic`: the nodes there give what their inputs give, so the graph or its weights say
   * something else than the reference. `numeric`: one does not, and by so much that it explains the
   * difference. Null without a fault, or where nodes were not run again.
   */
  kind: 'semantic' | 'numeric' | null;
  /**
   * Nodes that are not what their inputs give, in the order of execution, whatever the reference says: some
   * differ by less than a comparison with it can tell. Empty where nodes were not run again.
   */
  numeric: NumericFault[];
  /** The first pair that differs, and what rounding explains there. */
  first: { tap: string; from: string; error: number; limit: number } | null;
  /** Error of the logits; null where they are not known on both sides. */
  logits: number | null;
  /**
   * The first further call (decode step) or sequence in which values differ that agree in the first call, and
   * the first of them in the order of execution; null where none does.
   */
  later: {
    step: number;
    sequence: number;
    differing: number;
    tap: string;
    from: string;
    error: number;
  } | null;
  /** Further calls and sequences that were compared. */
  furtherCalls: number;
  /** Values of the recording that agree, and that differ. */
  agreeing: number;
  differing: number;
  /** Taps of the reference that have a partner, and taps in all. */
  paired: number;
  taps: number;
  /**
   * True where values or the logits differ, and nothing tells where a fault is, or tells it from the rounding
   * of quantised weights.
   */
  isOpen: boolean;
  /** Values with NaN or infinities outside masks, in the order of execution, with a partner or without. */
  nonFinite: Alignment['nonFinite'];
  /** The smallest error that would have counted; null where nothing was compared. */
  least: number | null;
  /**
   * The value of the recording of which rounding explains most, and how much; null where nothing was
   * compared.
   */
  most: { from: string; limit: number } | null;
  /**
   * Paired choices (experts, orders) that differ: what follows them differs as well where scores are close.
   */
  turned: number;
  /** What the caller said that rounding explains; null where the types of values decide. */
  failAbove: number | null;
  /** Every node by itself; null without a model. */
  recording: RecordingVerdict | null;
  /** True where anything is at fault. */
  found: boolean;
}

/**
 * Pairs the reference's values with the recording's, and goes through the recording's graph for the first
 * that differ although their inputs agree (`docs/align.md`). With the model every node is run again on its
 * own inputs besides, which tells a fault of arithmetic from one of meaning.
 *
 * @param reference folder of a dump of any program, of the same tokens. @param recording folder of a
 * recording.
 * @throws as `align` and `locateRecording`.
 */
export async function locateAligned(
  reference: string,
  recording: string,
  options: LocateAlignedOptions = {},
): Promise<AlignedVerdict> {
  const { model, failAbove, onProgress = () => {}, ...rest } = options;
  await using right = await Dump.open(reference);
  await using tested = await Dump.open(recording);
  const alignment = await alignDumps(right, tested, { onProgress });
  const { nonFinite } = alignment;
  const result = resultPair(alignment, right, tested);
  // What lies otherwise in a later call is still judged by the first.
  const pairs = [...alignment.pairs, ...alignment.moved.map(({ pair }) => pair)];
  const divergence = findDivergence({ ...alignment, pairs }, result, failAbove);
  const { origins, first, agreeing, differing, most } = divergence;
  const turned = alignment.pairs.filter(
    ({ pair, reference: { isExact } }) => isExact && pair.fit.error > 0,
  ).length;
  // Where a model chooses nothing, what agrees behind a difference excuses nothing: no choice turned over.
  const chooses = alignment.tested.classes.some(
    ({ members, parents }) => members[0]!.isExact && parents.size > 0,
  );
  const isUnplaced = origins.length === 0 && first !== undefined && !chooses;
  const isOpen = divergence.isOpen || isUnplaced;
  const own = model === undefined ? null : await locateRecording({ recording, model, onProgress, ...rest });
  const faults = origins.map((origin) => describe(origin, alignment));
  return {
    names: { reference: basename(reference), recording: basename(recording) },
    faults,
    kind: own === null || faults.length === 0 ? null : kindOf(divergence, result, own, alignment.tested),
    numeric: own === null ? [] : accusedOf(own).map(describeNumeric),
    first:
      first === undefined
        ? null
        : { ...namesOf(first.pair, alignment), error: first.pair.fit.error, limit: first.limit },
    logits: result?.error ?? null,
    later: laterOf(alignment),
    furtherCalls: alignment.calls.length,
    agreeing,
    differing,
    paired: alignment.pairs.length,
    taps: right.taps.length,
    isOpen,
    nonFinite,
    least: Number.isFinite(divergence.least) ? divergence.least : null,
    most:
      most === undefined
        ? null
        : { from: alignment.tested.classes[most.tested]!.members[0]!.tap.name, limit: most.limit },
    turned,
    failAbove: failAbove ?? null,
    recording: own,
    found:
      faults.length > 0 ||
      (failAbove !== undefined && first !== undefined) ||
      isOpen ||
      laterOf(alignment) !== null ||
      nonFinite.reference.length + nonFinite.tested.length > 0 ||
      own?.found === true,
  };
}

/** Where a value differs in a later call only. */
function laterOf({ calls }: Alignment): AlignedVerdict['later'] {
  const call = calls.find(({ differing }) => differing.length > 0);
  if (call === undefined) return null;
  const [{ pair, error }] = call.differing as [FurtherPair];
  return {
    step: call.step,
    sequence: call.sequence,
    differing: call.differing.length,
    tap: pair.reference.tap.name,
    from: pair.tested.tap.name,
    error,
  };
}

/**
 * Numeric where a node between what is right and the first pair that differs is not what its inputs give, by
 * enough to explain that difference.
 */
function kindOf(
  { region, first }: Divergence,
  result: ResultPair | undefined,
  verdict: RecordingVerdict,
  side: Alignment['tested'],
): 'semantic' | 'numeric' {
  const names = new Set([...region].flatMap((id) => side.classes[id]!.members.map(({ tap }) => tap.name)));
  const difference = first?.pair.fit.error ?? result?.error ?? 0;
  const explains = ({ name, ownError }: JudgedNode) =>
    names.has(name) && difference <= GROWTH * (ownError ?? Number.POSITIVE_INFINITY);
  return accusedOf(verdict).some(explains) ? 'numeric' : 'semantic';
}

function accusedOf({ nodes, faults }: RecordingVerdict): JudgedNode[] {
  const ids = new Set(faults);
  return nodes.filter(({ id }) => ids.has(id));
}

function describeNumeric({ name, op, block, ownError, limit, cause }: JudgedNode): NumericFault {
  return { name, op, block, error: ownError ?? Number.POSITIVE_INFINITY, limit, cause: cause?.words ?? null };
}

function describe({ tested, inputs }: Origin, { tested: side }: Alignment): AlignedFault {
  const [first] = side.classes[tested]!.members;
  const node = side.edges.nodes.get(first!.index);
  return {
    name: first!.tap.name,
    op: node?.op ?? '',
    block: first!.tap.block,
    inputs: inputs.map((id) => side.classes[id]!.members[0]!.tap.name),
    weights: node?.weights.map(({ name }) => name) ?? [],
  };
}

function namesOf(
  { reference, tested }: { reference: number; tested: number },
  alignment: Alignment,
): { tap: string; from: string } {
  const of = (side: Alignment['tested'], id: number) => side.classes[id]!.members[0]!.tap.name;
  return { tap: of(alignment.reference, reference), from: of(alignment.tested, tested) };
}

/** The logits by the roles that both dumps give. */
function resultPair(
  { reference, tested, sizes }: Alignment,
  right: Dump,
  dump: Dump,
): ResultPair | undefined {
  const classOf = (side: Alignment['tested'], names: readonly string[] = []) =>
    side.classes.find(({ members }) => members.some(({ tap }) => names.includes(tap.name)));
  const [a, b] = [classOf(reference, right.roles?.logits), classOf(tested, dump.roles?.logits)];
  if (a === undefined || b === undefined) return undefined;
  const fit = bestFit(a.members[0]!, b.members[0]!, sizes, Number.POSITIVE_INFINITY);
  return fit === undefined ? undefined : { tested: b.id, error: fit.error };
}
