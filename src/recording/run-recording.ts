/**
 * Records a run of libllama: once without reading values, which gives the graphs and the logits to compare
 * with, and once with. Meant for a child process: libllama aborts on some bad files.
 */
import { ggmlType } from '../dtype.js';
import type { RowIndex } from '../dump/format.js';
import { DumpWriter } from '../dump/writer.js';
import { ZayascopeError } from '../errors.js';
import { openGgufFile } from '../models/layout/source.js';
import { LLAMA_MODE, llamaLibraryFile, type NativeLlama, type NativeRecorded, native } from '../native.js';
import { type Call, describeRun, graphFile } from './describe-recording.js';
import type { RecordResult, RecordRun } from './record.js';
import { type Four, GraphCollector, type RecordedTensor, unexpected } from './recorded-graph.js';
import { planTaps, type TapPlan } from './tap-plan.js';
import { ValueWriter } from './value-writer.js';

const OP = 'record';
/** Bytes of values that may wait to be written before the model is made to wait. */
const MAX_UNWRITTEN = 2 ** 28;

/** @param onProgress called with graphs done and graphs in all, of the second run. */
export async function runRecording(
  run: RecordRun,
  onProgress: (done: number, total: number) => void,
): Promise<RecordResult> {
  const listener: { take: (recorded: NativeRecorded) => void } = { take: () => {} };
  let received = 0;
  let wake = () => {};
  const library = llamaLibraryFile();
  const { Llama } = native();
  if (Llama === undefined)
    throw new ZayascopeError(
      'BACKEND',
      `${OP}: expected an addon that was built with llama.h, got one built from a checkout of ggml alone`,
      { op: OP },
    );
  const llama = new Llama(library, run.model, (recorded) => {
    received++;
    listener.take(recorded);
    wake();
  });
  /** What the other thread has sent may still be on its way when a call has ended. */
  const settle = async (): Promise<void> => {
    while (received < llama.sent)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  };
  try {
    const collector = new GraphCollector();
    listener.take = (recorded) => {
      collector.add(recorded);
    };
    start(llama, run);
    const { calls, logits } = await firstRun(llama, run, settle);
    const index = rowsOfGraphs(calls, run.ubatch);
    if (index.length !== collector.graphs.length)
      throw unexpected(`${index.length} graphs`, `${collector.graphs.length}`);
    const plan = planTaps(
      collector,
      index.map(({ position }) => position.length),
    );
    start(llama, run);
    return await secondRun(llama, run, {
      calls,
      logits,
      index,
      plan,
      collector,
      listener,
      settle,
      onProgress,
    });
  } finally {
    llama.close();
  }
}

function start(llama: NativeLlama, run: RecordRun): void {
  const { tokens, generate, ubatch, threads, flashAttention, keyType, valueType } = run;
  llama.start({
    context: Math.max(64, tokens.length + generate),
    ubatch,
    threads,
    flashAttention,
    keyType: ggmlType(keyType),
    valueType: ggmlType(valueType),
  });
}

/** The prompt's calls, then a token at a time, each the likeliest. */
async function firstRun(
  llama: NativeLlama,
  { tokens, chunk, generate, ubatch }: RecordRun,
  settle: () => Promise<void>,
): Promise<{ calls: Call[]; logits: Float32Array[] }> {
  const calls: Call[] = [];
  const logits: Float32Array[] = [];
  let step = 0;
  const call = async (first: number, part: readonly number[]): Promise<void> => {
    calls.push({ first, tokens: part, step });
    step += Math.ceil(part.length / ubatch);
    logits.push(await llama.decode(part, first, LLAMA_MODE.structure));
    await settle();
  };
  for (let first = 0; first < tokens.length; first += chunk)
    await call(first, tokens.slice(first, first + chunk));
  for (let k = 0; k < generate; k++)
    await call(tokens.length + k, [likeliest(logits.at(-1)!.subarray(-llama.vocabulary))]);
  return { calls, logits };
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let k = 1; k < logits.length; k++) if (logits[k]! > logits[best]!) best = k;
  return best;
}

