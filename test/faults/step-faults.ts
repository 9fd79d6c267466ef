/**
 * Dumps of wrong models over continued calls; `planted_steps.py` makes them, `step_faults.py` is the list.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pythonJson } from '../reference/python.js';

/** One wrong model and its dump. */
export interface StepFault {
  name: string;
  says: string;
  /**
   * Where it first shows, as the equations say: a value of a whole call stands at the call's last position.
   */
  tap: string;
  sequence: number;
  position: number;
  step: number;
  /** Folder of the dump. */
  dump: string;
}

/** Wrong models, and the right one dumped by the same process before and after them. */
export interface StepFaults {
  faults: StepFault[];
  unaltered: string;
  restored: string;
  folder: string;
}

/** What is dumped. */
export interface StepFaultOptions {
  /** Faults by name; default all that show in such a dump. */
  only?: readonly string[];
  /** Three sequences of different lengths in one left-padded batch (default), or one. */
  batch?: boolean;
  /** Tap pattern; default all. */
  taps?: string;
}

/**
 * Calls of 16, 9, 1 and 1 slots over 27 tokens of the tiny prompt, in a batch with 20 and 14 others. One
 * Python process; `folder` is the caller's to delete.
 */
export function plantStepFaults({ only, batch = true, taps = '**' }: StepFaultOptions = {}): StepFaults {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-step-faults-'));
  const tiny = join('dumps', 'tiny');
  try {
    const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
    const sequences = [tokens.slice(0, 27), tokens.slice(10, 30), tokens.slice(20, 34)];
    const file = join(folder, 'tokens.json');
    writeFileSync(file, JSON.stringify({ sequences: batch ? sequences : sequences.slice(0, 1) }));
    const listed = pythonJson<Omit<StepFault, 'dump'>[]>([
      join('test', 'faults', 'planted_steps.py'),
      ...['--model', join(tiny, 'model'), '--tokens-file', file, '--steps', '16,9,1,1', '--taps', taps],
      ...(batch ? ['--padded'] : []),
      ...(only === undefined ? [] : ['--only', only.join()]),
      ...['--out', folder],
    ]);
    const faults = listed.map((fault) => ({ ...fault, dump: join(folder, fault.name) }));
    return { faults, unaltered: join(folder, 'unaltered'), restored: join(folder, 'restored'), folder };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
