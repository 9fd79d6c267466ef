import type { DumpTier, Manifest } from '../dump/format.js';
import type { DumpNoise } from '../dump/noise/noise-file.js';
import { badArgument, ZayascopeError } from '../errors.js';
import type { Model } from '../models/runtime/model.js';
import type { ModelPlan, SegmentSink } from '../models/runtime/plan.js';
import { checkTokenIds } from '../models/runtime/token-ids.js';
import type { CallSequence } from './call-rows.js';
import { checkFreeSpace, createDump } from './create-dump.js';
import { estimateBytes, framingBytes, select } from './selection.js';
import { type CapturedNonFinite, StepSink } from './step-sink.js';

/** Options of {@link capture}. */
export interface CaptureOptions {
  /** Folder of the dump; made if absent. */
  out: string;
  /** Tap pattern; default `**`. */
  taps?: string;
  /** `all` (default), `last`, or `a:b`, of each sequence. */
  positions?: string;
  /** `full` (default): values and statistics; `stats`: statistics per token; `hash`: SHA-256 per value. */
  tier?: DumpTier;
  /**
   * Run all sequences in one call, shorter ones padded on the left (their rows of padding are not captured).
   * Default false: one call each.
   */
  batched?: boolean;
  /** Replace a dump in that folder. Default false. */
  overwrite?: boolean;
  /** The dump is one draw of a noise floor: the errors of all. Default: it is no floor. */
  noise?: DumpNoise | undefined;
  /** Called after each segment of a run: segments done and in all. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the run (`CANCELLED`); what has been written stays, marked partial. */
  signal?: AbortSignal;
}

/** What {@link capture} gives. */
export interface CaptureResult {
  manifest: Manifest;
  /** Bytes that the dump was expected to take. */
  estimatedBytes: number;
  /** Logits of the last token of each sequence, F32 [V]. */
  logits: Float32Array[];
  /**
   * The first captured value with a NaN or an infinity; null where none has one, and for tier hash, which
   * measures nothing.
   */
  nonFinite: CapturedNonFinite | null;
  /**
   * Wall time of the forward passes with their writing, without loading, compiling and closing files, in ms.
   */
  elapsedMs: number;
}

/**
 * Runs sequences of token ids from their start, one forward step each or all in one, and writes the selected
 * values into a dump. Its size is estimated and compared with the free space first (`NO_SPACE`). A run that
 * fails or is cancelled leaves the dump marked partial; it reads up to its last complete batch.
 *
 * @throws `BAD_ARGUMENT` for no sequence, an empty one, ids outside the vocabulary, a pattern without a
 * match, bad positions; `IO` for a folder that cannot be written or is in use; `CANCELLED` by the signal.
 */
export async function capture(
  model: Model,
  sequences: readonly (readonly number[])[],
  options: CaptureOptions,
): Promise<CaptureResult> {
  const {
    out,
    taps = '**',
    positions = 'all',
    tier = 'full',
    batched = false,
    overwrite = false,
    noise,
    onProgress,
    signal,
  } = options;
  const { config, backend } = model;
  if (sequences.length === 0 || sequences.some((tokens) => tokens.length === 0))
    throw badArgument('capture', 'at least one sequence and none empty', 'fewer tokens');
  for (const tokens of sequences) checkTokenIds('capture', tokens, config.vocab_size);
  const selection = select(config, taps, positions);
  const byLength = new Map<number, number>();
  for (const { length } of sequences) byLength.set(length, (byLength.get(length) ?? 0) + 1);
  let estimatedBytes = framingBytes(selection, tier);
  for (const [length, count] of byLength)
    estimatedBytes += count * estimateBytes(config, selection, tier, 0, length);
  await checkFreeSpace(out, estimatedBytes);
  const cancel = () => backend.native.cancel();
  signal?.addEventListener('abort', cancel);
  let plan: ModelPlan | undefined;
  await using writer = await createDump(model, selection, { out, tier, overwrite, sequences, noise });
  try {
    const byName = new Map(selection.selected.map((tap) => [tap.name, tap]));
    const logits: Float32Array[] = [];
    let elapsedMs = 0;
    let nonFinite: CapturedNonFinite | null = null;
    for (const call of batched
      ? [sequences.map((_, index) => index)]
      : sequences.map((_, index) => [index])) {
      const lengths = call.map((sequence) => sequences[sequence]!.length);
      const slots = Math.max(...lengths);
      const padding = lengths.map((length) => slots - length);
      if (plan?.tokens !== slots) {
        plan?.close();
        const padded = padding.some((count) => count > 0);
        plan = model.plan({ tokens: slots, batch: call.length, padded, taps: selection });
      }
      const pad = config.pad_token_id ?? 0;
      const rows = call.map((sequence, index) => [
        ...new Array<number>(padding[index]!).fill(pad),
        ...sequences[sequence]!,
      ]);
      const parts = call.map(
        (sequence, index): CallSequence => ({
          sequence,
          index,
          batch: call.length,
          step: batched ? 0 : sequence,
          tokens: rows[index]!,
          past: 0,
          padding: padding[index]!,
          range: selection.range(0, lengths[index]!)!,
        }),
      );
      const total = plan.segments.length;
      const step = new StepSink(writer, tier, byName, parts);
      const sink: SegmentSink = async (segment, values) => {
        if (signal?.aborted)
          throw new ZayascopeError('CANCELLED', `capture: cancelled after segment ${segment} of ${total}`, {
            op: 'capture',
          });
        await step.take(values);
        onProgress?.(segment + 1, total);
      };
      const start = performance.now();
      const all = await plan.run(rows.flat(), { sink, place: { past: 0, padding } });
      nonFinite ??= step.nonFinite();
      await step.end();
      elapsedMs += performance.now() - start;
      const width = slots * config.vocab_size;
      for (const index of call.keys())
        logits.push(all.slice((index + 1) * width - config.vocab_size, (index + 1) * width));
    }
    return { manifest: await writer.finish(), estimatedBytes, logits, nonFinite, elapsedMs };
  } finally {
    signal?.removeEventListener('abort', cancel);
    plan?.close();
  }
}
