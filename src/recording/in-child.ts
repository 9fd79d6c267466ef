import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, ZayascopeError } from '../errors.js';
import type { RecordRun } from './record.js';
import type { ReplayRun } from './replay.js';

/** What a child process is to do. */
export type RecordingJob = { kind: 'record'; run: RecordRun } | { kind: 'replay'; run: ReplayRun };

/** What it says. */
export type RecordingMessage =
  | { done: number; total: number }
  | { at: string }
  | { result: unknown }
  | { error: { code: ErrorCode; message: string } };

/** A child that says nothing for so long hangs. One graph of a large model on one thread takes minutes. */
const SILENCE_MS = 600_000;
/** The last lines of what ggml printed before it ended the process. */
const LAST_WORDS = 400;

/**
 * Runs a job in a child process of its own.
 * @throws what the job throws, with its code; `BACKEND` for a process that ends in another way, with where it
 * was and ggml's last words; `CANCELLED`.
 */
export function runInChild(
  job: RecordingJob,
  options: { onProgress: (done: number, total: number) => void; signal?: AbortSignal },
): Promise<unknown> {
  const { onProgress, signal } = options;
  const op = job.kind;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(cancelled(op));
      return;
    }
    const child = fork(fileURLToPath(childProgram()), {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let words = '';
    let at = '';
    let outcome: { result: unknown } | { error: Error } | undefined;
    let timer: NodeJS.Timeout | undefined;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        outcome ??= { error: failed(op, at, `no answer in ${SILENCE_MS / 1000} s`, words) };
        child.kill('SIGKILL');
      }, SILENCE_MS);
    };
    listen();
    const onAbort = () => {
      outcome ??= { error: cancelled(op) };
      child.kill('SIGTERM');
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-LAST_WORDS);
    });
    child.on('message', (message) => {
      listen();
      const told = message as RecordingMessage;
      if ('result' in told) outcome ??= { result: told.result };
      else if ('error' in told)
        outcome ??= { error: new ZayascopeError(told.error.code, told.error.message, { op }) };
      else if ('at' in told) at = told.at;
      else onProgress(told.done, told.total);
    });
    child.on('error', reject);
    child.on('close', (code, killedBy) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (outcome === undefined) reject(failed(op, at, killedBy ?? `exit code ${code}`, words));
      else if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.result);
    });
    child.send(job);
  });
}

/** Tests run the sources; a child is plain Node, which runs the build. */
function childProgram(): URL {
  const isSource = import.meta.url.endsWith('.ts');
  return new URL(isSource ? '../../dist/recording/child.js' : './child.js', import.meta.url);
}

function cancelled(op: string): ZayascopeError {
  return new ZayascopeError('CANCELLED', `${op}: cancelled by the caller`, { op });
}

function failed(op: string, at: string, ended: string, words: string): ZayascopeError {
  const place = at === '' ? '' : ` at ${at}`;
  // ggml's assertions begin with a path of the machine that built it.
  const said = words
    .trim()
    .split('\n')
    .filter((line) => /GGML_ASSERT|error|failed|abort/i.test(line))
    .at(0)
    ?.replace(/^\S*\//, '');
  return new ZayascopeError(
    'BACKEND',
    `${op}: expected the run in its own process to end, got ${ended}${place}${said === undefined ? '' : `: ${said}`}`,
    { op },
  );
}
