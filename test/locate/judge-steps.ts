/** What `locate` says of dumps of continued calls, for tests. */
import { join } from 'node:path';
import { Dump } from '../../src/dump/reader.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import type { StepFault } from '../faults/step-faults.js';
import { root } from '../reference/python.js';

export const tinyModel = join(root, 'dumps', 'tiny', 'model');

/** Locates a tested dump, with the tiny model unless `model` is null. */
export async function locateSteps(
  reference: string,
  tested: string,
  model: string | null = tinyModel,
): Promise<LocateReport> {
  await using right = await Dump.open(reference);
  await using other = await Dump.open(tested);
  return await locateDumps(right, other, model ?? undefined);
}

/** Which op the report names first, and where its error begins. */
export function namedFirst({ found, firstFault, kinds }: LocateReport) {
  const [kind] = kinds;
  const { sequence, position, step } = kind?.begins ?? {};
  return { found, firstFault, kind: kind?.kind ?? null, begins: [sequence, position, step] };
}

/** What {@link namedFirst} gives of a fault that is named first. */
export function expectedOf({ tap, sequence, position, step }: StepFault) {
  return {
    found: true,
    firstFault: tap,
    kind: tap.replace(/^layers\.\d+/, ''),
    begins: [sequence, position, step],
  };
}

/** What {@link namedFirst} gives where nothing is at fault. */
export const silent = {
  found: false,
  firstFault: null,
  kind: null,
  begins: [undefined, undefined, undefined],
};
