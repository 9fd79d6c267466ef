/** Records a run of our own models: every ggml node and the graph, in the format of `record`. */
import { checkFreeSpace } from '../../capture/create-dump.js';
import { describeRun } from '../../capture/describe-model.js';
import type { DumpDescription } from '../../dump/format.js';
import { DumpWriter } from '../../dump/writer.js';
import { badArgument, ZayascopeError } from '../../errors.js';
import type { CompiledGraph } from '../../graph/compile.js';
import { countNotNumbers } from '../../likeliest-token.js';
import type { Model } from '../../models/runtime/model.js';
import { checkTokenIds } from '../../models/runtime/token-ids.js';
import { native } from '../../native.js';
import { sameBytes } from '../../same-bytes.js';
import { graphFile } from '../record/graph-file.js';
import type { GraphRows } from '../record/graph-rows.js';
import { measureRows } from '../record/measure-rows.js';
import { type Four, type RecordedTensor, unexpected, valueSizes } from '../record/recorded-graph.js';
import { planTaps, type TapPlan } from '../record/tap-plan.js';
import { ValueWriter } from '../record/value-writer.js';
import { OwnGraphs } from './own-graphs.js';
import { type OwnCall, type OwnWatch, runOwn } from './own-run.js';

/** Options of {@link captureNodes}. */
export interface CaptureNodesOptions {
  /** Folder of the recording; made if absent. */
  out: string;
  /** Tokens to append to each prompt, each the likeliest, in a call of its own with a cache. Default 0. */
  generate?: number;
  /** Replaces a dump that is there. Default false. */
  overwrite?: boolean;
  /** Called with calls done and calls in all, of the run whose values are read. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the run (`CANCELLED`); what has been written stays, marked partial. */
  signal?: AbortSignal;
}

/** What {@link captureNodes} gives. */
export interface CapturedNodes {
  out: string;
  /** Forward calls, each a graph of all segments. */
  graphs: number;
  /** Nodes that compute, of all graphs; and views, which do not. */
  nodes: number;
  views: number;
  taps: number;
  /** Taps with names of the model file. */
  named: number;
  /** Of values, each once. */
  valueBytes: number;
  /** True where the logits with and without recording are the same bits. */
  isSame: boolean;
  /** Logits of the last token of each sequence, F32 [V]. */
  logits: Float32Array[];
  /** Tokens that were appended to each sequence. */
  generated: number[][];
  nonFiniteLogits: number;
}

/**
 * Runs sequences of token ids, each on its own, and writes the value of every node with the graph: what
 * `replay`, `locate`, `step` and `repro` read. Runs three times: as it is, for the graphs, and for the
 * values.
 *
 * @throws `BAD_ARGUMENT` for no sequence, an empty one, ids outside the vocabulary, repacked weights; `IO`,
 * `NO_SPACE`, `CANCELLED`.
 */