/** A call of more tokens than a micro-batch is several graphs; each is a step of the dump. */
function rowsOfGraphs(calls: readonly Call[], ubatch: number): RowIndex[] {
  const index: RowIndex[] = [];
  for (const { first, tokens } of calls)
    for (let start = 0; start < tokens.length; start += ubatch) {
      const ids = tokens.slice(start, start + ubatch);
      index.push({
        sequence: new Int32Array(ids.length),
        position: Int32Array.from(ids, (_, k) => first + start + k),
        tokenId: Int32Array.from(ids),
        step: new Int32Array(ids.length).fill(index.length),
      });
    }
  return index;
}

interface SecondRun {
  calls: readonly Call[];
  logits: readonly Float32Array[];
  index: readonly RowIndex[];
  plan: TapPlan;
  collector: GraphCollector;
  listener: { take: (recorded: NativeRecorded) => void };
  settle: () => Promise<void>;
  onProgress: (done: number, total: number) => void;
}

async function secondRun(llama: NativeLlama, run: RecordRun, second: SecondRun): Promise<RecordResult> {
  const { calls, logits, index, plan, collector, settle } = second;
  const file = await openGgufFile(run.model);
  const description = await describeRun(run, file, calls, plan);
  await using writer = await DumpWriter.create(run.out, description, {
    overwrite: run.overwrite,
    graph: true,
  });
  const values = new ValueWriter(writer, plan, index);
  let unwritten = 0;
  let bytes = 0;
  const owed: number[] = [];
  let failure: unknown;
  const again = new GraphCollector();
  second.listener.take = (recorded) => {
    if (failure !== undefined) return;
    try {
      const tensor =
        recorded.kind === undefined
          ? collector.tensors[recorded.id]
          : sameTensor(again.add(recorded), collector);
      if (tensor === undefined) throw unexpected('a tensor of the first run', `tensor ${recorded.id}`);
      if (recorded.bytes === undefined || recorded.bytes.byteLength === 0) return;
      const size = recorded.bytes.byteLength;
      bytes += size;
      unwritten += size;
      // Values that wait for their block are let through; a disk that falls behind holds the model back.
      if (unwritten < MAX_UNWRITTEN) llama.release(size);
      else owed.push(size);
      const written = values.take(recorded.graph, tensor, recorded.ne as unknown as Four, recorded.bytes);
      written.then(
        () => {
          unwritten -= size;
          for (const each of owed.splice(0)) llama.release(each);
        },
        (error: unknown) => {
          failure ??= error;
          llama.cancel();
        },
      );
    } catch (error) {
      failure ??= error;
      llama.cancel();
    }
  };
  let isSame = true;
  for (const [k, { first, tokens, step }] of calls.entries()) {
    const own = await llama.decode(tokens, first, LLAMA_MODE.values).catch((error: unknown) => {
      throw failure ?? error;
    });
    await settle();
    if (failure !== undefined) throw failure;
    isSame &&= sameBits(own, logits[k]!);
    for (let graph = step; graph < (calls[k + 1]?.step ?? index.length); graph++) {
      await values.endGraph(graph);
      second.onProgress(graph + 1, index.length);
    }
  }
  await writer.writeGraph(graphFile(file, collector, plan));
  await writer.finish();
  const last = logits.at(-1)!.subarray(-llama.vocabulary);
  const next = likeliest(last);
  return {
    out: run.out,
    description: llama.description,
    graphs: collector.graphs.length,
    nodes: collector.tensors.filter(({ id, kind }) => kind === 'node' && plan.values.has(id)).length,
    views: collector.tensors.filter(({ kind }) => kind === 'view').length,
    taps: plan.taps.length,
    valueBytes: bytes,
    isSame,
    next,
    nextLogit: last[next]!,
    nonFiniteLogits: logits.reduce(
      (sum, each) => sum + each.reduce((n, x) => n + (Number.isFinite(x) ? 0 : 1), 0),
      0,
    ),
    generated: calls.filter(({ first }) => first >= run.tokens.length).flatMap(({ tokens }) => [...tokens]),
  };
}

/** The second run builds the graphs of the first: the names that were planned are those that come. */
function sameTensor(tensor: RecordedTensor, { tensors }: GraphCollector): RecordedTensor {
  const planned = tensors[tensor.id];
  if (planned === undefined || planned.name !== tensor.name || planned.op !== tensor.op)
    throw unexpected(
      `tensor ${tensor.id} of the first run, ${planned?.op} ${planned?.name}`,
      `${tensor.op} ${tensor.name}`,
    );
  return planned;
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bits = (array: Float32Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return bits(a).equals(bits(b));
}
