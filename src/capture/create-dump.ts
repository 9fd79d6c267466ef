import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { DumpTier } from '../dump/format.js';
import type { DumpNoise } from '../dump/noise/noise-file.js';
import { DumpWriter } from '../dump/writer.js';
import { unmet, ZayascopeError } from '../errors.js';
import type { Model } from '../models/runtime/model.js';
import { describeRun } from './describe-model.js';
import { type Selection, tapSpecs } from './selection.js';

/** Where and how a dump is written. */
export interface NewDump {
  out: string;
  tier: DumpTier;
  overwrite: boolean;
  /** Token ids by sequence, as far as they are known. */
  sequences: readonly (readonly number[])[];
  /** The dump is a noise floor with these errors. */
  noise?: DumpNoise | undefined;
}

/** Begins a dump of a model's run; see `DumpWriter.create` for errors. */
export async function createDump(
  model: Model,
  selection: Selection,
  { out, tier, overwrite, sequences, noise }: NewDump,
): Promise<DumpWriter> {
  const description = {
    tier,
    ...(await describeRun(model)),
    sequences: sequences.map((tokens) => ({ tokens: [...tokens] })),
    selection: { taps: selection.taps, positions: selection.positions },
    taps: tapSpecs(model.config, selection),
  };
  return await DumpWriter.create(out, description, { overwrite, noise });
}

/** Throws `NO_SPACE` if the folder's file system has fewer bytes free. */
export async function checkFreeSpace(out: string, bytes: number): Promise<void> {
  for (let folder = resolve(out); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = await statfs(folder);
      if (bavail * bsize >= bytes) return;
      throw unmet(
        'NO_SPACE',
        'capture',
        `${bytes} bytes of free space for the dump`,
        `${bavail * bsize} (${out}); narrow --taps or --positions, or use --tier stats`,
      );
    } catch (error) {
      if (error instanceof ZayascopeError) throw error;
      // Not there yet: the space is that of the folder it will be made in. Other failures show when it is
      // written to.
      if (dirname(folder) === folder) return;
    }
  }
}
