import { builtProgram, runChild } from '../child-program.js';
import { type ErrorCode, unmet, ZayascopeError } from '../errors.js';

const OP = 'captureInProcess';
/** A child that says nothing for so long hangs. One block of a large model on one thread takes minutes. */
const SILENCE_MS = 600_000;
/** The last letters of what a driver printed before it ended the process. */
const LAST_WORDS = 2000;

/** What a child process is to do. */
export interface CaptureJob {
  model: string;
  tokens: readonly number[];
  out: string;
  policy: string;
  backend: string;
  threads: number | undefined;
  strictF32: boolean;
}

/** What it says. */
export type CaptureMessage =
  | { isAlive: true }
  | { device: string }
  | { error: { code: ErrorCode; message: string } };

/** Options of {@link captureInProcess}. */
export interface CaptureProcessOptions {
  /** Folder of the dump; replaced if it is there. */
  out: string;
  /** Backend or device name, as in `openBackend`. Default `cpu`. */
  backend?: string;
  /** Preset or `.json` file. Default `f32`. */
  policy?: string;
  /** CPU threads; default as in `openModel`. */
  threads?: number;
  /** As in `openModel`. Default false. */
  strictF32?: boolean;
  /** Ends the process (`CANCELLED`). */
  signal?: AbortSignal;
}

/** What {@link captureInProcess} has done. */
export interface CaptureProcessResult {
  out: string;
  /** Description of the device that ran. */
  device: string;
}

/**
 * Captures all values of a prompt in a process of its own. A device's
 * library reads its settings once in a process, so runs with two settings need two; and a driver that crashes
 * takes only that process with it.
 *
 * @throws what `openModel` and `capture` throw, with their codes; `BACKEND` for a process that ends in
 * another way; `CANCELLED`.
 */
export async function captureInProcess(
  model: string,
  tokens: readonly number[],
  options: CaptureProcessOptions,
): Promise<CaptureProcessResult> {
  const { out, backend = 'cpu', policy = 'f32', threads, strictF32 = false, signal } = options;
  if (signal?.aborted) throw cancelled(backend);
  let device: string | undefined;
  let words = '';
  const job: CaptureJob = { model, tokens, out, policy, backend, threads, strictF32 };
  const ended = await runChild<CaptureMessage>(builtProgram(import.meta.url, './child.js'), job, {
    silenceMs: SILENCE_MS,
    signal,
    onStderr: (text) => {
      words = (words + text).slice(-LAST_WORDS);
    },
    onMessage: (told) => {
      if ('device' in told) device = told.device;
      else if ('error' in told)
        throw new ZayascopeError(told.error.code, `${OP}: on ${backend}: ${told.error.message}`, { op: OP });
    },
  });
  if (device !== undefined) return { out, device };
  throw signal?.aborted ? cancelled(backend) : failedRun(backend, ended, words);
}

function cancelled(backend: string): ZayascopeError {
  return new ZayascopeError('CANCELLED', `${OP}: the run on ${backend} was cancelled`, { op: OP });
}

function failedRun(backend: string, ended: string, words: string): ZayascopeError {
  const lines = words.trim().split('\n');
  const last = lines.filter((line) => !/^\s+at /.test(line)).at(-1) ?? '';
  return unmet('BACKEND', OP, `the run on ${backend} to end`, `${ended}: ${last}`);
}
