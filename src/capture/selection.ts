import { sizeBytes } from '../dtype.js';
import type { DumpTier, TapSpec } from '../dump/format.js';
import { badArgument } from '../errors.js';
import type { ModelConfig } from '../models/runtime/architecture.js';
import { axisSize } from '../models/runtime/axes.js';
import { type ModelTap, modelTaps } from '../models/runtime/trace.js';
import { type PositionRange, parsePositions } from '../positions.js';
import { tapPattern } from '../tap-pattern.js';

/** What of a run is captured. */
export interface Selection {
  /** As the user wrote it; see `tap-pattern.ts`. */
  taps: string;
  /** As the user wrote it; see `positions.ts`. */
  positions: string;
  selected: readonly ModelTap[];
  wants(name: string): boolean;
  /**
   * Positions [start, end) to take of a call that adds positions `past .. length − 1` to a sequence;
   * undefined for none. `last` is the last of each call. Throws `BAD_ARGUMENT` for another spelling, and for
   * a range that holds nothing of a sequence that the call completes from its start.
   */
  range(past: number, length: number): PositionRange | undefined;
}

/**
 * Resolves a tap pattern and positions. With `cached`, the states of a run with a cache can be selected as
 * well. Throws `BAD_ARGUMENT` if nothing matches.
 */
export function select(config: ModelConfig, taps: string, positions: string, cached = false): Selection {
  const matches = tapPattern(taps);
  const selected = modelTaps(config, cached).filter(({ name }) => matches(name));
  if (selected.length === 0)
    throw badArgument('capture', 'a pattern that matches a tap', `${taps}; \`zayascope inspect\` lists them`);
  const names = new Set(selected.map(({ name }) => name));
  return {
    taps,
    positions,
    selected,
    wants: (name) => names.has(name),
    range(past, length) {
      if (past === 0) return parsePositions(positions, length);
      if (positions.trim() === 'last') return { start: length - 1, end: length };
      const wanted = parsePositions(positions, Math.max(length, MAX_POSITIONS));
      const range = { start: Math.max(past, wanted.start), end: Math.min(length, wanted.end) };
      return range.start < range.end ? range : undefined;
    },
  };
}

/** Stands for the end of a sequence that is still growing. */
const MAX_POSITIONS = 2 ** 31;

/** The taps as a dump's manifest describes them: sizes per row, null where a size varies by step. */
export function tapSpecs(config: ModelConfig, { selected }: Selection): TapSpec[] {
  return selected.map(({ name, block, scope, axes, dtype }) => {
    const perRow = scope === 'token' ? axes.slice(1) : axes;
    const shape = perRow.map((axis) => (axis === 'S' ? null : axisSize(config, axis, 1)));
    return { name, block, dtype, scope, axes: [...axes], shape };
  });
}

/** Bytes that a dump takes before the first call: names, schemas and footers. */
export function framingBytes({ selected }: Selection, tier: DumpTier): number {
  const names = selected.reduce((sum, { name }) => sum + name.length, 0);
  const SCHEMA_FIELD_BYTES = 400; // its name and metadata, at the head and in the footer of a data file
  const DICTIONARY_ENTRY_BYTES = 4;
  return names + selected.length * (DICTIONARY_ENTRY_BYTES + (tier === 'full' ? 2 * SCHEMA_FIELD_BYTES : 0));
}

/**
 * Bytes that a call adds to a dump: tensors and statistics, without Arrow's framing (below 1 KiB a block and
 * step).
 */
export function estimateBytes(
  config: ModelConfig,
  selection: Selection,
  tier: DumpTier,
  past: number,
  length: number,
): number {
  const range = selection.range(past, length);
  if (range === undefined) return 0;
  const rows = range.end - range.start;
  const STATS_ROW_BYTES = 80;
  const HASH_ROW_BYTES = 96;
  const COLUMN_BYTES = 64;
  let bytes = 0;
  for (const { scope, axes, dtype } of selection.selected) {
    const perRow = (scope === 'token' ? axes.slice(1) : axes).reduce(
      (size, axis) => size * axisSize(config, axis, length - past, length),
      1,
    );
    const tapRows = scope === 'token' ? rows : 1;
    if (tier === 'full') bytes += sizeBytes(dtype, perRow * tapRows) + COLUMN_BYTES;
    bytes += tier === 'hash' ? HASH_ROW_BYTES : tapRows * STATS_ROW_BYTES;
  }
  return bytes;
}
