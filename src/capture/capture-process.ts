import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, ZayascopeError } from '../errors.js';

const OP = 'captureInProcess';

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
 * Captures all values of a prompt in a process of its own, with the command `zayascope capture`. A device's
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
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const args = [main, 'capture', '--model', model, '--policy', policy, '--backend', backend];
  args.push('--tokens', tokens.join(','), '--out', out, '--overwrite', '--json');
  if (threads !== undefined) args.push('--threads', String(threads));
  if (strictF32) args.push('--strict-f32');
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(signal && { signal }),
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = await new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, killedBy) => resolve(code ?? killedBy ?? 'unknown'));
  }).catch((cause: Error) => {
    const code = signal?.aborted ? 'CANCELLED' : 'BACKEND';
    throw new ZayascopeError(code, `${OP}: the run on ${backend} did not end: ${cause.message}`, {
      op: OP,
      cause,
    });
  });
  // 1: the dump is complete, and its logits are not finite.
  if (ended !== 0 && ended !== 1) throw failedRun(backend, ended, stdout, stderr);
  return { out, device: (JSON.parse(stdout) as { device: string }).device };
}

function failedRun(backend: string, ended: number | string, stdout: string, stderr: string): ZayascopeError {
  try {
    const { error } = JSON.parse(stdout) as { error: { code: ErrorCode; message: string } };
    return new ZayascopeError(error.code, `${OP}: on ${backend}: ${error.message}`, { op: OP });
  } catch {
    const lines = stderr.trim().split('\n');
    const last = lines.filter((line) => !/^\s+at /.test(line)).at(-1) ?? '';
    return new ZayascopeError(
      'BACKEND',
      `${OP}: expected the run on ${backend} to end, got ${ended}: ${last}`,
      {
        op: OP,
      },
    );
  }
}
