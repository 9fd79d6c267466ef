/**
 * Records a run of libllama: once without reading values, which gives the graphs and the logits to compare
 * with, and once with. Meant for a child process: libllama aborts on some bad files.
 */
import type { RowIndex } from '../../dump/format.js';
import { DumpWriter } from '../../dump/writer.js';
import { flatRows } from '../../flat-logits.js';
import { openGgufFile } from '../../models/layout/source.js';
import { sameBytes } from '../../same-bytes.js';
import { countNotNumbers, nmse } from '../replay/widen.js';
import { type Call, describeRun, graphFile } from './describe-recording.js';
import { Grafts } from './grafts.js';
import { LlamaSession } from './llama-session.js';
import type { RecordResult, RecordRun } from './record.js';
import { GraphCollector, unexpected } from './recorded-graph.js';
import { planTaps, type TapPlan } from './tap-plan.js';
import { ValueTaker } from './value-taker.js';
import { ValueWriter } from './value-writer.js';

/** @param onProgress called with graphs done and graphs in all, of the run whose values are read. */
export async function runRecording(
  run: RecordRun,
  onProgress: (done: number, total: number) => void,
): Promise<RecordResult> {
  using session = new LlamaSession(run);
  const recording = new RecordingRun(session, run);
  const plain = await recording.collect();
  await using grafts = await Grafts.open(run, recording.graphs, recording.plan);
  const edited = grafts.count === 0 ? plain : await recording.edit(grafts, plain);
  const result = await recording.record(edited, grafts, onProgress);
  if (grafts.count === 0) return result;
  // Steps may append other tokens than they did without.
  const errors = plain.map(({ logits }, k) => nmse(logits, edited[k]!.logits));
  return { ...result, edited: { nodes: grafts.count, logitsNmse: Math.max(...errors) } };
}

/** A call that has been made. */
interface Made extends Call {
  logits: Float32Array;
}

/** One recording, run by run. */
export class RecordingRun {
  readonly #session: LlamaSession;
  readonly #run: RecordRun;
  readonly graphs = new GraphCollector();
  #plan: TapPlan | undefined;

  constructor(session: LlamaSession, run: RecordRun) {
    this.#session = session;
    this.#run = run;
  }

  get plan(): TapPlan {
    return this.#plan!;
  }

  /** The run as it is, for its graphs. */
  async collect(): Promise<Made[]> {
    this.#session.start((recorded) => {
      this.graphs.add(recorded);
    });
    const calls = await this.#calls();
    const rows = rowsOfGraphs(calls, this.#run.ubatch).map(({ position }) => position.length);
    if (rows.length !== this.graphs.graphs.length)
      throw unexpected(`${rows.length} graphs`, `${this.graphs.graphs.length}`);
    this.#plan = planTaps(this.graphs, rows);
    return calls;
  }

  /** The run with values written into it; graphs stay as they are, whatever the values. */
  edit(grafts: Grafts, plain: readonly Made[]): Promise<Made[]> {
    this.#session.start(() => {});
    return this.#calls(grafts, plain);
  }

  /** The calls again, with every value read. */
  async record(
    calls: readonly Made[],
    grafts: Grafts,
    onProgress: (done: number, total: number) => void,
  ): Promise<RecordResult> {
    const [run, session] = [this.#run, this.#session];
    const file = await openGgufFile(run.model);
    const description = await describeRun(run, file, calls, this.plan);
    await using writer = await DumpWriter.create(run.out, description, {
      overwrite: run.overwrite,
      graph: true,
    });
    // Before the values: what is there of a run that is cut short can be replayed.
    await writer.writeGraph(graphFile(file.stored, this.graphs, this.plan));
    const index = rowsOfGraphs(calls, run.ubatch);
    const values = new ValueWriter(writer, this.plan, index);
    const taker = new ValueTaker(session, this.graphs, values);
    session.start(taker.take);
    let isSame = true;
    for (const [k, call] of calls.entries()) {
      await this.#graft(grafts, call);
      const own = await session.decode(call, 'values').catch((error: unknown) => {
        throw taker.failure ?? error;
      });
      if (taker.failure !== undefined) throw taker.failure;
      isSame &&= sameBytes(own, call.logits);
      for (let graph = call.step; graph < (calls[k + 1]?.step ?? index.length); graph++) {
        await values.endGraph(graph);
        onProgress(graph + 1, index.length);
      }
    }
    if (session.grafted !== grafts.count)
      throw unexpected(`${grafts.count} values to be written into the run`, `${session.grafted}`);
    await writer.finish();
    const last = calls.at(-1)!.logits.subarray(-session.vocabulary);
    const next = likeliest(last);
    const { tensors } = this.graphs;
    return {
      out: run.out,
      description: session.description,
      graphs: this.graphs.graphs.length,
      nodes: tensors.filter(({ id, kind }) => kind === 'node' && this.plan.values.has(id)).length,
      views: tensors.filter(({ kind }) => kind === 'view').length,
      taps: this.plan.taps.length,
      valueBytes: taker.bytes,
      isSame,
      next,
      nextLogit: next === null ? null : last[next]!,
      flatLogits: calls.reduce((sum, { logits }) => sum + flatRows(logits, session.vocabulary), 0),
      beyondContext: null,
      tokens: calls.reduce((sum, { tokens }) => sum + tokens.length, 0),
      nonFiniteLogits: calls.reduce((sum, { logits }) => sum + countNotNumbers(logits), 0),
      generated: calls.filter(({ first }) => first >= run.tokens.length).flatMap(({ tokens }) => [...tokens]),
    };
  }

  /** The prompt's calls, then a token at a time, each the likeliest. */
  async #calls(grafts?: Grafts, plain: readonly Made[] = []): Promise<Made[]> {
    const { tokens, chunk, generate, ubatch } = this.#run;
    const calls: Made[] = [];
    let step = 0;
    const make = async (first: number, part: readonly number[]): Promise<void> => {
      const call = { first, tokens: part, step };
      if (grafts !== undefined) await this.#graft(grafts, call);
      calls.push({ ...call, logits: await this.#session.decode(call, 'structure') });
      step += Math.ceil(part.length / ubatch);
    };
    for (let first = 0; first < tokens.length; first += chunk)
      await make(first, tokens.slice(first, first + chunk));
    for (let k = 0; k < generate; k++) {
      // Where what was written made logits NaN, the tokens of the run without it: its graphs are planned.
      const own = likeliest(calls.at(-1)!.logits.subarray(-this.#session.vocabulary));
      const next = own ?? plain[calls.length]?.tokens[0] ?? null;
      if (next === null) break;
      await make(tokens.length + k, [next]);
    }
    return calls;
  }

  async #graft(grafts: Grafts, { step, tokens }: Call): Promise<void> {
    const end = step + Math.ceil(tokens.length / this.#run.ubatch);
    for (let graph = step; graph < end; graph++)
      for await (const { id, bytes } of grafts.of(graph)) this.#session.graft(id, bytes);
  }
}

/** Null where a logit is NaN or infinite, as for a capture: any token might be the likeliest. */
function likeliest(logits: Float32Array): number | null {
  if (!logits.every(Number.isFinite)) return null;
  return logits.reduce((best, value, id) => (value > logits[best]! ? id : best), 0);
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
