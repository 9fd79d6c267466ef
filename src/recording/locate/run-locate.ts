/** Judges a recording, node by node, in the order in which it ran. Meant for a child process. */
import { basename } from 'node:path';
import { blockElements, tapBlockBytes } from '../../dump/dtypes.js';
import type { DumpModel } from '../../dump/format.js';
import type { GraphTensor } from '../../dump/graph-file.js';
import { unmet, ZayascopeError } from '../../errors.js';
import { type NodeReaders, nodeReaders, nodeSources } from '../edges.js';
import { COPY_OPS, isNotRun } from '../quiet-ops.js';
import { openNodeBackend } from '../replay/node-backend.js';
import { type ReadyNode, walkNodes } from '../replay/node-walk.js';
import { Recording } from '../replay/open-recording.js';
import { nmse, widenToFloat64 } from '../replay/widen.js';
import { Comparison, type WholeError } from './comparison.js';
import { type DefinedGraph, defineGraph, ownDefinition } from './defined-graph.js';
import { flatLogitsNote } from './flat-logits-note.js';
import { judgeNode } from './judge-node.js';
import type { JudgedNode, LocateRecordingRun, RecordingVerdict } from './locate.js';
import { nodeShares } from './shares.js';

const OP = 'locate';
/** Of a recording's policy: what changes the graph. */
const SETTINGS: ReadonlySet<string> = new Set(['flashAttention', 'keyType', 'valueType']);

export async function runLocate(
  run: LocateRecordingRun,
  onProgress: (done: number, total: number) => void,
  onNode: (at: string) => void,
): Promise<RecordingVerdict> {
  await using tested = await Recording.open(OP, run.recording);
  await using reference = run.reference === undefined ? undefined : await Recording.open(OP, run.reference);
  if (reference !== undefined) checkSteps(tested, reference);
  const threads = run.threads ?? tested.threads;
  using backend = openNodeBackend(run.backend, threads === undefined ? {} : { threads });
  if (run.model === undefined) await reference?.weights(OP, undefined);
  const { stored, sha256 } = await tested.weights(OP, run.model);
  using _weights = stored;
  const isTested = hasWeights(tested, sha256);
  const defined =
    reference === undefined
      ? ownDefinition(tested.graph)
      : defineGraph(tested.graph, reference.graph, isTested ? 'tested' : 'reference');
  const compare = reference && new Comparison(tested, reference, defined);
  const sources = nodeSources(tested.graph);
  const judge = new Judge(tested, defined, nodeReaders(sources));
  const total = tested.nodeCount;
  const nodes: JudgedNode[] = [];
  const whole = new Map<number, WholeError>();
  let step = -1;
  let done = 0;
  for await (const ready of walkNodes(tested, defined.tensors, stored, backend, onNode)) {
    if (compare !== undefined && ready.step !== step) nodes.push(...(await compare.inputs(ready.step)));
    step = ready.step;
    const node = await judge.judge(ready);
    const error = await compare?.wholeError(ready);
    if (error !== undefined) {
      node.wholeError = error.nmse;
      if (error.choices !== undefined) node.choices = error.choices;
      whole.set(node.id, error);
    }
    nodes.push(node);
    if (++done % 64 === 0 || done === total) onProgress(done, total);
  }
  const last = lastLogits(nodes, tested, reference);
  if (reference === undefined || hasWeights(reference, sha256)) {
    const shares = nodeShares(tested.graph, sources, nodes, whole, last);
    for (const node of nodes) {
      const share = shares.get(node.id);
      if (share !== undefined) node.share = share;
    }
  }
  const missing = defined.alone.reference.filter(({ op }) => !isNotRun(op) && !COPY_OPS.has(op)).map(nameOf);
  const partial = [tested, reference].flatMap((each) =>
    each === undefined || each.dump.manifest.status === 'complete' ? [] : [basename(each.dump.dir)],
  );
  return {
    nodes,
    missing,
    partial,
    found:
      missing.length > 0 ||
      partial.length > 0 ||
      nodes.some((node) => node.isFault || node.problem !== undefined || isNotFinite(node)),
    faults: nodes.filter(({ isFault }) => isFault).map(({ id }) => id),
    parts: compare === undefined ? null : partsOf(nodes, last),
    alone: {
      tested: defined.alone.tested.map(nameOf),
      reference: defined.alone.reference.map(nameOf),
    },
    ownWeights: isTested,
    notes: [...notesOn(tested, reference, run.model, sha256), ...(await flatLogitsNote(tested.dump))],
    names: {
      recording: basename(run.recording),
      reference: run.reference === undefined ? null : basename(run.reference),
      model: run.model === undefined ? null : basename(run.model),
    },
    device: backend.device.description,
    threads,
  };
}

