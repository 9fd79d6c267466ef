/** A dump that is judged several times: read once, and seen as other programs would have written it. */
import type { DumpView } from '../../src/dump/dump-view.js';
import { type TapElements, toFloat32 } from '../../src/dump/float.js';
import type { Manifest, TapInfo } from '../../src/dump/format.js';
import { UNKNOWN } from '../../src/dump/import/foreign.js';
import { Dump, type FileRows, type RowFilter, type TensorBatch } from '../../src/dump/reader.js';

/** How a dump is seen. */
export interface Seen {
  /** Values that it holds; default all. */
  keeps?: (name: string) => boolean;
  /** As an import of another program's values: nothing is known of its weights and dtypes. */
  foreign?: boolean;
  /** Half precision stored as F32. */
  widened?: boolean;
}

/** Values of a dump, each read from disk once. */
export class KeptDump {
  readonly dump: Dump;
  readonly #reads = new Map<string, Promise<TensorBatch | undefined>>();
  readonly #rows = new Map<string, Promise<FileRows>>();
  /** Elements of values that differ from those of another dump. */
  readonly #differences = new WeakMap<KeptDump, Map<string, Promise<number>>>();

  private constructor(dump: Dump) {
    this.dump = dump;
  }

  static async open(folder: string): Promise<KeptDump> {
    return new KeptDump(await Dump.open(folder));
  }

  rows(name: string): Promise<FileRows> {
    const { file } = this.dump.tap(name);
    const known = this.#rows.get(file) ?? this.dump.rows(name);
    this.#rows.set(file, known);
    return known;
  }

  async read(name: string, filter: RowFilter): Promise<TensorBatch> {
    const { sequence, step } = await this.rows(name);
    const isAll =
      this.dump.tap(name).scope === 'token' &&
      sequence.every((each) => each === (filter.sequence ?? each)) &&
      step.every((each) => each === (filter.step ?? each));
    if (isAll) {
      // what a comparison reads, too
      const batch = await this.readRows(name, 0, sequence.length);
      if (batch?.shape[0] === sequence.length) return batch;
    }
    const key = `${name} ${filter.sequence} ${filter.step}`;
    return (await this.#once(key, () => this.dump.read(name, filter)))!;
  }

  readRows(name: string, start: number, end: number): Promise<TensorBatch | undefined> {
    return this.#once(`${name} ${start}..${end}`, () => this.dump.readRows(name, start, end));
  }

  #once(key: string, read: () => Promise<TensorBatch | undefined>): Promise<TensorBatch | undefined> {
    const known = this.#reads.get(key) ?? read();
    this.#reads.set(key, known);
    return known;
  }

  /** The dump as `seen` says. */
  as({ keeps = () => true, foreign = false, widened = false }: Seen = {}): DumpView {
    const { dump } = this;
    const wide = (tap: TapInfo): TapInfo =>
      widened && (tap.dtype === 'BF16' || tap.dtype === 'F16') ? { ...tap, dtype: 'F32' } : tap;
    const taps = dump.taps.filter(({ name }) => keeps(name)).map(wide);
    const byName = new Map(taps.map((tap) => [tap.name, tap]));
    const own: Manifest = dump.manifest;
    const manifest: Manifest = foreign
      ? {
          ...own,
          taps,
          producer: { name: 'another program', version: UNKNOWN, importedBy: 'test 1' },
          model: {
            ...own.model,
            name: UNKNOWN,
            configSha256: UNKNOWN,
            weightsSha256: UNKNOWN,
            dtype: UNKNOWN,
          },
          policy: { name: UNKNOWN },
        }
      : { ...own, taps };
    const shown = (batch: TensorBatch): TensorBatch => {
      const tap = byName.get(batch.tap.name)!;
      return tap.dtype === batch.dtype
        ? { ...batch, tap }
        : { ...batch, tap, dtype: tap.dtype, data: toFloat32(batch.data, batch.dtype) };
    };
    const read = async (name: string, filter: RowFilter = {}) => shown(await this.read(name, filter));
    return {
      dir: dump.dir,
      manifest,
      roles: dump.roles,
      taps,
      prefixes: new Set<string>(),
      tap: (name) => byName.get(name) ?? dump.tap(`${name} (not kept)`),
      rows: (name) => this.rows(name),
      read,
      readRows: async (name, start, end) => {
        const batch = await this.readRows(name, start, end);
        return batch === undefined ? undefined : shown(batch);
      },
      async *stream(name, filter = {}) {
        yield await read(name, filter);
      },
      isWhole: (name) => dump.isWhole(name),
      stats: () => dump.stats(),
      hashes: () => dump.hashes(),
    };
  }

  /**
   * Elements of the values that `keeps` names which have other bits in `other`, and the first such value in
   * the order in which they are computed, margins aside.
   */
  async differing(
    other: KeptDump,
    keeps: (name: string) => boolean = () => true,
  ): Promise<{ elements: number; first: string | null }> {
    const held = new Set(other.dump.taps.map(({ name }) => name));
    let elements = 0;
    let first: string | null = null;
    for (const { name } of this.dump.taps) {
      if (!keeps(name) || !held.has(name)) continue;
      const count = await this.#kept(other, name);
      // derived from a value that is judged itself, and read by nothing
      if (count > 0 && !name.endsWith('.mlp.gate:margin')) first ??= name;
      elements += count;
    }
    return { elements, first };
  }

  /** Counted once for all kinds in which a dump is judged. */
  #kept(other: KeptDump, name: string): Promise<number> {
    const counts = this.#differences.get(other) ?? new Map<string, Promise<number>>();
    this.#differences.set(other, counts);
    const count = counts.get(name) ?? this.#differing(other, name);
    counts.set(name, count);
    return count;
  }

  async #differing(other: KeptDump, name: string): Promise<number> {
    const rows = (await this.rows(name)).position.length;
    let count = 0;
    for (let row = 0; row < rows; ) {
      const [a, b] = await Promise.all([this.readRows(name, row, rows), other.readRows(name, row, rows)]);
      row += a?.shape[0] ?? 1;
      if (a === undefined || b === undefined) continue;
      if (a.data.length !== b.data.length) return a.data.length;
      const [x, y] = [words(a.data), words(b.data)];
      for (let at = 0; at < x.length; at++) if (x[at] !== y[at]) count++;
    }
    return count;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#reads.values());
    this.#reads.clear();
    await this.dump.close();
  }
}

/** The bits of elements of two or four bytes. */
function words(data: TapElements): Uint16Array | Uint32Array {
  return data instanceof Uint16Array
    ? data
    : new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}
