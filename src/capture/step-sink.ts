import { webcrypto } from 'node:crypto';
import { ggmlType } from '../dtype.js';
import { type DumpTier, isMasked, type RowIndex } from '../dump/format.js';
import { rowStats } from '../dump/row-stats.js';
import type { DumpWriter, TapStats, TapValue } from '../dump/writer.js';
import type { OutputValue } from '../graph/compile.js';
import { elementCount } from '../graph/shape.js';
import type { ModelTap } from '../models/runtime/trace.js';
import { native } from '../native.js';
import { type CallSequence, rowIndex, sequenceValue } from './call-rows.js';

/**
 * Values of fewer bytes are measured here: describing them to the addon and waiting for another thread takes
 * longer.
 */
const SHORT_BYTES = 512 * 1024;

/** What a sequence has delivered so far in a step. */
interface Gathered {
  call: CallSequence;
  index: RowIndex;
  /**
   * Values of embedding and head share a file: the embedding's wait (their memory lasts until the end of the
   * run) until the head's have come.
   */
  model: Map<string, TapValue>;
  stats: Map<string, TapStats>;
  hashes: Map<string, string>;
}

interface Chosen extends TapValue {
  tap: ModelTap;
}

/** Where a run first made something that is not finite. */
export interface CapturedNonFinite {
  /** The first tap in execution order with a NaN or an infinity; values marked as masked do not count. */
  tap: string;
  /** Its first row that has one. */
  sequence: number;
  position: number;
  /** NaNs and infinities of that row. */
  nan: number;
  inf: number;
}

/** Numbers a row in {@link TapStats.values}; the last two count NaN and infinities. */
const STATS = { perRow: 7, nan: 5, inf: 6 } as const;

/**
 * Writes the values of one forward step as its segments deliver them. Statistics of the whole step go to disk
 * in one batch a sequence.
 */
export class StepSink {
  readonly #writer: DumpWriter;
  readonly #tier: DumpTier;
  readonly #taps: ReadonlyMap<string, ModelTap>;
  readonly #sequences: readonly Gathered[];

  /** @param taps all taps of the run by name, in execution order. */
  constructor(
    writer: DumpWriter,
    tier: DumpTier,
    taps: ReadonlyMap<string, ModelTap>,
    calls: readonly CallSequence[],
  ) {
    this.#writer = writer;
    this.#tier = tier;
    this.#taps = taps;
    this.#sequences = calls.map((call) => ({
      call,
      index: rowIndex(call),
      model: new Map(),
      stats: new Map(),
      hashes: new Map(),
    }));
  }

  /**
   * Takes the values of a segment. When it resolves their memory may be reused, except that of the
   * embedding's.
   */
  async take(values: readonly OutputValue[]): Promise<void> {
    // Settled, not raced: memory must not be given back while another job still reads it.
    const results = await Promise.allSettled(
      this.#sequences.map((sequence) => this.#takeOf(sequence, values)),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Writes what waited for the end of the step. */
  async end(): Promise<void> {
    for (const { call, index, model, stats, hashes } of this.#sequences) {
      if (this.#tier === 'hash')
        await this.#writer.appendHash(call.sequence, call.step, index.position.length, this.#inOrder(hashes));
      else {
        if (this.#tier === 'full' && model.size > 0) await this.#writer.append(null, index, model);
        await this.#writer.appendStats(index, this.#inOrder(stats));
      }
    }
  }

  async #takeOf(sequence: Gathered, values: readonly OutputValue[]): Promise<void> {
    const chosen = values.map((value): Chosen => {
      const tap = this.#taps.get(value.name)!;
      return { ...sequenceValue(value, tap, sequence.call), tap };
    });
    const jobs = [this.#tier === 'hash' ? this.#hash(sequence, chosen) : this.#measure(sequence, chosen)];
    if (this.#tier === 'full') {
      const block = chosen[0]!.tap.block;
      const target = block === null ? sequence.model : new Map<string, TapValue>();
      for (const { tap, bytes, shape } of chosen) target.set(tap.name, { bytes, shape });
      if (block !== null) jobs.push(this.#writer.append(block, sequence.index, target));
    }
    const results = await Promise.allSettled(jobs);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #measure({ stats }: Gathered, chosen: readonly Chosen[]): Promise<void> {
    const columns = ({ tap, shape }: Chosen) => elementCount(shape) / (tap.scope === 'token' ? shape[0]! : 1);
    if (chosen.reduce((sum, { bytes }) => sum + bytes.byteLength, 0) < SHORT_BYTES) {
      for (const value of chosen) {
        const { tap, bytes } = value;
        const View = tap.dtype === 'I32' ? Int32Array : Float32Array;
        const elements = new View(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / 4);
        stats.set(tap.name, { count: columns(value), values: rowStats(elements, tap.dtype, columns(value)) });
      }
      return;
    }
    const items = chosen.map((value) => ({
      bytes: value.bytes,
      type: ggmlType(value.tap.dtype),
      columns: columns(value),
    }));
    const values = await native().rowStats(items);
    for (const [i, { tap }] of chosen.entries())
      stats.set(tap.name, { count: items[i]!.columns, values: values[i]! });
  }

  async #hash({ hashes }: Gathered, chosen: readonly Chosen[]): Promise<void> {
    await Promise.all(
      chosen.map(async ({ tap, bytes }) => {
        const digest = await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
        hashes.set(tap.name, Buffer.from(digest).toString('hex'));
      }),
    );
  }

  /**
   * The first value of this step that is not finite; null where all are. Tier hash measures nothing: null.
   * Ask before the step ends.
   */
  nonFinite(): CapturedNonFinite | null {
    for (const [name, tap] of this.#taps) {
      if (isMasked(tap)) continue;
      for (const { call, index, stats } of this.#sequences) {
        const values = stats.get(name)?.values;
        if (values === undefined) continue;
        const rows = values.length / STATS.perRow;
        for (let row = 0; row < rows; row++) {
          const [nan, inf] = [
            values[row * STATS.perRow + STATS.nan]!,
            values[row * STATS.perRow + STATS.inf]!,
          ];
          if (nan + inf === 0) continue;
          const position = index.position[index.position.length - rows + row]!;
          return { tap: name, sequence: call.sequence, position, nan, inf };
        }
      }
    }
    return null;
  }

  /** Jobs finish in any order; files list taps in the model's. */
  #inOrder<T>(values: ReadonlyMap<string, T>): Map<string, T> {
    return new Map(
      [...this.#taps.keys()].filter((name) => values.has(name)).map((name) => [name, values.get(name)!]),
    );
  }
}
