/** The diff of two dumps of which at least one holds hashes only: all it can say is equal or not. */
import { createHash } from 'node:crypto';
import { isExact } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { hasNumbers, toFloat32, toFloat64 } from '../dump/float.js';
import { isMasked } from '../dump/format.js';
import { ReusableBuffer, type TensorBatch } from '../dump/reader.js';
import { noNonFinite, type TapNonFinite } from './non-finite.js';
import type { TapPair } from './pairing.js';
import type { HashTapReport, Unpaired } from './report.js';
import type { CompareRules, Comparison } from './tensor-diff.js';

/** The value of one tap in one step of one sequence. */
interface StepHash {
  sequence: number;
  rows: number;
  sha256: string;
  /** What is not finite; null where only the hash is known. */
  nonFinite: { nan: number; inf: number } | null;
}

/**
 * Compares `pairs` by hash: the k-th step of a sequence with the k-th. Hashes of a dump of tier full are
 * computed from its tensors.
 */
export async function diffHashes(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  { allowNonFinite }: Pick<CompareRules, 'allowNonFinite'>,
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
    const found = noNonFinite();
    const masked = isMasked(pair.reference) || isMasked(pair.tested);
    for (const [key, hash] of mine) {
      const other = others.get(key);
      if (other === undefined) add('tested', 'has no such step', key);
      else if (other.rows !== hash.rows)
        add('both', `has hashes over ${hash.rows} and ${other.rows} rows`, key);
      else {
        rows++;
        if (hash.sha256 !== other.sha256) differing++;
        const isSame = hash.sha256 === other.sha256;
        addNonFinite(found, [hash, other], { masked: masked && isSame, allowed: allowNonFinite && isSame });
      }
    }
    for (const key of others.keys()) if (!mine.has(key)) add('reference', 'has no such step', key);
    const dtypes = { reference: dtype, tested: pair.tested.dtype };
    const identical = rows > 0 && differing === 0 && found.counted + found.allowed === 0;
    const nonFinite = found.counted + found.allowed + found.masked === 0 ? null : found;
    tapReports.push({ kind: 'hash', name, block, dtypes, rows, identical, nonFinite, differing });
  }
  return { tapReports, unpaired, notCaptured: { reference: 0, tested: 0 }, logits: null, routing: null };
}

/** Counts what the sides that hold values know of: equal hashes hold the same, so one of them will do. */
function addNonFinite(
  found: TapNonFinite,
  [reference, tested]: readonly [StepHash, StepHash],
  { masked, allowed }: { masked: boolean; allowed: boolean },
): void {
  const isSame = reference.sha256 === tested.sha256;
  const [a, b] = isSame
    ? [reference.nonFinite ?? tested.nonFinite, tested.nonFinite ?? reference.nonFinite]
    : [reference.nonFinite, tested.nonFinite];
  found.nan.reference += a?.nan ?? 0;
  found.inf.reference += a?.inf ?? 0;
  found.nan.tested += b?.nan ?? 0;
  found.inf.tested += b?.inf ?? 0;
  const nan = Math.max(a?.nan ?? 0, b?.nan ?? 0);
  const inf = Math.max(a?.inf ?? 0, b?.inf ?? 0);
  found[allowed ? 'allowed' : 'counted'] += nan;
  found[masked ? 'masked' : allowed ? 'allowed' : 'counted'] += inf;
}

function countNonFinite({ data, dtype }: TensorBatch, counts: { nan: number; inf: number }): void {
  if (isExact(dtype) || !hasNumbers(dtype)) return;
  for (const value of dtype === 'F64' ? toFloat64(data, dtype) : toFloat32(data, dtype)) {
    if (Number.isNaN(value)) counts.nan++;
    else if (!Number.isFinite(value)) counts.inf++;
  }
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
  return async (tap) => rows.filter((row) => row.tap === tap).map((row) => ({ ...row, nonFinite: null }));
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
    const nonFinite = { nan: 0, inf: 0 };
    let rows = 0;
    for (let row = start; row < end; ) {
      const batch = await dump.readRows(tap, row, end, memory);
      if (batch !== undefined)
        hash.update(new Uint8Array(batch.data.buffer, batch.data.byteOffset, batch.data.byteLength));
      if (batch !== undefined) countNonFinite(batch, nonFinite);
      rows += batch?.shape[0] ?? 0;
      row += batch?.shape[0] ?? 1;
    }
    if (rows > 0)
      hashes.push({
        sequence: sequence[start]!,
        rows: perStep ? 1 : rows,
        sha256: hash.digest('hex'),
        nonFinite,
      });
    start = end;
  }
  return hashes;
}
