import { toFloat32 } from '../../dump/float.js';
import type { Dump } from '../../dump/reader.js';
import { flatNote, flatRows } from '../../flat-logits.js';

/** What is to be known where no token of a recording is likelier than another. */
export async function flatLogitsNote(dump: Dump): Promise<string[]> {
  let [flat, all] = [0, 0];
  for (const name of dump.manifest.roles?.logits ?? []) {
    const rows = (await dump.rows(name)).position.length;
    for (let row = 0; row < rows; row++) {
      const batch = await dump.readRows(name, row, row + 1);
      if (batch === undefined) continue;
      const logits = toFloat32(batch.data, batch.dtype);
      all++;
      flat += flatRows(logits, logits.length);
    }
  }
  return flatNote(flat, all);
}
