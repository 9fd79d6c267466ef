import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { badArgument, unmet, ZayascopeError } from '../errors.js';
import { isAbsent, type ReusableBuffer } from './arrow/reader.js';
import { hashFault, statsFault } from './claims/records.js';
import type { RowFault } from './claims/rows.js';
import { DataReader, type FileRows, type TensorBatch } from './data-reader.js';
import { GRAPH_FILE, HASH_FILE, type Manifest, NOISE_FILE, STATS_FILE, type TapInfo } from './format.js';
import { type DumpGraph, readGraph } from './graph-file.js';
import { readManifest } from './manifest.js';
import { type DumpNoise, readNoise } from './noise/noise-file.js';
import { badRead, type RowFilter, readTap, streamTap } from './read-tap.js';
import { type DumpRoles, dumpRoles } from './roles.js';
import { type HashRow, readHashes, readStats, type StatsRows } from './stats-reader.js';

export { ReusableBuffer } from './arrow/reader.js';
export type { FileRows, TensorBatch } from './data-reader.js';
export type { RowFilter } from './read-tap.js';

/**
 * A dump opened for reading. Nothing is loaded but the manifest until asked for; files stay open until
 * `close`. Every method throws `BAD_DUMP` for a damaged file and `IO` for one that cannot be read, both
 * naming it, and `CLOSED` after `close`.
 */
export class Dump implements AsyncDisposable {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly #taps: ReadonlyMap<string, TapInfo>;
  readonly #files = new Map<string, Promise<DataReader>>();
  #closed = false;
  #roles: { roles: DumpRoles | undefined } | undefined;

  private constructor(dir: string, manifest: Manifest) {
    this.dir = dir;
    this.manifest = manifest;
    this.#taps = new Map(manifest.taps.map((tap) => [tap.name, tap]));
  }

  /**
   * Reads and checks the manifest. Throws `IO` where there is none, `BAD_DUMP` naming the field at fault, or
   * a missing file of a complete dump.
   */
  static async open(dir: string): Promise<Dump> {
    const manifest = await readManifest(dir);
    if (manifest.status === 'complete') await checkFiles(dir, manifest);
    return new Dump(dir, manifest);
  }

  /**
   * Which taps play which role; undefined where neither the manifest says so nor its `model.type` is known.
   */
  get roles(): DumpRoles | undefined {
    this.#roles ??= { roles: dumpRoles(this.manifest) };
    return this.#roles.roles;
  }

  /** Taps in the order that the manifest's `order` says; by default as they were computed. */
  get taps(): readonly TapInfo[] {
    return this.manifest.taps;
  }

  /**
   * Taps that hold the first entries of their last axis only (a trimmed vocabulary, 16 of 17 classes), as the
   * name map said that they were imported with.
   */
  get prefixes(): ReadonlySet<string> {
    const { prefixes } = this.manifest.producer;
    return new Set(Array.isArray(prefixes) ? prefixes.map(String) : []);
  }

  /** The tap of this name. Throws `BAD_ARGUMENT` where the dump lists none. */
  tap(name: string): TapInfo {
    const tap = this.#taps.get(name);
    if (tap === undefined) throw badRead(name, 'the name of a tap in the dump', 'none that is listed');
    return tap;
  }

