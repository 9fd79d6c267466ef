/**
 * Records a run of libllama: once without reading values, which gives the graphs and the logits to compare
 * with, and once with. Meant for a child process: libllama aborts on some bad files.
 */
import { DumpWriter } from '../../dump/writer.js';
import { badArgument } from '../../errors.js';
import { flatRows } from '../../flat-logits.js';
import { countNotNumbers, likeliestToken } from '../../likeliest-token.js';
import { openGgufFile } from '../../models/layout/source.js';
import { sameBytes } from '../../same-bytes.js';
import { tapPattern } from '../../tap-pattern.js';
import { weightsSha256 } from '../../weights/identity.js';
import { nmse } from '../replay/widen.js';
import { describeRun } from './describe-recording.js';
import { Grafts } from './grafts.js';
import { graphFile } from './graph-file.js';
import {
  type Call,
  type CallPart,
  type GraphRows,
  rowCount,
  rowsOfGraphs,
  tokenCount,
} from './graph-rows.js';
import { narrowPlan } from './kept-values.js';
import { LlamaSession } from './llama-session.js';
import { measureRows } from './measure-rows.js';
import type { RecordResult, RecordRun } from './record.js';
import { GraphCollector, unexpected } from './recorded-graph.js';
import { planTaps, type TapPlan } from './tap-plan.js';
import { ValueTaker } from './value-taker.js';
import { type Kept, ValueWriter } from './value-writer.js';

