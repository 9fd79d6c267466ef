/** Small dumps for tests: two steps of a two-block model with one tap of each kind and dtype. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { DumpDescription, RowIndex, TapSpec } from '../../src/dump/format.js';
import { DumpWriter, type DumpWriterOptions, type TapValue } from '../../src/dump/writer.js';

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'zayascope-dump-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export const TAPS: readonly TapSpec[] = [
  { name: 'embed_tokens', block: null, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [6] },
  { name: 'layers.0.q', block: 0, dtype: 'BF16', scope: 'token', axes: ['T', 'nq', 'd'], shape: [2, 3] },
  {
    name: 'layers.0:attn_weights',
    block: 0,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', 'nq', 'S'],
    shape: [2, null],
  },
  { name: 'layers.0.conv:lead', block: 0, dtype: 'F32', scope: 'step', axes: ['C'], shape: [5] },
  { name: 'layers.1.mlp.gate:expert', block: 1, dtype: 'I32', scope: 'token', axes: ['T'], shape: [] },
  { name: 'layers.1.half', block: 1, dtype: 'F16', scope: 'token', axes: ['T', 'H'], shape: [3] },
  { name: 'lm_head', block: null, dtype: 'F32', scope: 'token', axes: ['T', 'V'], shape: [7] },
];

export function description(overrides: Partial<DumpDescription> = {}): DumpDescription {
  return {
    tier: 'full',
    producer: { name: 'test', version: '1' },
    model: { type: 'zaya', name: 'tiny', config: {}, configSha256: 'c0', weightsSha256: 'e0', dtype: 'BF16' },
    policy: { name: 'f32' },
    backend: { name: 'cpu', threads: 1 },
    sequences: [{ tokens: [11, 12, 13, 14, 15, 16] }],
    selection: { taps: '**', positions: 'all' },
    taps: TAPS,
    ...overrides,
  };
}

/** Rows [start, end) of sequence 0, as step `step`; token ids as in {@link description}. */
export function rowIndex(start: number, end: number, step: number): RowIndex {
  const rows = end - start;
  const positions = Int32Array.from({ length: rows }, (_, row) => start + row);
  return {
    sequence: new Int32Array(rows),
    position: positions,
    tokenId: positions.map((position) => 11 + position),
    step: new Int32Array(rows).fill(step),
  };
}

/** Deterministic elements of a tap: differ by tap, position and element. */
export function tapValue(tap: TapSpec, index: RowIndex): TapValue {
  const rows = index.position.length;
  const last = index.position[rows - 1]!;
  const shape = tap.shape.map((size) => size ?? last + 1);
  const perRow = shape.reduce((product, size) => product * size, 1);
  const count = tap.scope === 'step' ? 1 : rows;
  const data = emptyElements(tap, count * perRow);
  const seed = tap.name.length;
  for (let k = 0; k < data.length; k++) {
    const position = index.position[rows - count + Math.floor(k / perRow)]!;
    data[k] = seed + 16 * position + (k % perRow);
  }
  return {
    bytes: new Uint8Array(data.buffer),
    shape: tap.scope === 'step' ? shape : [rows, ...shape],
  };
}

function emptyElements(tap: TapSpec, length: number): Float32Array | Int32Array | Uint16Array {
  if (tap.dtype === 'F32') return new Float32Array(length);
  return tap.dtype === 'I32' ? new Int32Array(length) : new Uint16Array(length);
}

/** Appends one step's rows of every block. */
export async function appendStep(
  writer: DumpWriter,
  taps: readonly TapSpec[],
  index: RowIndex,
): Promise<void> {
  for (const block of new Set(taps.map((tap) => tap.block))) {
    const own = taps.filter((tap) => tap.block === block);
    await writer.append(block, index, new Map(own.map((tap) => [tap.name, tapValue(tap, index)])));
  }
}

/** A finished dump: a prefill of 4 rows and two steps of one row. */
export async function writeSampleDump(dir: string, options: DumpWriterOptions = {}): Promise<void> {
  await using writer = await DumpWriter.create(dir, description(), options);
  for (const [step, [start, end]] of [[0, 4] as const, [4, 5] as const, [5, 6] as const].entries())
    await appendStep(writer, TAPS, rowIndex(start, end, step));
  await writer.finish();
}
