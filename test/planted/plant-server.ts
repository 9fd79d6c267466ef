/**
 * One Python process that has imported torch and dumps wrong and right variants of models on request;
 * `plant_server.py` says how it is asked.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pythonPath, root } from '../reference/python.js';

/** What is dumped. */
export interface Planting {
  /** Folder of the checkpoint. */
  model: string;
  /** Token ids as `dump.py` reads them. */
  tokens: string;
  dtype: 'float32' | 'bfloat16' | 'float16';
  fault?: string;
  program?: string;
  steps?: string;
  /** Matrices of a GGUF type, and activations rounded as ggml rounds them. */
  gguf?: string;
}

/** A fault of one forward call, and where it first shows in F32. */
export interface ListedFault {
  name: string;
  tap: string;
  /** Other values that the same alteration makes wrong by itself. */
  also: string[];
  shows: boolean;
}

/** A fault of continued calls. */
export interface ListedStepFault {
  name: string;
  tap: string;
  sequence: number;
  position: number;
  step: number;
  padded: boolean;
}

/** What can be planted. */
export interface Plantable {
  faults: ListedFault[];
  steps: ListedStepFault[];
  programs: { name: string; dtype: 'float32' | 'half' }[];
}

/**
 * The process, and a folder of the dumps. Requests are answered in order; the process works on the next while
 * an answer is used.
 */
export class PlantServer implements AsyncDisposable {
  readonly folder: string;
  readonly plantable: Promise<Plantable>;
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  #errors = '';
  #made = 0;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'zayascope-planted-'));
    const child = spawn(pythonPath(), [join('test', 'faults', 'plant_server.py')], {
      cwd: root,
      env: { ...process.env, OMP_NUM_THREADS: '1' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stderr.on('data', (text: Buffer) => {
      this.#errors = `${this.#errors}${text}`.slice(-4000);
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(line));
    child.on('exit', (code) => {
      const error = new Error(`plant_server.py exited with ${code}: ${this.#errors}`);
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
    this.plantable = this.#line().then((line) => JSON.parse(line) as Plantable);
  }

  /** Dumps one variant; the folder is the caller's to {@link discard}. Throws what Python says. */
  async plant(planting: Planting): Promise<string> {
    return await this.#ask({ out: join(this.folder, `dump-${this.#made++}`), ...planting });
  }

  /** Makes a seeded random checkpoint with the options of `random_checkpoint.py`. */
  async checkpoint(name: string, args: readonly string[]): Promise<string> {
    return await this.#ask({ checkpoint: join(this.folder, name), args });
  }

  discard(folder: string): void {
    rmSync(folder, { recursive: true, force: true });
  }

  async #ask(request: object): Promise<string> {
    const answer = this.#line();
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    const { out, error } = JSON.parse(await answer) as { out: string; error?: string };
    if (error !== undefined) throw new Error(`${JSON.stringify(request)}: ${error}`);
    return out;
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    this.#child.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