/** In either recording. */
function isNotFinite({ allNonFinite, wholeError }: JudgedNode): boolean {
  return allNonFinite > 0 || wholeError === Number.POSITIVE_INFINITY;
}

function nameOf({ op, name, tap }: GraphTensor): string {
  return `${op} ${tap ?? name}`;
}

/** Two recordings are compared step by step. */
function checkSteps({ dump: a }: Recording, { dump: b }: Recording): void {
  const rows = (dump: typeof a) => (dump.manifest.calls ?? []).map(({ rows: count }) => count).join(', ');
  if (a.manifest.steps !== b.manifest.steps || rows(a) !== rows(b))
    throw unmet('UNPAIRED', OP, `recordings of the same steps, ${rows(b)} tokens (${b.dir})`, rows(a), {
      where: a.dir,
    });
}

/** Judges node after node of one recording. */
class Judge {
  readonly #tested: Recording;
  readonly #defined: DefinedGraph;
  readonly #tokenTaps: ReadonlySet<string>;
  readonly #positions: number;
  readonly #readers: NodeReaders;

  constructor(tested: Recording, defined: DefinedGraph, readers: NodeReaders) {
    this.#readers = readers;
    this.#tested = tested;
    this.#defined = defined;
    const { dump } = tested;
    this.#tokenTaps = new Set(dump.taps.filter(({ scope }) => scope === 'token').map(({ name }) => name));
    this.#positions = Math.max(1, ...dump.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0));
  }

  async judge(ready: ReadyNode): Promise<JudgedNode> {
    const { node, step } = ready;
    const own = this.#tested.graph.tensors[node.id]!;
    const partner = this.#defined.partners.get(node.id);
    const differences = [
      ...this.#differences(own),
      ...(partner === undefined ? ["not in the reference's graph"] : []),
    ];
    const judged: JudgedNode = {
      id: node.id,
      step,
      op: node.op,
      name: node.tap ?? node.name,
      block: this.#tested.blockOf(node),
      ...weightOf(own, this.#tested.graph.tensors),
      ...readerOf(node, this.#readers, this.#tested.graph.tensors),
      type: own.type,
      ownError: null,
      limit: 0,
      isFault: false,
      widened: [],
      differences,
      nonFinite: 0,
      allNonFinite: ready.nonFinite,
    };
    try {
      const isTokens = node.tap !== undefined && this.#tokenTaps.has(node.tap);
      return Object.assign(
        judged,
        await judgeNode(ready, {
          positions: this.#positions,
          tokenAxis: isTokens ? node.axes?.[0] : undefined,
          isMissing: partner === undefined || differences.some((each) => each.startsWith('lacks ')),
          isStoredLower: partner !== undefined && bitsOf(own) < bitsOf(partner),
          differences,
          asRecorded: () => this.#asRecorded(own, ready),
        }),
      );
    } catch (error) {
      if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
      return { ...judged, problem: error.message };
    }
  }

  /** Differences of a node, and of the weights that it reads. */
  #differences({ id, src }: GraphTensor): string[] {
    const { differences } = this.#defined;
    const weights = src.flatMap((source) =>
      source !== null && this.#tested.graph.tensors[source]!.weight !== undefined
        ? (differences.get(source) ?? [])
        : [],
    );
    return [...(differences.get(id) ?? []), ...weights];
  }

  /** As the recording's own graph has it. Other weights cannot be had. */
  async #asRecorded(own: GraphTensor, { node, written, recorded, runAs }: ReadyNode): Promise<number> {
    const { tensors } = this.#tested.graph;
    const isOtherWeight = (id: number | null): boolean =>
      id !== null && tensors[id]!.weight !== undefined && this.#defined.differences.has(id);
    if (own.src.some(isOtherWeight)) return Number.POSITIVE_INFINITY;
    const again = await runAs(own, tensors);
    const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, node.type, written.ne[0]);
    return nmse(await numbers(again), await numbers(recorded));
  }
}

/**
 * ggml numbers nodes that nobody named: they are told by the first that reads them; one that computes comes
 * before one that copies.
 */
function readerOf(
  { id, name }: GraphTensor,
  readers: NodeReaders,
  tensors: readonly GraphTensor[],
): { readBy?: string } {
  if (!/^node_\d+/.test(name)) return {};
  let first: GraphTensor | undefined;
  for (const each of readers.of(id)) {
    const reader = tensors[each]!;
    first ??= reader;
    if (COPY_OPS.has(reader.op)) continue;
    first = reader;
    break;
  }
  return first === undefined ? {} : { readBy: first.tap ?? first.name };
}

