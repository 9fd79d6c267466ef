import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(import.meta.dirname, '..', '..');
const PYTHON = process.env.ZAYASCOPE_PYTHON ?? join(ROOT, '.venv', 'bin', 'python');
const SECONDS = 20;

/** The independent readers of `oracle.py`, in one process that is started again where a case ends it. */
export class Oracle {
  #child;
  #lines;

  /** `{ values }`, `{ error }`; `{ error: 'the oracle ...' }` where it died or took too long. */
  async read(kind, path) {
    if (this.#child === undefined) this.#start();
    const child = this.#child;
    let timer;
    const line = await new Promise((resolve) => {
      this.#lines.once('line', resolve);
      child.once('exit', () => resolve(undefined));
      timer = setTimeout(() => resolve(undefined), SECONDS * 1000);
      child.stdin.write(`${JSON.stringify({ kind, path })}\n`);
    });
    clearTimeout(timer);
    child.removeAllListeners('exit');
    this.#lines.removeAllListeners('line');
    if (line !== undefined) return JSON.parse(line);
    this.close();
    return { error: 'the oracle died or took too long' };
  }

  close() {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #start() {
    const env = { ...process.env, OMP_NUM_THREADS: '1' };
    this.#child = spawn(PYTHON, [join(import.meta.dirname, 'oracle.py')], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env,
    });
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout });
  }
}
