/** Looks for sequences of a batch that get into each other, in ops at fault of a dump of several. */
import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';
import { type Policy, resolvePolicy, siteKind } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { formatError } from '../../../text-table.js';
import { choicesInside } from '../../faults/explain/hypotheses.js';
import { blockWords, choiceSentence, opWords } from '../../faults/plain-words.js';
import type { LocatedKind, LocatedOp } from '../../faults/report.js';
import { tapPlace } from '../../replay/tap-graph.js';
import { errorOf, OpComputer } from '../compute.js';
import type { LocatedCause, StructureInput } from '../explain.js';
import type { Factor } from '../layout.js';
import { openOp } from '../open-op.js';
import { type Mixing, mixedError, mixings } from './mixed.js';

/** Kinds of op that are tried. */
const TRIED = 6;
/** Elements of a value of all sequences beyond which none is tried. */
const MOST_ELEMENTS = 2 ** 24;
/** Share of the error's energy that mixed sequences may leave, to be their cause. */
const LEAVES = 1e-3;
/** A choice of dtype explains the rest where it falls to this share. */
const EXPLAINS = 0.01;

/** An op of all sequences of a batch, one after another. */
interface BatchOp {
  /** As the model computes it; without what is added at the end, and that by itself, where there is any. */
  own: Float32Array;
  plain: Float32Array | undefined;
  added: Float32Array | undefined;
  tested: Float32Array;
  factors: readonly Factor[];
}

type Way = { mixing: Mixing; isBeforeBias: boolean } | 'as one sequence';

/**
 * Tries for each kind of op whether the error is that of sequences computed as one, or read in each other's
 * place, and where that leaves something whether a choice of dtype explains the rest. Nothing is tried in
 * dumps of one sequence.
 */
export async function explainSequences(input: StructureInput): Promise<LocatedCause[]> {
  const { runners, base, tested, kinds, faults } = input;
  const lengths = tested.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  if (lengths.length < 2 || lengths.includes(0)) return [];
  await runners.use(base);
  const total = runners.model!.config.num_hidden_layers;
  const { family } = architectureOf(runners.model!.config);
  const causes: LocatedCause[] = [];
  for (const kind of kinds.slice(0, TRIED)) {
    if (tested.tap(kind.worst).dtype === 'I32') continue;
    const ops = faults.filter(({ tap }) => tapPlace(tap).suffix === kind.kind);
    const worst = ops.find(({ tap }) => tap === kind.worst);
    if (worst === undefined) continue;
    const found = await wayOf(input, worst, lengths);
    if (found === undefined) continue;
    const { way, before, after } = found;
    const blocks: number[] = [];
    const taps: string[] = [];
    for (const { tap, block } of ops) {
      if (block === null && tap !== worst.tap) continue;
      const left = tap === worst.tap ? after : await errorIn(input, base, tap, lengths, way);
      if (left === undefined || left > LEAVES * before) continue;
      taps.push(tap);
      if (block !== null) blocks.push(block);
    }
    const rest = after <= (worst.limit ?? 0) ? undefined : await restOf(input, kind, lengths, way, after);
    const where = blocks.length === 0 ? '' : ` in ${blockWords(blocks, total)}`;
    const { name } = opWords(kind.kind, family);
    const left =
      rest === undefined
        ? ''
        : ` What is left: ${choiceSentence(siteKind(rest.sites), rest.set, kind.kind, family)}, with which it falls to ${formatError(rest.error)}.`;
    causes.push({
      key: `sequences ${wayWords(way)}`,
      sentence: `The sequences of the batch are ${way === 'as one sequence' ? 'computed as one' : 'mixed'} in ${name}${where}: ${wayWords(way)}. NMSE ${formatError(before)} as given, ${formatError(after)} so.${left} A batch of one sequence would not show it.`,
      kinds: [kind.kind],
      taps,
      blocks,
      before,
      after: rest?.error ?? after,
      ties: [],
    });
  }
  return causes;
}

function wayWords(way: Way): string {
  return way === 'as one sequence'
    ? 'the first tokens of each read what the sequence before it has left'
    : `${way.mixing.says}${way.isBeforeBias ? ', before the bias is added' : ''}`;
}

async function wayOf(
  input: StructureInput,
  { tap, limit }: LocatedOp,
  lengths: readonly number[],
): Promise<{ way: Way; before: number; after: number } | undefined> {
  const op = await batchOp(input, input.base, tap, lengths);
  if (op === undefined) return undefined;
  const before = errorOf(op.own, op.tested, false);
  const most = LEAVES * before;
  if (!(before > (limit ?? 0))) return undefined;
  const asOne = await asOneError(input, input.base, tap, lengths);
  if (asOne <= most) return { way: 'as one sequence', before, after: asOne };
  let best: { way: Way; before: number; after: number } | undefined;
  for (const mixing of allMixings(op, lengths))
    for (const isBeforeBias of op.plain === undefined ? [false] : [false, true]) {
      const after = mixedIn(op, { mixing, isBeforeBias }, most);
      if (after <= most && after < (best?.after ?? Number.POSITIVE_INFINITY))
        best = { way: { mixing, isBeforeBias }, before, after };
    }
  return best;
}

function mixedIn(op: BatchOp, { mixing, isBeforeBias }: Exclude<Way, string>, most: number): number {
  return isBeforeBias
    ? mixedError(mixing, op.plain!, op.added, op.tested, most)
    : mixedError(mixing, op.own, undefined, op.tested, most);
}