/** The one weight that a node reads, if it reads one. */
function weightOf({ src }: GraphTensor, tensors: readonly GraphTensor[]): { weight?: string } {
  const names = src.flatMap((id) => (id === null ? [] : (tensors[id]!.weight ?? [])));
  return names.length === 1 ? { weight: names[0]! } : {};
}

/** Bits that a value keeps of a number; of quantised types those of an element. */
function bitsOf({ type }: GraphTensor): number {
  return MANTISSA[type] ?? Math.floor((8 * tapBlockBytes(type)) / blockElements(type));
}

const MANTISSA: Readonly<Record<string, number>> = { F64: 53, F32: 24, F16: 11, BF16: 8 };

function firstOtherToken({ dump: a }: Recording, { dump: b }: Recording): number | undefined {
  const [own, right] = [a, b].map(({ manifest }) => manifest.sequences.flatMap(({ tokens }) => tokens ?? []));
  const at = own!.findIndex((token, k) => token !== right![k]);
  return at < 0 ? undefined : at;
}

function hasWeights({ dump }: Recording, sha256: string | undefined): boolean {
  return dump.manifest.model.weightsSha256 === sha256;
}

/** Tokens that were given; all others a run chose. */
function promptLength({ dump }: Recording): number {
  const given = (dump.manifest.calls ?? []).filter(({ kind }) => kind !== 'decode');
  return given.reduce((sum, { rows }) => sum + rows, 0);
}

/** The last logits of the same tokens: what follows from another token says nothing of the arithmetic. */
function lastLogits(
  nodes: readonly JudgedNode[],
  tested: Recording,
  reference: Recording | undefined,
): JudgedNode | undefined {
  const names = tested.dump.manifest.roles?.logits ?? [];
  const logits = nodes.filter(({ name, wholeError }) => names.includes(name) && wholeError !== undefined);
  const other = reference && firstOtherToken(tested, reference);
  if (other === undefined) return logits.at(-1);
  let position = 0;
  const call = (tested.dump.manifest.calls ?? []).find(({ rows }) => {
    position += rows;
    return position > other;
  });
  return logits.findLast(({ step }) => step < (call?.step ?? 0)) ?? logits.at(-1);
}

function partsOf(nodes: readonly JudgedNode[], last: JudgedNode | undefined): RecordingVerdict['parts'] {
  const first = nodes.find(({ wholeError }) => wholeError !== undefined && wholeError > 0);
  return { first: first?.id ?? null, logits: last?.wholeError ?? null };
}

function notesOn(
  tested: Recording,
  reference: Recording | undefined,
  model: string | undefined,
  sha256: string | undefined,
): string[] {
  const notes: string[] = [];
  const other = reference && firstOtherToken(tested, reference);
  if (other !== undefined)
    notes.push(
      other < promptLength(tested)
        ? `DIFFERENT TOKENS: the recordings ran different token ids from position ${other} on; each node is judged by its own inputs all the same`
        : `the runs went on with different tokens from position ${other} on, each with the likeliest of its own logits; nodes are judged by their own inputs all the same`,
    );
  const [own, right] = [tested.dump.manifest.model, (reference ?? tested).dump.manifest.model];
  if (model !== undefined && sha256 !== undefined) notes.push(...weightNotes(own, right, model, sha256));
  for (const [setting, value] of Object.entries(tested.dump.manifest.policy)) {
    const theirs = (reference ?? tested).dump.manifest.policy[setting];
    if (SETTINGS.has(setting) && value !== theirs)
      notes.push(`settings differ: ${setting} ${String(value)} (reference ${String(theirs)})`);
  }
  const left = tested.leftOut.length;
  if (left > 0) notes.push(`NOT RECORDED: ${left} nodes of the tested recording are left out`);
  return notes;
}

function weightNotes(own: DumpModel, right: DumpModel, model: string, sha256: string): string[] {
  const notes: string[] = [];
  const isEither = sha256 === right.weightsSha256 || sha256 === own.weightsSha256;
  if (right.weightsSha256 !== undefined && !isEither)
    notes.push(`DIFFERENT WEIGHTS: ${right.name} ran, and is judged by the weights of ${basename(model)}`);
  if (own.weightsSha256 !== right.weightsSha256)
    notes.push(
      `the recordings ran different weights: ${right.name} (reference) and ${own.name} (tested); judged by those of ${sha256 === own.weightsSha256 ? 'the tested run, as it stores them' : 'the reference'}`,
    );
  return notes;
}
