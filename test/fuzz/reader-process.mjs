import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Cases after which a child is replaced, so that what one leaves behind does not add up. */
const CASES_PER_CHILD = 200;
const POLL_MS = 20;

/** One child that reads cases, replaced where it dies, hangs, or takes too much memory. */
export class ReaderProcess {
  #child;
  #cases = 0;
  #limits;

  /** @param limits `{ seconds, bytes }` for one case. */
  constructor(limits) {
    this.#limits = limits;
  }

  /** The outcome of one case: `values`, `error`, `bug`, or `signal`, `hang`, `memory`. */
  async read(number, kind, path) {
    if (this.#child === undefined || this.#cases >= CASES_PER_CHILD) await this.#start();
    this.#cases++;
    const child = this.#child;
    resetPeak(child.pid);
    let timer;
    let poll;
    const outcome = await new Promise((resolve) => {
      const done = (value) => resolve(value);
      child.once('message', done);
      child.once('exit', (code, signal) => done({ signal: signal ?? `exit ${code}` }));
      timer = setTimeout(() => done({ hang: this.#limits.seconds }), this.#limits.seconds * 1000);
      poll = setInterval(() => {
        const bytes = peakBytes(child.pid);
        if (bytes > this.#limits.bytes) done({ memory: bytes });
      }, POLL_MS);
      child.send({ number, kind, path });
    });
    clearTimeout(timer);
    clearInterval(poll);
    child.removeAllListeners('message');
    child.removeAllListeners('exit');
    // A case that was over before the first poll has a peak all the same.
    const bytes = peakBytes(child.pid);
    const judged = outcome.signal === undefined && bytes > this.#limits.bytes ? { memory: bytes } : outcome;
    if (judged.signal ?? judged.hang ?? judged.memory ?? judged.bug) this.close();
    return judged;
  }

  close() {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #start() {
    this.close();
    this.#cases = 0;
    const child = fork(join(import.meta.dirname, 'child.mjs'), {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`fuzz: the reader ended with ${code} before it began`)));
    });
    child.removeAllListeners('exit');
    this.#child = child;
  }
}

/** The largest resident set since {@link resetPeak}, in bytes; 0 where /proc does not tell. */
function peakBytes(pid) {
  try {
    const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [0, 0];
    return Number(kilobytes) * 1024;
  } catch {
    return 0;
  }
}

function resetPeak(pid) {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Not allowed here: then the peak is that of the whole child, which is only stricter.
  }
}