  /**
   * Index columns of all rows of the tap's file, in file order; taps of one file share them. Tier full only
   * (`BAD_ARGUMENT`).
   */
  async rows(name: string): Promise<FileRows> {
    return (await this.#file(this.tap(name))).rows();
  }

  /**
   * False where the tap's file ends without a footer, as a crash leaves it in a partial dump: its rows are
   * those of the whole batches. In a complete dump such a file is `BAD_DUMP`.
   */
  async isWhole(name: string): Promise<boolean> {
    return (await this.#file(this.tap(name))).hasFooter;
  }

  /**
   * Reads rows [start, end) of a tap's file (numbered as in {@link rows}) up to the end of a record batch, or
   * to a change of shape.
   * @param into memory to read into, valid until its next use; default fresh memory. @returns undefined where
   * row `start` has no value (scope `step`, and nullable taps).
   */
  async readRows(
    name: string,
    start: number,
    end: number,
    into?: ReusableBuffer,
  ): Promise<TensorBatch | undefined> {
    const tap = this.tap(name);
    const file = await this.#file(tap);
    const { position } = await file.rows();
    if (
      !(
        Number.isInteger(start) &&
        Number.isInteger(end) &&
        start >= 0 &&
        start < end &&
        end <= position.length
      )
    )
      throw badRead(name, `rows within 0..${position.length}`, `${start}..${end}`);
    return file.read(tap, start, end, into);
  }

  /**
   * Reads a tap in parts of a few megabytes, in file order; rows without a value are passed over.
   * @param into memory that the parts share: each is valid until the next is asked for. Default: fresh memory
   * for each.
   */
  stream(name: string, filter: RowFilter = {}, into?: ReusableBuffer): AsyncGenerator<TensorBatch> {
    return streamTap(this, name, filter, into);
  }

  /**
   * Reads all matching rows of a tap as one tensor. Throws `BAD_ARGUMENT` where no row matches, where rows
   * differ in shape (narrow the filter to one step), or where there are more than 2^31 - 1 elements (use
   * {@link stream}).
   */
  read(name: string, filter: RowFilter = {}): Promise<TensorBatch> {
    return readTap(this, name, filter);
  }

  /** All rows of `stats.arrow` as columns. Tiers full and stats (`BAD_ARGUMENT`). */
  async stats(): Promise<StatsRows> {
    this.#checkTier('statistics', ['full', 'stats']);
    const stats = await readStats(join(this.dir, STATS_FILE), this.manifest.status === 'partial');
    this.#refuse(STATS_FILE, statsFault(this.manifest, stats));
    return stats;
  }

  /** All rows of `hash.arrow`. Tier hash (`BAD_ARGUMENT`). */
  async hashes(): Promise<HashRow[]> {
    this.#checkTier('hashes', ['hash']);
    const hashes = await readHashes(join(this.dir, HASH_FILE), this.manifest.status === 'partial');
    this.#refuse(HASH_FILE, hashFault(this.manifest, hashes));
    return hashes;
  }

  /**
   * The graph of a recording, read and checked whole; undefined where the dump has none, or is partial and
   * has none yet. Throws `IO`, and `BAD_DUMP` naming the field at fault.
   */
  async graph(): Promise<DumpGraph | undefined> {
    const { graph, status } = this.manifest;
    if (graph === undefined) return undefined;
    if (status === 'partial' && !(await readdir(this.dir)).includes(GRAPH_FILE)) return undefined;
    return readGraph(this.dir, new Set(this.#taps.keys()));
  }

  /**
   * The errors of a noise floor, read and checked whole; undefined where the dump is none, or is partial.
   * Throws `IO`, and `BAD_DUMP` naming the field at fault.
   */
  async noise(): Promise<DumpNoise | undefined> {
    const { noise, status } = this.manifest;
    return noise === undefined || status === 'partial' ? undefined : readNoise(this.dir);
  }

  /** Closes the files. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const files = await Promise.allSettled(this.#files.values());
    this.#files.clear();
    for (const file of files) if (file.status === 'fulfilled') await file.value.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #file(tap: TapInfo): Promise<DataReader> {
    this.#checkTier('tensors', ['full']);
    let file = this.#files.get(tap.file);
    if (file === undefined) {
      const own = this.taps.filter((other) => other.file === tap.file);
      const { status } = this.manifest;
      file = DataReader.open(this.dir, tap.file, tap.block, own, this.manifest).catch((error: unknown) => {
        // What a producer had not begun when it ended holds no rows; the rest reads as far as it goes.
        if (status === 'partial' && isAbsent(error)) return DataReader.absent();
        throw error;
      });
      this.#files.set(tap.file, file);
    }
    return file;
  }

  #refuse(file: string, fault: RowFault | undefined): void {
    if (fault !== undefined)
      throw unmet('BAD_DUMP', 'readDump', fault.expected, fault.got, {
        where: join(this.dir, file),
        tensor: file,
      });
  }

  #checkTier(what: string, tiers: readonly Manifest['tier'][]): void {
    if (this.#closed)
      throw new ZayascopeError('CLOSED', `readDump: expected an open dump, got a closed one (${this.dir})`);
    if (!tiers.includes(this.manifest.tier))
      throw badArgument(
        'readDump',
        `a dump of tier ${tiers.join(' or ')} to read ${what}`,
        `tier ${this.manifest.tier}`,
        this.dir,
      );
  }
}

/**
 * A complete dump has all its files; one that lost some is refused at once rather than when a tap is read.
 */
async function checkFiles(dir: string, manifest: Manifest): Promise<void> {
  const present = new Set(await readdir(dir));
  const needed = manifest.tier === 'full' ? manifest.taps.map((tap) => tap.file) : [];
  if (manifest.graph !== undefined) needed.push(GRAPH_FILE);
  if (manifest.noise !== undefined) needed.push(NOISE_FILE);
  needed.push(manifest.tier === 'hash' ? HASH_FILE : STATS_FILE);
  const missing = needed.find((file) => !present.has(file));
  if (missing !== undefined)
    throw unmet('BAD_DUMP', 'openDump', `${missing} in a complete dump`, 'none', {
      where: dir,
      tensor: missing,
    });
}