export async function captureNodes(
  model: Model,
  sequences: readonly (readonly number[])[],
  options: CaptureNodesOptions,
): Promise<CapturedNodes> {
  const { out, generate = 0, overwrite = false, onProgress = () => {}, signal } = options;
  const { config, backend, weights } = model;
  if (sequences.length === 0) throw badArgument('capture', 'at least one sequence', 'none');
  for (const tokens of sequences) checkTokenIds('capture', tokens, config.vocab_size);
  if (weights.repackedBytes > 0)
    throw badArgument('capture', 'weights that can be read back, for nodes', 'repacked ones');
  const check = () => {
    if (signal?.aborted)
      throw new ZayascopeError('CANCELLED', 'capture: cancelled by the caller', { op: 'capture' });
  };
  const cancel = () => backend.native.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    check();
    const plain = await runOwn(model, sequences, generate);
    const graphs = new OwnGraphs(model);
    await runOwn(model, sequences, generate, watchGraphs(graphs, check), plain);
    const { collector, names, tokenAxis } = graphs;
    const rows = plain.map((call, step) => rowsOf(call, step));
    const plan = planTaps(
      collector,
      plain.map(({ tokens }) => tokens.length),
      { names: (graph) => graphs.namesOf(graph), tokenAxis },
    );
    const nodes = collector.tensors.filter(({ kind, id }) => kind === 'node' && plan.values.has(id));
    const valueBytes = nodes.reduce((sum, tensor) => sum + bytesOf(tensor, collector.tensors), 0);
    await checkFreeSpace(out, valueBytes);
    const description = await describe(model, sequences, plain, plan);
    await using writer = await DumpWriter.create(out, description, { overwrite, graph: true });
    await writer.writeGraph(graphFile(weights, collector, plan));
    const values = new ValueWriter(writer, plan, rows, { measure: measureRows });
    const watch = watchValues(new OwnGraphs(model), collector.tensors, values, (done) => {
      check();
      onProgress(done, plain.length);
    });
    const recorded = await runOwn(model, sequences, generate, watch, plain);
    await writer.finish();
    return {
      out,
      graphs: plain.length,
      nodes: nodes.length,
      views: collector.tensors.filter(({ kind }) => kind === 'view').length,
      taps: plan.taps.length,
      named: new Set([...names.values()].flatMap(({ name, declared }) => (declared ? [name] : []))).size,
      valueBytes,
      isSame: plain.every(({ logits }, k) => sameBytes(logits, recorded[k]!.logits)),
      logits: sequences.map((_, s) =>
        plain.findLast(({ sequence }) => sequence === s)!.logits.slice(-config.vocab_size),
      ),
      generated: sequences.map((_, s) =>
        plain
          .filter(({ sequence, kind }) => sequence === s && kind === 'decode')
          .flatMap(({ tokens }) => [...tokens]),
      ),
      nonFiniteLogits: plain.reduce((sum, { logits }) => sum + countNotNumbers(logits), 0),
    };
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** Collects the graphs. */
function watchGraphs(graphs: OwnGraphs, check: () => void): OwnWatch {
  return {
    taps: graphs.taps,
    begin: ({ first }) => graphs.begin(first === 0),
    before(segment, graph) {
      check();
      graphs.add(segment, graph, false);
    },
    after() {},
    async end() {},
  };
}

/** Reads the values of a run whose graphs are known, and writes them. */
function watchValues(
  graphs: OwnGraphs,
  planned: readonly RecordedTensor[],
  values: ValueWriter,
  onCall: (done: number) => void,
): OwnWatch {
  let brought: ReturnType<OwnGraphs['add']> = [];
  let call = -1;
  const take = (tensor: RecordedTensor, bytes: Uint8Array) =>
    values.take(call, tensor, valueSizes(tensor, graphs.collector.tensors), bytes);
  return {
    taps: graphs.taps,
    begin({ first }) {
      graphs.begin(first === 0);
      call++;
    },
    async before(segment, graph: CompiledGraph) {
      brought = graphs.add(segment, graph, true);
      for (const { tensor } of brought) checkPlanned(tensor, planned[tensor.id]);
      await Promise.all(brought.map(({ tensor, bytes }) => bytes && take(tensor, bytes)));
    },
    async after(_, { native: graph }) {
      const nodes = brought.filter(({ tensor }) => tensor.kind === 'node' && !tensor.ne.includes(0));
      await Promise.all(nodes.map(({ tensor, place }) => take(tensor, graph.value(place))));
    },
    async end() {
      await values.endGraph(call);
      onCall(call + 1);
    },
  };
}

function checkPlanned({ id, name, op }: RecordedTensor, planned: RecordedTensor | undefined): void {
  if (planned?.name !== name || planned.op !== op)
    throw unexpected(`tensor ${id} of the first run, ${planned?.op} ${planned?.name}`, `${op} ${name}`);
}

function rowsOf({ sequence, first, tokens }: OwnCall, step: number): GraphRows {
  const count = tokens.length;
  return [
    {
      sequence: new Int32Array(count).fill(sequence),
      position: Int32Array.from({ length: count }, (_, k) => first + k),
      tokenId: Int32Array.from(tokens),
      step: new Int32Array(count).fill(step),
    },
  ];
}

/** Bytes of a node's value: of its elements, and as many for statistics at most. */
function bytesOf(tensor: RecordedTensor, tensors: readonly RecordedTensor[]): number {
  const ne: Four = valueSizes(tensor, tensors);
  return 4 * ne[0] * ne[1] * ne[2] * ne[3];
}

async function describe(
  model: Model,
  sequences: readonly (readonly number[])[],
  calls: readonly OwnCall[],
  plan: TapPlan,
): Promise<DumpDescription> {
  const run = await describeRun(model);
  return {
    tier: 'full',
    ...run,
    producer: { ...run.producer, commit: native().version().commit },
    sequences: sequences.map((_, s) => ({
      tokens: calls.filter(({ sequence }) => sequence === s).flatMap(({ tokens }) => [...tokens]),
    })),
    selection: { taps: '**', positions: 'all' },
    taps: plan.taps,
    order: 'execution',
    calls: calls.map(({ kind, tokens }, step) => ({ step, kind, rows: tokens.length })),
  };
}
