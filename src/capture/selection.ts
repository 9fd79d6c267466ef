import { sizeBytes } from '../dtype.js';
import type { DumpTier, TapSpec } from '../dump/format.js';
import { ZayascopeError } from '../errors.js';
import type { ZayaConfig } from '../models/zaya-config.js';
import { axisSize, type ZayaTap, zayaTaps } from '../models/zaya-taps.js';
import { parsePositions } from '../positions.js';
import { tapPattern } from '../tap-pattern.js';

/** What of a run is captured. */
export interface Selection {
  /** As the user wrote it; see `tap-pattern.ts`. */
  taps: string;
  /** As the user wrote it; see `positions.ts`. */
  positions: string;
  /** Rows [start, end) of each prefill. */
  rows: { start: number; end: number };
  selected: readonly ZayaTap[];
  wants(name: string): boolean;
}

/** Resolves a tap pattern and positions for a prefill of `tokens` tokens. Throws `BAD_ARGUMENT` if nothing matches. */
export function select(config: ZayaConfig, tokens: number, taps: string, positions: string): Selection {
  const matches = tapPattern(taps);
  const selected = zayaTaps(config).filter(({ name }) => matches(name));
  if (selected.length === 0)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `capture: expected a pattern that matches a tap, got ${taps}; \`zayascope inspect\` lists them`,
      {
        op: 'capture',
      },
    );
  const names = new Set(selected.map(({ name }) => name));
  return {
    taps,
    positions,
    rows: parsePositions(positions, tokens),
    selected,
    wants: (name) => names.has(name),
  };
}

/** The taps as a dump's manifest describes them: sizes per row, null where a size varies by step. */
export function tapSpecs(config: ZayaConfig, { selected }: Selection): TapSpec[] {
  return selected.map(({ name, block, scope, axes, dtype }) => {
    const perRow = scope === 'token' ? axes.slice(1) : axes;
    const shape = perRow.map((axis) => (axis === 'S' ? null : axisSize(config, axis, 1)));
    return { name, block, dtype, scope, axes: [...axes], shape };
  });
}

/** Bytes that one prefill of `tokens` tokens adds to a dump of the tier: tensors and statistics, without Arrow's framing (below 1 KiB a block and step, plus 64 a column). */
export function estimateBytes(
  config: ZayaConfig,
  selection: Selection,
  tier: DumpTier,
  tokens: number,
): number {
  const rows = selection.rows.end - selection.rows.start;
  const STATS_ROW_BYTES = 80;
  const HASH_ROW_BYTES = 96;
  const COLUMN_BYTES = 64;
  let bytes = 0;
  for (const { scope, axes, dtype } of selection.selected) {
    const perRow = (scope === 'token' ? axes.slice(1) : axes).reduce(
      (size, axis) => size * axisSize(config, axis, tokens),
      1,
    );
    const tapRows = scope === 'token' ? rows : 1;
    if (tier === 'full') bytes += sizeBytes(dtype, perRow * tapRows) + COLUMN_BYTES;
    bytes += tier === 'hash' ? HASH_ROW_BYTES : tapRows * STATS_ROW_BYTES;
  }
  return bytes;
}
