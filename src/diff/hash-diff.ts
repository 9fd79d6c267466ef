/** The diff of two dumps of which at least one holds hashes only: all it can say is equal or not. */
import { createHash } from 'node:crypto';
import type { DumpView } from '../dump/dump-view.js';
import { ReusableBuffer } from '../dump/reader.js';
import type { TapPair } from './pairing.js';
import type { HashTapReport, Unpaired } from './report.js';
import type { Comparison } from './tensor-diff.js';

/** The value of one tap in one step of one sequence. */
interface StepHash {
  sequence: number;
  rows: number;
  sha256: string;
}

/** Compares `pairs` by hash: the k-th step of a sequence with the k-th. Hashes of a dump of tier full are computed from its tensors. */
export async function diffHashes(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
): Promise<Comparison> {
  const [hashesOfReference, hashesOfTested] = [await hashSource(reference), await hashSource(tested)];
  const tapReports: HashTapReport[] = [];
  const unpaired: Unpaired[] = [];
  for (const pair of pairs) {
    const { name, file, block, dtype } = pair.reference;
    const mine = byStep(await hashesOfReference(name));
    const others = byStep(await hashesOfTested(pair.tested.name));
    const add = (side: Unpaired['side'], reason: string, example: string): void => {
      unpaired.push({ tap: name, file, side, reason, rows: 1, example });
    };
    let rows = 0;
    let differing = 0;
    for (const [key, hash] of mine) {
      const other = others.get(key);
      if (other === undefined) add('tested', 'has no such step', key);
      else if (other.rows !== hash.rows)
        add('both', `has hashes over ${hash.rows} and ${other.rows} rows`, key);
      else {
        rows++;
        if (hash.sha256 !== other.sha256) differing++;
      }
    }
    for (const key of others.keys()) if (!mine.has(key)) add('reference', 'has no such step', key);
    const dtypes = { reference: dtype, tested: pair.tested.dtype };
    tapReports.push({ kind: 'hash', name, block, dtypes, rows, identical: differing === 0, differing });
  }
  return { tapReports, unpaired, notCaptured: { reference: 0, tested: 0 }, logits: null, routing: null };
}

/** Steps numbered per sequence, since producers number them differently. */
function byStep(hashes: readonly StepHash[]): Map<string, StepHash> {
  const counts = new Map<number, number>();
  return new Map(
    hashes.map((hash) => {
      const step = counts.get(hash.sequence) ?? 0;
      counts.set(hash.sequence, step + 1);
      return [`sequence ${hash.sequence} step ${step}`, hash];
    }),
  );
}

async function hashSource(dump: DumpView): Promise<(tap: string) => Promise<readonly StepHash[]>> {
  if (dump.manifest.tier === 'full') return (tap) => hashTensors(dump, tap);
  const rows = await dump.hashes();
  return async (tap) => rows.filter((row) => row.tap === tap);
}

async function hashTensors(dump: DumpView, tap: string): Promise<StepHash[]> {
  const { sequence, step } = await dump.rows(tap);
  const perStep = dump.tap(tap).scope === 'step';
  const hashes: StepHash[] = [];
  const memory = new ReusableBuffer();
  for (let start = 0; start < step.length; ) {
    let end = start + 1;
    while (end < step.length && step[end] === step[start] && sequence[end] === sequence[start]) end++;
    const hash = createHash('sha256');
    let rows = 0;
    for (let row = start; row < end; ) {
      const batch = await dump.readRows(tap, row, end, memory);
      if (batch !== undefined)
        hash.update(new Uint8Array(batch.data.buffer, batch.data.byteOffset, batch.data.byteLength));
      rows += batch?.shape[0] ?? 0;
      row += batch?.shape[0] ?? 1;
    }
    if (rows > 0)
      hashes.push({ sequence: sequence[start]!, rows: perStep ? 1 : rows, sha256: hash.digest('hex') });
    start = end;
  }
  return hashes;
}
