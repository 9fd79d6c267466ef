import { builtProgram, runChild } from '../child-program.js';
import { type ErrorCode, ZayascopeError } from '../errors.js';
import type { BatchRun } from './invariance/run-batch.js';
import type { LocateRecordingRun } from './locate/locate.js';
import type { RecordRun } from './record/record.js';
import type { ReplayedNode, ReplayRun } from './replay/replay.js';

/** What a child process is to do. */
export type RecordingJob =
  | { kind: 'batch'; run: BatchRun }
  | { kind: 'record'; run: RecordRun }
  | { kind: 'replay'; run: ReplayRun }
  | { kind: 'locate'; run: LocateRecordingRun };

/** What it says. */
export type RecordingMessage =
  | { done: number; total: number }
  | { at: string }
  | { node: ReplayedNode }
  | { result: unknown }
  | { error: { code: ErrorCode; message: string } };

/** A child that says nothing for so long hangs. */
const SILENCE_MS = 600_000;
/** The last lines of what ggml printed before it ended the process. */
const LAST_WORDS = 400;

/** Errors over a process that ended before its job. */
const ended = new WeakSet<Error>();

/** Whether an error of {@link runInChild} is that its process ended by itself. */
export function isProcessEnd(error: unknown): error is ZayascopeError {
  return error instanceof ZayascopeError && ended.has(error);
}

/**
 * Runs a job in a child process of its own.
 * @throws what the job throws, with its code; `BACKEND` for a process that ends in another way, with where it
 * was and ggml's last words; `CANCELLED`.
 */
export async function runInChild(
  job: RecordingJob,
  options: {
    onProgress: (done: number, total: number) => void;
    /** Takes each node of a replay when it is done. */
    onNode?: (node: ReplayedNode) => void;
    /** Default ten minutes: one graph of a large model on one thread takes some. */
    silenceMs?: number;
    signal?: AbortSignal;
  },
): Promise<unknown> {
  const { onProgress, onNode, silenceMs = SILENCE_MS, signal } = options;
  const op = job.kind === 'batch' ? 'invariance' : job.kind;
  if (signal?.aborted) throw cancelled(op);
  let words = '';
  let at = '';
  let outcome: { result: unknown } | undefined;
  const end = await runChild<RecordingMessage>(builtProgram(import.meta.url, './child.js'), job, {
    silenceMs,
    signal,
    onStderr: (text) => {
      words = (words + text).slice(-LAST_WORDS);
    },
    onMessage: (told) => {
      if ('result' in told) outcome = told;
      else if ('error' in told) throw new ZayascopeError(told.error.code, told.error.message, { op });
      else if ('at' in told) at = told.at;
      else if ('node' in told) onNode?.(told.node);
      else onProgress(told.done, told.total);
    },
  });
  if (outcome !== undefined) return outcome.result;
  throw signal?.aborted ? cancelled(op) : failed(op, at, end, words);
}

function cancelled(op: string): ZayascopeError {
  return new ZayascopeError('CANCELLED', `${op}: cancelled by the caller`, { op });
}

function failed(op: string, at: string, end: string, words: string): ZayascopeError {
  const place = at === '' ? '' : ` at ${at}`;
  // ggml's assertions begin with a path of the machine that built it.
  const said = words
    .trim()
    .split('\n')
    .filter((line) => /GGML_ASSERT|error|failed|abort/i.test(line))
    .at(0)
    ?.replace(/^\S*\//, '');
  const error = new ZayascopeError(
    'BACKEND',
    `${op}: expected the run in its own process to end, got ${end}${place}${said === undefined ? '' : `: ${said}`}`,
    { op },
  );
  ended.add(error);
  return error;
}
