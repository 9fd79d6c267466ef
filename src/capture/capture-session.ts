import type { DumpTier, Manifest } from '../dump/format.js';
import { architectureOf } from '../models/architectures.js';
import type { Model } from '../models/runtime/model.js';
import type { SegmentSink } from '../models/runtime/plan.js';
import type { ModelSession } from '../models/runtime/session.js';
import type { CallSequence } from './call-rows.js';
import { checkFreeSpace, createDump } from './create-dump.js';
import { estimateBytes, framingBytes, select } from './selection.js';
import { StepSink } from './step-sink.js';

/** Options of {@link captureSession}. */
export interface CaptureSessionOptions {
  /** Folder of the dump; made if absent. */
  out: string;
  /** Tap pattern; default `**`, caches and states after each step included. */
  taps?: string;
  /** `all` (default), `last` of each call, or `a:b` counted from the start of each sequence. */
  positions?: string;
  /** Default `full`. */
  tier?: DumpTier;
  /** Replace a dump in that folder. Default false. */
  overwrite?: boolean;
}

/** A session whose calls are written into a dump, one step a call. */
export interface CapturedSession extends AsyncDisposable {
  /** Appends tokens to the only sequence; logits F32 [V] of the last token. */
  forward(tokens: readonly number[]): Promise<Float32Array>;
  /**
   * Appends tokens to each sequence, as `ModelSession.forwardBatch`; logits F32 [B, V] of the last tokens.
   */
  forwardBatch(sequences: readonly (readonly number[])[]): Promise<Float32Array>;
  /** Marks the dump complete; the session stays open. */
  finish(): Promise<Manifest>;
  /** Leaves the dump partial. Does nothing after `finish`. */
  abort(): Promise<void>;
}

/**
 * Captures the calls of a session from here on: prefill, chunks and decode steps alike, for every sequence of
 * its batch. Positions count tokens, not padding, so that a batch compares with single runs. The free space
 * is checked before each call (`NO_SPACE`); a call that fails leaves session and dump as they were.
 */
export async function captureSession(
  model: Model,
  session: ModelSession,
  options: CaptureSessionOptions,
): Promise<CapturedSession> {
  const { out, taps = '**', positions = 'all', tier = 'full', overwrite = false } = options;
  const { config } = model;
  const selection = select(config, taps, positions, true);
  await checkFreeSpace(out, framingBytes(selection, tier));
  const writer = await createDump(model, selection, { out, tier, overwrite, sequences: session.tokens });
  const byName = new Map(selection.selected.map((tap) => [tap.name, tap]));
  // A tapped head needs the logits of all tokens; otherwise those of the last will do.
  const logits = selection.wants(architectureOf(config).family.roles.logits!) ? 'all' : 'last';
  let step = 0;

  const forwardBatch = async (sequences: readonly (readonly number[])[]) => {
    const past = session.position;
    const tokens = Math.max(...sequences.map(({ length }) => length));
    const calls = sequences.flatMap((ids, index): CallSequence[] => {
      const padding = past === 0 ? tokens - ids.length : session.padding[index]!;
      const range = selection.range(Math.max(0, past - padding), past + tokens - padding);
      if (range === undefined) return [];
      const slots = [...new Array<number>(tokens - ids.length).fill(0), ...ids];
      return [{ sequence: index, index, batch: sequences.length, step, tokens: slots, past, padding, range }];
    });
    const bytes = sequences.reduce(
      (sum) => sum + estimateBytes(config, selection, tier, past, past + tokens),
      0,
    );
    await checkFreeSpace(out, bytes);
    const sink = new StepSink(writer, tier, byName, calls);
    const take: SegmentSink = (_, values) => sink.take(values);
    const result = await session.forwardBatch(sequences, { logits, taps: selection, sink: take });
    await sink.end();
    step++;
    const V = config.vocab_size;
    if (logits === 'last') return result;
    const last = new Float32Array(sequences.length * V);
    for (let index = 0; index < sequences.length; index++) {
      const end = (index + 1) * tokens * V;
      last.set(result.subarray(end - V, end), index * V);
    }
    return last;
  };
  return {
    forward: (tokens) => forwardBatch([tokens]),
    forwardBatch,
    finish: () => writer.finish(session.tokens.map((tokens) => ({ tokens }))),
    abort: () => writer.abort(),
    [Symbol.asyncDispose]: () => writer.abort(),
  };
}
