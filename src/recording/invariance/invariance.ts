/**
 * Whether a model gives the same whatever way its tokens are cut into calls: one prefill, chunks, token by
 * token, other micro-batches and threads, a batch with other sequences.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Dump } from '../../dump/reader.js';
import { badArgument } from '../../errors.js';
import { flatRows } from '../../flat-logits.js';
import { countNotNumbers } from '../../likeliest-token.js';
import { runInChild } from '../in-child.js';
import { type RecordOptions, type RecordResult, recordGguf } from '../record/record.js';
import { nmse } from '../replay/widen.js';
import { firstParting, logitsOf, type Parting } from './compare-runs.js';

/** One way to run the tokens. */
export interface Schedule {
  name: string;
  /** Tokens in a call. Default: all. */
  chunk?: number;
  /** Tokens in a graph. Default: all of a call. */
  ubatch?: number;
  threads?: number;
  /** Other sequences in the same batch: only logits are compared then. Default 0. */
  others?: number;
  /** Values to write into this run, as of {@link RecordOptions}. */
  set?: RecordOptions['set'];
}

/** Options of {@link checkInvariance}. */
export interface InvarianceOptions
  extends Pick<RecordOptions, 'model' | 'tokens' | 'threads' | 'flashAttention' | 'keyType' | 'valueType'> {
  /** Default: {@link defaultSchedules}. The first is what the others are compared with. */
  schedules?: readonly Schedule[];
  /** Folder in which recordings are kept. Default: they are removed. */
  keep?: string;
  signal?: AbortSignal | undefined;
  /** Called with schedules done and schedules in all. */
  onProgress?: (done: number, total: number) => void;
}

/** What one schedule gave beside the first. */
export interface ScheduleResult {
  name: string;
  /** Largest NMSE of a token's logits against those of each schedule, in order; 0 for the same bits. */
  logits: number[];
  /** Positions whose logits are not the first schedule's. */
  otherPositions: number[];
  /** Where it parts from the first schedule; null where nothing parts or only logits are known. */
  parting: Parting | null;
}

/** What equals what. */
export interface InvarianceReport {
  schedules: ScheduleResult[];
  /** A value parts from the first schedule's by more than rounding explains, or a logit is not finite. */
  found: boolean;
  /** Logits that are NaN or infinite, of all schedules. */
  nonFinite: number;
  /** Tokens, and those of the first schedule whose logits are all equal: such a run shows nothing. */
  tokens: number;
  flatLogits: number;
  /** As of a recording. */
  beyondContext: RecordResult['beyondContext'];
}

/**
 * The usual ways: in chunks, token by token, other micro-batches, another number of threads, among others.
 */
export function defaultSchedules(tokens: number, threads: number): Schedule[] {
  const third = Math.ceil(tokens / 3);
  const half = Math.ceil(tokens / 2);
  const schedules: Schedule[] = [{ name: 'one prefill' }];
  if (tokens > 2) schedules.push({ name: `chunks of ${third}`, chunk: third });
  if (tokens > 1)
    schedules.push({ name: 'token by token', chunk: 1 }, { name: `micro-batches of ${half}`, ubatch: half });
  const other = threads === 1 ? 2 : 1;
  schedules.push({ name: `${other} thread${other === 1 ? '' : 's'}`, threads: other });
  schedules.push({ name: 'with 2 other sequences', others: 2 });
  return schedules;
}

/**
 * Runs the tokens in every way and compares (`docs/any-model.md`).
 * @throws what {@link recordGguf} throws.
 */
export async function checkInvariance(options: InvarianceOptions): Promise<InvarianceReport> {
  const { tokens, signal, onProgress = () => {} } = options;
  const threads = options.threads ?? Math.max(1, availableParallelism() >> 1);
  const schedules = options.schedules ?? defaultSchedules(tokens.length, threads);
  if (schedules.length < 2) throw badArgument('invariance', 'at least 2 schedules', schedules.length);
  if ((schedules[0]!.others ?? 0) > 0)
    throw badArgument('invariance', 'a first schedule of one sequence', `${schedules[0]!.others} others`);
  const folder = options.keep ?? (await mkdtemp(join(tmpdir(), 'zayascope-invariance-')));
  try {
    let beyondContext: RecordResult['beyondContext'] = null;
    const runs: { schedule: Schedule; logits: Float32Array; recording: string | null }[] = [];
    for (const [k, schedule] of schedules.entries()) {
      const run = { ...options, threads: schedule.threads ?? threads };
      if ((schedule.others ?? 0) > 0)
        runs.push({ schedule, logits: await logitsAmong(run, schedule.others!), recording: null });
      else {
        const recording = join(folder, `${k}-${schedule.name.replaceAll(/[^\w]+/g, '-')}`);
        const { chunk, ubatch, set } = schedule;
        const { model, flashAttention, keyType, valueType } = options;
        const common = { model, tokens, flashAttention, keyType, valueType, signal, overwrite: true };
        const made = await recordGguf({
          ...common,
          threads: run.threads,
          chunk,
          ubatch,
          set,
          out: recording,
        });
        beyondContext = made.beyondContext;
        runs.push({ schedule, logits: await logitsOf(recording), recording });
      }
      onProgress(k + 1, schedules.length);
    }
    const [first] = runs as [(typeof runs)[0]];
    await using base = await Dump.open(first.recording!);
    const results: ScheduleResult[] = [];
    for (const { schedule, logits, recording } of runs)
      results.push({
        name: schedule.name,
        logits: runs.map((other) => largestRowError(other.logits, logits, tokens.length)),
        otherPositions: [...tokens.keys()].filter(
          (row) => rowError(first.logits, logits, tokens.length, row) > 0,
        ),
        parting:
          recording === null || recording === first.recording ? null : await firstParting(base, recording),
      });
    const beyond = (result: ScheduleResult): boolean =>
      result.parting?.beyondRounding != null || result.logits[0]! > LOGITS_LIMIT;
    const nonFinite = runs.reduce((sum, { logits }) => sum + countNotNumbers(logits), 0);
    const flatLogits = flatRows(first.logits, first.logits.length / tokens.length);
    return {
      schedules: results,
      found: nonFinite > 0 || results.some(beyond),
      nonFinite,
      tokens: tokens.length,
      flatLogits,
      beyondContext,
    };
  } finally {
    if (options.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** No other order of sums moves logits so far; a state that is not carried does. */
const LOGITS_LIMIT = 1e-4;

function rowError(a: Float32Array, b: Float32Array, rows: number, row: number): number {
  const size = a.length / rows;
  return nmse(a.subarray(row * size, (row + 1) * size), b.subarray(row * size, (row + 1) * size));
}

function largestRowError(a: Float32Array, b: Float32Array, rows: number): number {
  return Math.max(...Array.from({ length: rows }, (_, row) => rowError(a, b, rows, row)));
}

async function logitsAmong(
  options: InvarianceOptions & { threads: number },
  others: number,
): Promise<Float32Array> {
  const {
    model,
    tokens,
    threads,
    flashAttention = false,
    keyType = 'F16',
    valueType = 'F16',
    signal,
  } = options;
  const run = {
    model: resolve(model),
    tokens,
    context: tokens.length,
    ubatch: 512,
    threads,
    flashAttention,
    keyType,
    valueType,
    sequences: others + 1,
  };
  return (await runInChild({ kind: 'batch', run }, { onProgress: () => {}, signal })) as Float32Array;
}
