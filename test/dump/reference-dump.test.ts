import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { rowStats } from '../../src/dump/row-stats.js';

const tiny = fileURLToPath(new URL('../../dumps/tiny', import.meta.url));

/** The committed dumps are written by pyarrow: another producer of the same format. */
it.each(['reference-float32', 'reference-bfloat16'])(
  'reads every tap of %s, whose statistics are those it came with',
  async (name) => {
    await using dump = await Dump.open(join(tiny, name));
    const stats = await dump.stats();
    const places = new Map<string, number[]>();
    for (const [row, tap] of stats.tap.entries()) places.set(tap, [...(places.get(tap) ?? []), row]);
    expect([...places.keys()].sort()).toEqual(dump.taps.map((tap) => tap.name).sort());
    const tokens = dump.manifest.sequences[0]!.tokens;
    for (const tap of dump.taps) {
      const { data, dtype, shape, position, tokenId } = await dump.read(tap.name);
      const [rows] = shape as [number];
      const own = places.get(tap.name)!;
      expect(
        own.map((row) => stats.position[row]),
        tap.name,
      ).toEqual([...position]);
      expect([...tokenId], tap.name).toEqual([...position].map((at) => tokens![at]));
      const expected = rowStats(data, dtype, data.length / rows);
      for (const [k, row] of own.entries()) {
        const [min, max, mean, rms, absmax, nan, inf] = expected.subarray(7 * k, 7 * k + 7);
        expect([stats.min[row], stats.max[row], stats.absmax[row]], tap.name).toEqual([min, max, absmax]);
        expect([stats.count[row], stats.nan[row], stats.inf[row]], tap.name).toEqual([
          data.length / rows,
          nan,
          inf,
        ]);
        // Both accumulate in double precision, in different orders.
        expect(Math.abs(stats.mean[row]! - mean!), tap.name).toBeLessThanOrEqual(1e-13 * absmax!);
        expect(Math.abs(stats.rms[row]! - rms!), tap.name).toBeLessThanOrEqual(1e-13 * absmax!);
      }
    }
  },
);
