/** Dumps of the tiny model whose values are replaced: NaN, infinities, zeros. */
import type { TapInfo } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { rowStats } from '../../src/dump/row-stats.js';
import { DumpWriter, type TapStats, type TapValue } from '../../src/dump/writer.js';

/** Replaces elements in place; `bits` of F32 taps as they lie in the dump. */
export type Replace = (tap: TapInfo, values: Float32Array) => void;

/** Writes `source` again into `out`, with the values of its F32 taps replaced; in tier full or stats. */
export async function rewriteDump(
  source: string,
  out: string,
  replace: Replace,
  tier: 'full' | 'stats' = 'full',
): Promise<void> {
  await using dump = await Dump.open(source);
  const { sequences, taps: _taps, ...manifest } = dump.manifest;
  await using writer = await DumpWriter.create(out, { ...manifest, tier, sequences, taps: dump.taps });
  for (const block of new Set(dump.taps.map((tap) => tap.block))) {
    const values = new Map<string, TapValue>();
    const stats = new Map<string, TapStats>();
    let index: Awaited<ReturnType<Dump['read']>> | undefined;
    for (const tap of dump.taps.filter((each) => each.block === block)) {
      const read = await dump.read(tap.name);
      const isStep = tap.scope === 'step';
      if (!isStep) index ??= read;
      const data = read.data.slice() as Float32Array;
      if (tap.dtype === 'F32') replace(tap, data);
      const columns = read.shape.slice(1).reduce((all, size) => all * size, 1);
      const shape = isStep ? read.shape.slice(1) : read.shape;
      values.set(tap.name, { bytes: new Uint8Array(data.buffer), shape });
      stats.set(tap.name, { count: columns, values: rowStats(data, tap.dtype, columns) });
    }
    const { sequence, position, tokenId, step } = index!;
    const rows = { sequence, position, tokenId, step };
    if (tier === 'full') await writer.append(block, rows, values);
    await writer.appendStats(rows, stats);
  }
  await writer.finish();
}
