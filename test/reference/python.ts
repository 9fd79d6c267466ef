/** The Python side of the tests: which interpreter, and how to call it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Root of the checkout. */
export const root = join(import.meta.dirname, '..', '..');

/** A finished Python process. */
export interface PythonResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** One call of a script in `dumps/reference`, for {@link runScripts}. */
export interface ScriptCall {
  script: 'dump' | 'random_checkpoint' | 'compare';
  args: readonly string[];
}

/** The interpreter of the reference: `ZAYASCOPE_PYTHON`, or the project's `.venv`. */
export function pythonPath(): string {
  return process.env.ZAYASCOPE_PYTHON ?? join(root, '.venv', 'bin', 'python');
}

/**
 * Creates or updates `.venv`; run it once before the tests (it is not safe to run twice at the same time).
 */
export function ensurePython(): void {
  execFileSync(process.execPath, [join(root, 'scripts', 'python-env.mjs')], { cwd: root, stdio: 'inherit' });
}

/**
 * Runs Python in the checkout's root and waits for it; `input` goes to its standard input.
 *
 * torch gets one thread: on tensors as small as the tests', several threads mostly wait for each other, and
 * beside other tests they take four times the processor time.
 */
export function runPython(args: readonly string[], input = ''): PythonResult {
  const python = pythonPath();
  if (!existsSync(python)) {
    throw new Error(
      `runPython: expected an interpreter, found none at ${python}; run node scripts/python-env.mjs`,
    );
  }
  const { status, stdout, stderr } = spawnSync(python, args, {
    cwd: root,
    env: { ...process.env, OMP_NUM_THREADS: '1' },
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

/** Runs Python and parses what it prints as JSON; throws with its standard error if it fails. */
export function pythonJson<T>(args: readonly string[], input = ''): T {
  const result = runPython(args, input);
  if (result.status !== 0) throw new Error(`${args[0]} exited with ${result.status}: ${result.stderr}`);
  return JSON.parse(result.stdout) as T;
}

/** Calls several scripts one after another in one Python process, because importing torch takes seconds. */
export function runScripts(calls: readonly ScriptCall[]): PythonResult[] {
  return pythonJson<PythonResult[]>([join('test', 'reference', 'run_scripts.py')], JSON.stringify(calls));
}
