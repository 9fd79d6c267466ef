/**
 * Dumps of wrong models, each made by altering unmodified transformers at one place; `planted.py` is the
 * list.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pythonJson } from '../reference/python.js';

/** One wrong model and its dump of the tiny model's prompt. */
export interface PlantedFault {
  name: string;
  /** What is wrong, in one sentence. */
  says: string;
  /**
   * The tap of the altered op, in the first block that it alters: the first tap that differs from the right
   * model's.
   */
  expectedTap: string;
  /** False where no value of the prompt reaches the altered code: the F32 dump is that of the right model. */
  shows: boolean;
  /** Folder of the dump. */
  dump: string;
}

/** All wrong models, and the right one dumped by the same process before and after them. */
export interface PlantedFaults {
  faults: PlantedFault[];
  /** Folder of the right model's dump: the reference of the others. */
  unaltered: string;
  /** The same, after every fault was made and undone. */
  restored: string;
}

/** A fault as `planted.py` prints it. */
interface Listed {
  name: string;
  says: string;
  tap: string;
  shows: boolean;
}

type Dtype = 'float32' | 'bfloat16';

const planted = new Map<Dtype, PlantedFaults & { folder: string }>();

/**
 * Makes all dumps of a dtype in a temporary folder on the first call (one Python process, 9 MB a dump);
 * {@link removeFaults} deletes them.
 */
export function plantFaults(dtype: Dtype = 'float32'): PlantedFaults {
  const made = planted.get(dtype) ?? plant(dtype);
  planted.set(dtype, made);
  return made;
}

/** Deletes the dumps. Call it after the tests that read them. */
export function removeFaults(): void {
  for (const { folder } of planted.values()) rmSync(folder, { recursive: true, force: true });
  planted.clear();
}

function plant(dtype: Dtype): PlantedFaults & { folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-faults-'));
  const tiny = join('dumps', 'tiny');
  const source = ['--model', join(tiny, 'model'), '--tokens-file', join(tiny, 'prompt.json')];
  try {
    const script = join('test', 'faults', 'planted.py');
    const listed = pythonJson<Listed[]>([script, ...source, '--all', '--dtype', dtype, '--out', folder]);
    const faults = listed.map(({ tap, ...fault }) => ({
      ...fault,
      expectedTap: tap,
      dump: join(folder, fault.name),
    }));
    return { folder, faults, unaltered: join(folder, 'unaltered'), restored: join(folder, 'restored') };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