/** The choice of dtype that explains what is left. */
async function restOf(
  input: StructureInput,
  { inside, worst }: LocatedKind,
  lengths: readonly number[],
  way: Way,
  after: number,
): Promise<{ sites: string; set: string; error: number } | undefined> {
  let best: { sites: string; set: string; error: number } | undefined;
  for (const choice of choicesInside(inside, input.runners.model!, input.base)) {
    const policy = { ...input.base, rules: [...input.base.rules, choice] };
    const error = await errorIn(input, policy, worst, lengths, way);
    if (error !== undefined && error < EXPLAINS * after && error < (best?.error ?? after))
      best = { ...choice, error };
  }
  return best;
}

async function errorIn(
  input: StructureInput,
  policy: Policy,
  tap: string,
  lengths: readonly number[],
  way: Way,
): Promise<number | undefined> {
  if (way === 'as one sequence') return asOneError(input, policy, tap, lengths);
  const op = await batchOp(input, policy, tap, lengths);
  return op === undefined ? undefined : mixedIn(op, way, Number.POSITIVE_INFINITY);
}

/** Sequences of unequal length lie in no common order of axes. */
function* allMixings({ factors, own }: BatchOp, lengths: readonly number[]): Generator<Mixing> {
  const [tokens] = lengths as [number];
  if (own.length > MOST_ELEMENTS || lengths.some((length) => length !== tokens)) return;
  const columns = own.length / (tokens * lengths.length);
  const heads = factors.length === 2 ? factors[0]!.size : 1;
  yield* mixings({ sequences: lengths.length, tokens, heads, channels: columns / heads });
}

async function batchOp(
  { runners, tested, holds }: StructureInput,
  policy: Policy,
  tap: string,
  lengths: readonly number[],
): Promise<BatchOp | undefined> {
  const model = runners.model!;
  const parts: { own: Float32Array; plain: Float32Array | undefined; tested: Float32Array }[] = [];
  let factors: readonly Factor[] = [];
  for (const [sequence, tokens] of lengths.entries()) {
    const setting = resolvePolicy(policy);
    const op = await openOp(tap, { model, setting, tested, holds, sequence, tokens });
    if (op === undefined || op.output.isInteger) return undefined;
    using computer = new OpComputer(op, model.backend);
    const own = await computer.values();
    if (own === undefined || own.length !== op.expected.length) return undefined;
    const biases = op.inputs.filter(({ leaf }) => leaf.kind === 'weight' && leaf.name.endsWith('.bias'));
    const zeros = new Map(
      biases.map(({ leaf }) => [leaf.input, (values: ArrayLike<number>) => new Float32Array(values.length)]),
    );
    const plain =
      biases.length === 0
        ? undefined
        : await computer.values({ key: 'no bias', says: '', so: '', values: zeros });
    factors = op.output.factors.slice(1);
    parts.push({
      own: own as Float32Array,
      plain: plain as Float32Array | undefined,
      tested: op.expected as Float32Array,
    });
  }
  const own = joinedValues(parts.map((part) => part.own));
  const plain = parts.some((part) => part.plain === undefined)
    ? undefined
    : joinedValues(parts.map((part) => part.plain!));
  return {
    own,
    plain,
    added: plain === undefined ? undefined : own.map((value, k) => value - plain[k]!),
    tested: joinedValues(parts.map((part) => part.tested)),
    factors,
  };
}

/** Error of the op where all sequences are one; Infinity where it cannot be computed so. */
async function asOneError(
  { runners, tested, holds }: StructureInput,
  policy: Policy,
  tap: string,
  lengths: readonly number[],
): Promise<number> {
  const model = runners.model!;
  const op = await openOp(tap, {
    ...{ model, setting: resolvePolicy(policy), tested, holds },
    sequence: 0,
    tokens: lengths.reduce((a, b) => a + b),
    joined: lengths,
  });
  if (op === undefined || op.output.isInteger) return Number.POSITIVE_INFINITY;
  using computer = new OpComputer(op, model.backend);
  return await computer.error();
}

function joinedValues(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/**
 * Without a model: the way in which the reference's value of all sequences, mixed, is the tested one. null
 * where there is none that leaves `limit` or a thousandth of the error.
 */
export async function mixedAlone(
  reference: DumpView,
  tested: DumpView,
  tap: string,
  limit: number,
): Promise<string | null> {
  const lengths = tested.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  const theirs = reference.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  const info = reference.tap(tap);
  if (
    lengths.length < 2 ||
    theirs.join() !== lengths.join() ||
    info.scope !== 'token' ||
    info.dtype === 'I32' ||
    tested.manifest.steps > 1
  )
    return null;
  const all = async (dump: DumpView): Promise<Float32Array> => {
    const parts: Float32Array[] = [];
    for (const sequence of lengths.keys()) {
      const { data, dtype } = await dump.read(tap, { sequence });
      parts.push(toFloat32(data, dtype));
    }
    return joinedValues(parts);
  };
  const [own, given] = [await all(reference), await all(tested)];
  if (own.length !== given.length) return null;
  const before = errorOf(own, given, false);
  const most = Math.min(limit, LEAVES * before);
  const op: BatchOp = { own, plain: undefined, added: undefined, tested: given, factors: [] };
  for (const mixing of allMixings(op, lengths)) {
    const after = mixedError(mixing, own, undefined, given, most);
    if (after <= most)
      return `The sequences of the batch are mixed: ${mixing.says}. NMSE ${formatError(before)} as given, ${formatError(after)} with the reference's value read so. A batch of one sequence would not show it.`;
  }
  return null;
}
