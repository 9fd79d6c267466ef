import { basename, resolve } from 'node:path';
import type { DumpView } from '../../dump/dump-view.js';
import { UNKNOWN } from '../../dump/import/foreign.js';
import type { ZayaModel } from '../../models/zaya/model.js';
import { weightsSha256 } from '../../weights/identity.js';
import type { TapNoise } from '../noise/noise-floor.js';

/** Name of a dump's folder. */
export function label(dump: DumpView): string {
  return basename(resolve(dump.dir));
}

/** What a reader must know about a model and the dumps it is compared with: other weights, partial dumps. */
export async function modelNotes(
  { weights }: ZayaModel,
  dumps: readonly Pick<DumpView, 'dir' | 'manifest'>[],
): Promise<string[]> {
  const own = await weightsSha256(weights.checkpoint);
  const notes: string[] = [];
  for (const { dir, manifest } of dumps) {
    const name = basename(resolve(dir));
    // A quantised or renamed copy has another identity, though it may be the same model; an imported dump has none.
    const { layout = 'transformers', weightsSha256: theirs } = manifest.model;
    if (
      theirs !== own &&
      theirs !== UNKNOWN &&
      layout.startsWith('gguf') === weights.source.layout.startsWith('gguf')
    )
      notes.push(`DIFFERENT WEIGHTS: ${name} was made with other weights than the model's.`);
    if (manifest.status === 'partial') notes.push(`${name} is partial: its producer did not finish.`);
  }
  return notes;
}

/** What to say of a noise floor that is not finite. */
export function noiseNotes(noise: readonly TapNoise[]): string[] {
  const lost = noise.filter(({ nonFinite }) => nonFinite.noise > 0);
  if (lost.length === 0) return [];
  return [
    `The noise floor is NaN or infinite in ${lost.length} of ${noise.length} values, first ${lost[0]!.tap}: they are judged as without it.`,
  ];
}