/** @param onProgress called with graphs done and graphs in all, of the run whose values are read. */
export async function runRecording(
  run: RecordRun,
  onProgress: (done: number, total: number) => void,
): Promise<RecordResult> {
  using session = recordingSession(run);
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

/** A model ready for all runs of a recording. */
export function recordingSession(run: RecordRun): LlamaSession {
  const longest = Math.max(...run.sequences.map(({ length }) => length));
  return new LlamaSession({
    ...run,
    context: longest + run.generate,
    sequences: run.sequences.length,
    unified: run.sequences.length > 1,
  });
}

async function identityOf(
  model: string,
): Promise<{ file: Awaited<ReturnType<typeof openGgufFile>>; weightsSha256: string }> {
  const file = await openGgufFile(model);
  return { file, weightsSha256: await weightsSha256(file.stored) };
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
  /** Read while the first run computes. */
  readonly #identity: ReturnType<typeof identityOf>;
  #plan: TapPlan | undefined;
  #rows: readonly GraphRows[] = [];

  constructor(session: LlamaSession, run: RecordRun) {
    this.#session = session;
    this.#run = run;
    this.#identity = identityOf(run.model);
    this.#identity.catch(() => {}); // told where it is awaited
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
    this.#rows = rowsOfGraphs(calls, this.graphs.rowInputs, this.#run.ubatch);
    this.#plan = planTaps(this.graphs, this.#rows.map(rowCount));
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
    const { file, weightsSha256 } = await this.#identity;
    const { plan, kept } = this.#narrowed();
    const description = describeRun(run, file, weightsSha256, calls, plan);
    const taker = new ValueTaker(session, this.graphs);
    session.start(taker.take);
    session.want(plan.values.keys());
    const begin = async (k: number): Promise<Float32Array> => {
      await this.#graft(grafts, calls[k]!, calls[k + 1]?.step);
      return session.decode(calls[k]!.parts, 'values');
    };
    // The files are made while the model computes.
    const first = begin(0);
    first.catch(() => {});
    const creating = DumpWriter.create(run.out, description, { overwrite: run.overwrite, graph: true });
    await using writer = await creating.catch(async (error: unknown) => {
      session.cancel();
      await first.catch(() => {});
      throw error;
    });
    const index = rowsWithTokens(this.#rows, calls);
    const values = new ValueWriter(writer, plan, index, { kept, measure: measureRows });
    // What is there of a run that is cut short can be replayed: its graph comes before its values.
    let written = writer.writeGraph(graphFile(file.stored, this.graphs, plan));
    written.catch(() => {});
    taker.begin(values);
    let isSame = true;
    for (const [k, call] of calls.entries()) {
      const decoding = k === 0 ? first : begin(k);
      const own = await decoding.catch((error: unknown) => {
        throw taker.failure ?? error;
      });
      if (taker.failure !== undefined) throw taker.failure;
      isSame &&= sameBytes(own, call.logits);
      // Written while the next call computes.
      for (let graph = call.step; graph < (calls[k + 1]?.step ?? index.length); graph++) {
        const ended = values.endGraph(graph).then(() => onProgress(graph + 1, index.length));
        ended.catch(taker.fail);
        written = Promise.all([written, ended]).then(() => {});
        written.catch(() => {});
      }
    }
    if (session.grafted !== grafts.count)
      throw unexpected(`${grafts.count} values to be written into the run`, `${session.grafted}`);
    await written;
    await writer.finish();
    const { tensors } = this.graphs;
    const ends = run.sequences.map((_, sequence) => this.#endOf(sequence, calls));
    return {
      out: run.out,
      description: session.description,
      graphs: this.graphs.graphs.length,
      nodes: tensors.filter(({ id, kind }) => kind === 'node' && plan.values.has(id)).length,
      views: tensors.filter(({ kind }) => kind === 'view').length,
      taps: plan.taps.length,
      valueBytes: taker.bytes,
      isSame,
      ...ends[0]!,
      flatLogits: calls.reduce((sum, { logits }) => sum + flatRows(logits, session.vocabulary), 0),
      beyondContext: null,
      tokens: calls.reduce((sum, call) => sum + tokenCount(call), 0),
      nonFiniteLogits: calls.reduce((sum, { logits }) => sum + countNotNumbers(logits), 0),
      others: ends.slice(1),
    };
  }

  /** What of the run is written. */
  #narrowed(): { plan: TapPlan; kept: Kept } {
    const { taps, positions, tier, sequences, generate } = this.#run;
    const { plan, unread } = narrowPlan(this.plan, this.graphs, tapPattern(taps));
    if (plan.taps.length === 0) throw badArgument('record', 'a pattern that matches a tap', taps);
    const isAll = positions.trim() === 'all';
    const specs = new Map(plan.taps.map((tap) => [tap.name, tap]));
    const narrowed = new Set(isAll ? [] : [...unread].filter((name) => specs.get(name)!.scope === 'token'));
    return {
      plan: {
        ...plan,
        taps: plan.taps.map((tap) => (narrowed.has(tap.name) ? { ...tap, nullable: true } : tap)),
      },
      kept: {
        tier,
        narrowed,
        positions: isAll
          ? null
          : { text: positions, lengths: sequences.map(({ length }) => length + generate) },
      },
    };
  }

  /** What a sequence appended, and what would come next. */
  #endOf(sequence: number, calls: readonly Made[]): RecordResult['others'][0] {
    const own = calls.flatMap((call) => call.parts.filter((part) => part.sequence === sequence));
    const [last] = calls.flatMap((call) => this.#lastLogits(call, sequence) ?? []).slice(-1);
    const next = likeliestToken(last!);
    return {
      next,
      nextLogit: next === null ? null : last![next]!,
      generated: own
        .filter(({ first }) => first >= this.#run.sequences[sequence]!.length)
        .flatMap(({ tokens }) => [...tokens]),
    };
  }

  /** Logits of the last token that a call has of a sequence. */
  #lastLogits({ parts, logits }: Made, sequence: number): Float32Array | undefined {
    const { vocabulary } = this.#session;
    let end = 0;
    for (const part of parts) {
      end += part.tokens.length * vocabulary;
      if (part.sequence === sequence) return logits.subarray(end - vocabulary, end);
    }
    return undefined;
  }

  /** The prompts' calls, then a token of each sequence at a time, each the likeliest. */
  async #calls(grafts?: Grafts, plain: readonly Made[] = []): Promise<Made[]> {
    const { sequences, chunk, generate, ubatch } = this.#run;
    const calls: Made[] = [];
    let step = 0;
    const make = async (parts: readonly CallPart[], kind: Call['kind']): Promise<void> => {
      const call = { parts, step, kind };
      if (grafts !== undefined) await this.#graft(grafts, call, plain[calls.length + 1]?.step);
      const logits = await this.#session.decode(parts, 'structure');
      calls.push({ ...call, logits });
      // Of several sequences libllama alone knows how it cuts a call; a later run is cut as the first.
      step =
        parts.length === 1
          ? step + Math.ceil(parts[0]!.tokens.length / ubatch)
          : (plain[calls.length]?.step ?? this.graphs.graphs.length);
    };
    const longest = Math.max(...sequences.map(({ length }) => length));
    for (let first = 0; first < longest; first += chunk)
      await make(
        sequences.flatMap((tokens, sequence) =>
          first < tokens.length ? [{ sequence, first, tokens: tokens.slice(first, first + chunk) }] : [],
        ),
        first === 0 ? 'prefill' : 'chunk',
      );
    for (let k = 0; k < generate; k++) {
      const parts = sequences.map((tokens, sequence): CallPart | null => {
        const last = calls.flatMap((call) => this.#lastLogits(call, sequence) ?? []).at(-1)!;
        // Where what was written made logits NaN, the tokens of the run without it: its graphs are planned.
        const next = likeliestToken(last) ?? plain[calls.length]?.parts[sequence]?.tokens[0] ?? null;
        return next === null ? null : { sequence, first: tokens.length + k, tokens: [next] };
      });
      if (parts.includes(null)) break;
      await make(parts as CallPart[], 'decode');
    }
    return calls;
  }

  /** @param end the first graph of the next call, where that is known. */
  async #graft(grafts: Grafts, { step, parts }: Call, end?: number): Promise<void> {
    const last =
      end ??
      (parts.length === 1 ? step + Math.ceil(parts[0]!.tokens.length / this.#run.ubatch) : this.#rows.length);
    for (let graph = step; graph < last; graph++)
      for await (const { id, bytes } of grafts.of(graph)) this.#session.graft(id, bytes);
  }
}

/** The rows of the graphs, with the tokens of these calls: a run that was written into may append others. */
function rowsWithTokens(rows: readonly GraphRows[], calls: readonly Call[]): GraphRows[] {
  const tokens = new Map<string, number>();
  for (const { sequence, first, tokens: own } of calls.flatMap(({ parts }) => parts))
    for (const [k, token] of own.entries()) tokens.set(`${sequence} ${first + k}`, token);
  return rows.map((graph) =>
    graph.map((index) => ({
      ...index,
      tokenId: index.tokenId.map((_, k) => tokens.get(`${index.sequence[k]} ${index.position[k]}`)!),
    })),
  );
}
