/**
 * The committed dumps of the tiny model, the BF16 reference against the F32 one, and what figures made of
 * them hold.
 */
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { type DiffReport, type TapReport, tapError } from '../../src/diff/report.js';
import { Dump } from '../../src/dump/reader.js';
import type { Trace } from '../../src/plot/figure.js';
import { root } from '../reference/python.js';

/** Folder of the tiny model and its dumps. */
export const tiny = join(root, 'dumps', 'tiny');

/** Two dumps and their diff, open while the tests of a file run. */
export interface TinyDumps {
  reference: Dump;
  tested: Dump;
  report: DiffReport;
}

/** Opens the dumps before the tests of a file, into the object that it returns. */
export function tinyDumps(): TinyDumps {
  const dumps = {} as TinyDumps;
  beforeAll(async () => {
    dumps.reference = await Dump.open(join(tiny, 'reference-float32'));
    dumps.tested = await Dump.open(join(tiny, 'reference-bfloat16'));
    dumps.report = await diffDumps(dumps.reference, dumps.tested);
  });
  afterAll(async () => {
    await dumps.reference.close();
    await dumps.tested.close();
  });
  return dumps;
}

/** Taps of a report that have an error of magnitude. */
export function floating(report: DiffReport): TapReport[] {
  return report.tapReports.filter((tap) => tapError(tap) !== null);
}

/** The tap names that a trace's points carry. */
export function tapsOf(trace: Trace | undefined): unknown[] {
  return (trace!.customdata as unknown[]).map((entry) => (Array.isArray(entry) ? entry[0] : entry));
}
