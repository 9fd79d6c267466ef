import { webcrypto } from 'node:crypto';
import { ggmlType } from '../dtype.js';
import type { DumpTier, RowIndex } from '../dump/format.js';
import type { DumpWriter, TapStats, TapValue } from '../dump/writer.js';
import type { OutputValue } from '../graph/compile.js';
import { elementCount } from '../graph/shape.js';
import type { ZayaTap } from '../models/zaya-taps.js';
import { native } from '../native.js';
import type { Selection } from './selection.js';

/** Where one forward step of one sequence stands. */
export interface StepPlace {
  sequence: number;
  step: number;
  tokens: readonly number[];
}

/**
 * Writes the values of one forward step as its segments deliver them. Values of embedding and head share a file, so the embedding's wait (their memory is not reused within
 * a run) until the head's have come. Statistics of the whole step go to disk in one batch.
 */
export class StepSink {
  readonly #writer: DumpWriter;
  readonly #tier: DumpTier;
  readonly #selection: Selection;
  readonly #taps: ReadonlyMap<string, ZayaTap>;
  readonly #place: StepPlace;
  readonly #index: RowIndex;
  readonly #model = new Map<string, TapValue>();
  readonly #stats = new Map<string, TapStats>();
  readonly #hashes = new Map<string, string>();

  constructor(
    writer: DumpWriter,
    tier: DumpTier,
    selection: Selection,
    taps: ReadonlyMap<string, ZayaTap>,
    place: StepPlace,
  ) {
    this.#writer = writer;
    this.#tier = tier;
    this.#selection = selection;
    this.#taps = taps;
    this.#place = place;
    this.#index = rowIndex(selection.rows, place);
  }

  /** Takes the values of a segment; when it resolves their memory may be reused, but for those without a block. */
  async take(values: readonly OutputValue[]): Promise<void> {
    const chosen = values.map((value) => ({
      ...value,
      ...this.#select(value),
      tap: this.#taps.get(value.name)!,
    }));
    const blocks = new Map<string, TapValue>();
    for (const { name, bytes, shape, tap } of chosen)
      (tap.block === null ? this.#model : blocks).set(name, { bytes, shape });
    const block = chosen[0]!.tap.block;
    const jobs: Promise<void>[] = [];
    if (this.#tier === 'hash') jobs.push(...chosen.map(({ name, bytes }) => this.#hash(name, bytes)));
    else
      jobs.push(
        ...chosen.map(({ name, bytes, dtype, shape, tap }) =>
          this.#measure(name, bytes, ggmlType(dtype), shape, tap),
        ),
      );
    if (this.#tier === 'full' && block !== null) jobs.push(this.#writer.append(block, this.#index, blocks));
    await settle(jobs);
  }

  /** Writes what waited for the end of the step. */
  async end(): Promise<void> {
    if (this.#tier === 'hash') {
      const { sequence, step } = this.#place;
      await this.#writer.appendHash(sequence, step, this.#index.position.length, this.#inOrder(this.#hashes));
      return;
    }
    if (this.#tier === 'full' && this.#model.size > 0)
      await this.#writer.append(null, this.#index, this.#model);
    await this.#writer.appendStats(this.#index, this.#inOrder(this.#stats));
  }

  /** The selected rows of a value: a part of the same memory. */
  #select({ name, shape, bytes }: OutputValue): { bytes: Uint8Array; shape: readonly number[] } {
    if (this.#taps.get(name)!.scope === 'step') return { bytes, shape };
    const { start, end } = this.#selection.rows;
    const row = bytes.byteLength / shape[0]!;
    return { bytes: bytes.subarray(start * row, end * row), shape: [end - start, ...shape.slice(1)] };
  }

  async #measure(
    name: string,
    bytes: Uint8Array,
    type: number,
    shape: readonly number[],
    tap: ZayaTap,
  ): Promise<void> {
    const count = tap.scope === 'token' ? elementCount(shape) / shape[0]! : elementCount(shape);
    this.#stats.set(name, { count, values: await native().rowStats(bytes, type, count) });
  }

  async #hash(name: string, bytes: Uint8Array): Promise<void> {
    const digest = await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
    this.#hashes.set(name, Buffer.from(digest).toString('hex'));
  }

  /** Jobs finish in any order; files list taps in the model's. */
  #inOrder<T>(values: ReadonlyMap<string, T>): Map<string, T> {
    return new Map(
      [...this.#taps.keys()].filter((name) => values.has(name)).map((name) => [name, values.get(name)!]),
    );
  }
}

function rowIndex(
  { start, end }: { start: number; end: number },
  { sequence, step, tokens }: StepPlace,
): RowIndex {
  const rows = end - start;
  return {
    sequence: new Int32Array(rows).fill(sequence),
    position: Int32Array.from({ length: rows }, (_, row) => start + row),
    tokenId: Int32Array.from(tokens.slice(start, end)),
    step: new Int32Array(rows).fill(step),
  };
}

/** Waits for all, then throws the first failure: memory must not be given back while another job still reads it. */
async function settle(jobs: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(jobs);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
