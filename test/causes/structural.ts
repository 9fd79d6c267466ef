/**
 * Dumps of models with faults of structure, and what `locate` says of them; `structural.py` makes them,
 * `structural_faults.py` is the list.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Dump } from '../../src/dump/reader.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { pythonJson, root } from '../reference/python.js';

export const tiny = join(root, 'dumps', 'tiny');
export const model = join(tiny, 'model');

/** One wrong model and its dump. */
export interface StructuralFault {
  name: string;
  /** What is wrong, in one sentence. */
  says: string;
  /** Where it first shows. */
  tap: string;
  /** Key of the cause; null for a fault that is none of structure. */
  cause: string | null;
  /** Axis and entries in which alone it shows; null where not only a part of a value is wrong. */
  within: [axis: string, entries: number[]] | null;
  /** Folder of the dump. */
  dump: string;
}

/** Dumps in a temporary folder, which is the caller's to delete. */
export interface StructuralFaults {
  faults: StructuralFault[];
  unaltered: string;
  folder: string;
}

/**
 * Makes the dumps: one Python process that imports torch once, and a fork of it for each. @param options
 * `only`: names; default all.
 */
export function plantStructural(
  options: { only?: readonly string[]; dtype?: 'float32' | 'bfloat16'; taps?: string } = {},
): StructuralFaults {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-causes-'));
  const { only, dtype = 'float32', taps = '**' } = options;
  try {
    const listed = pythonJson<Omit<StructuralFault, 'dump'>[]>([
      join('test', 'causes', 'structural.py'),
      ...['--model', model, '--tokens-file', join(tiny, 'prompt.json'), '--out', folder],
      ...['--dtype', dtype, '--taps', taps, ...(only === undefined ? [] : ['--only', only.join()])],
    ]);
    const faults = listed.map((fault) => ({ ...fault, dump: join(folder, fault.name) }));
    return { faults, unaltered: join(folder, 'unaltered'), folder };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Locates a tested dump with the tiny model, or without one. */
export async function locateStructural(
  reference: string,
  tested: string,
  { withModel = true, noise }: { withModel?: boolean; noise?: string } = {},
): Promise<LocateReport> {
  await using right = await Dump.open(reference);
  await using other = await Dump.open(tested);
  await using low = noise === undefined ? null : await Dump.open(noise);
  return await locateDumps(right, other, withModel ? model : undefined, low === null ? {} : { noise: low });
}

/** Which op a report names first, and the cause that explains it. */
export function namedCause({ firstFault, kinds, causes }: LocateReport) {
  const cause = causes.find((each) => each.kinds.includes(kinds[0]?.kind ?? ''));
  return {
    firstFault,
    cause: cause?.key ?? null,
    kinds: cause?.kinds ?? [],
    blocks: cause?.blocks ?? [],
    ties: cause?.ties ?? [],
  };
}
