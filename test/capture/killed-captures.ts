/** Captures that run at once into one folder, or are killed: whatever says complete must read whole. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { lockPath } from '../../src/dump/lock.js';
import { Dump } from '../../src/dump/reader.js';

const root = join(import.meta.dirname, '..', '..');
const TOKENS = [11, 12, 13, 14, 15, 16, 17, 18];

/** What became of the captures. */
export interface Outcomes {
  complete: number;
  partial: number;
  /** Folders without a manifest. */
  none: number;
  /** Captures that ended with exit code 0. */
  succeeded: number;
}

function capture(out: string, overwrite: boolean): ChildProcess {
  const model = join(root, 'dumps', 'tiny', 'model');
  const args = ['capture', '--model', model, '--tokens', TOKENS.join(), '--out', out];
  return spawn(
    process.execPath,
    [join(root, 'dist', 'cli', 'main.js'), ...args, ...(overwrite ? ['--overwrite'] : [])],
    { stdio: 'ignore' },
  );
}

/** The exit code, or the signal that ended it. */
async function ended(child: ChildProcess): Promise<number | string> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return code ?? signal!;
}

/**
 * Reads a dump with every row of every tap and its statistics. Throws if it says complete and is not whole.
 */
async function examine(dir: string, outcomes: Outcomes): Promise<void> {
  if (!existsSync(join(dir, 'manifest.json'))) {
    outcomes.none++;
    return;
  }
  await using dump = await Dump.open(dir);
  outcomes[dump.manifest.status]++;
  if (dump.manifest.status !== 'complete') return;
  for (const { name, scope } of dump.taps) {
    if (!(await dump.isWhole(name))) throw new Error(`${name} is cut short in a complete dump`);
    let rows = 0;
    for await (const { shape } of dump.stream(name)) rows += shape[0]!;
    if (rows !== (scope === 'token' ? TOKENS.length : 1)) throw new Error(`${rows} rows of ${name}`);
  }
  const { tap } = await dump.stats();
  if (new Set(tap).size !== dump.taps.length) throw new Error('statistics are missing');
}

async function inScratch(work: (dir: string, outcomes: Outcomes) => Promise<void>): Promise<Outcomes> {
  const scratch = mkdtempSync(join(tmpdir(), 'zayascope-kills-'));
  const outcomes: Outcomes = { complete: 0, partial: 0, none: 0, succeeded: 0 };
  try {
    await work(join(scratch, 'dump'), outcomes);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return outcomes;
}

/** Two captures at once into one folder, `count` times; the second asks for --overwrite. */
export function capturePairs(count: number): Promise<Outcomes> {
  return inScratch(async (dir, outcomes) => {
    for (let pair = 0; pair < count; pair++) {
      const out = `${dir}-${pair}`;
      const codes = await Promise.all([capture(out, false), capture(out, true)].map(ended));
      outcomes.succeeded += codes.filter((code) => code === 0).length;
      await examine(out, outcomes);
    }
  });
}

/**
 * `capture --overwrite` over a complete dump, killed up to `withinMs` after it took the lock, `count` times;
 * at last one that is left alone, which must succeed. Locks of killed runs stay for the next one to find.
 */
export function captureKills(count: number, withinMs: number, random: () => number): Promise<Outcomes> {
  return inScratch(async (dir, outcomes) => {
    const whole = `${dir}-whole`;
    if ((await ended(capture(whole, false))) !== 0) throw new Error('the first capture failed');
    for (let kill = 0; kill <= count; kill++) {
      rmSync(dir, { recursive: true, force: true });
      cpSync(whole, dir, { recursive: true });
      const before = lockText(dir);
      const child = capture(dir, true);
      const end = ended(child);
      if (kill < count) {
        while (child.exitCode === null && [before, ''].includes(lockText(dir))) await setTimeout(1);
        await setTimeout(random() * withinMs);
        child.kill('SIGKILL');
      }
      const code = await end;
      if (code === 0) outcomes.succeeded++;
      else if (kill === count) throw new Error(`a capture after the kills ended with ${code}`);
      await examine(dir, outcomes);
    }
  });
}

function lockText(dir: string): string {
  try {
    return readFileSync(lockPath(dir), 'utf8');
  } catch {
    return '';
  }
}
