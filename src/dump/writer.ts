/**
 * Writes a dump (`docs/dump-format.md`):
 *
 *     await using writer = await DumpWriter.create(dir, { tier: 'full', taps, model, policy, ... });
 *     for each forward step and sequence:
 *       for each block: await writer.append(block, index, values);      // tier full: values by tap name
 *       await writer.appendStats(index, stats);                         // tiers full and stats
 *       await writer.appendHash(sequence, step, rows, hashes);          // tier hash
 *     const manifest = await writer.finish();
 *
 * Contract
 * - When `append` resolves, its bytes are on disk (written to the file, not synced to the device): nothing is
 *   queued or copied behind the caller's back, so the memory that the values view may be reused. Until then
 *   it must not change.
 * - Appends to one file are served in the order of the calls; different blocks may be written at the same
 *   time.
 * - One writer at a time: a folder is locked by a file beside it (`lock.ts`), which a killed process leaves
 *   and the next one replaces.
 * - A dump that was not finished (crash, `abort`, a full disk) is marked partial and reads up to its last
 *   whole batch.
 */
import { join } from 'node:path';
import { badArgument, unmet, ZayascopeError } from '../errors.js';
import { DataWriter, type TapValue } from './data-writer.js';
import { prepareFolder } from './folder.js';
import {
  DUMP_FORMAT,
  type DumpDescription,
  dataFileName,
  GRAPH_FILE,
  HASH_FILE,
  type Manifest,
  NOISE_FILE,
  neededVersion,
  type RowIndex,
  STATS_FILE,
  type TapInfo,
} from './format.js';
import { type DumpGraph, writeGraph } from './graph-file.js';
import { type FolderLock, lockFolder } from './lock.js';
import { checkNewManifest, writeManifest } from './manifest.js';
import { type DumpNoise, writeNoise } from './noise/noise-file.js';
import { HashWriter, StatsWriter, type TapHash, type TapStats } from './stats-writer.js';

export type { TapValue } from './data-writer.js';
export type { TapHash, TapStats } from './stats-writer.js';

/** Options of {@link DumpWriter.create} beyond the manifest's fields. */
export interface DumpWriterOptions {
  /**
   * Replace a dump that is already there. Default false. A folder that holds anything but a dump is always
   * refused.
   */
  overwrite?: boolean;
  /** The dump is a recording: `writeGraph` is called before it is finished. Default false. */
  graph?: boolean;
  /** The dump is a noise floor: the errors that its file holds. Default: none. */
  noise?: DumpNoise | undefined;
  /**
   * Rows are split where the body of a record batch would exceed this many bytes. Default 2^30; at most that.
   */
  batchBytes?: number;
}

/** What may be known only when a run has ended; replaces what was given at creation. */
export type DumpEnding = Pick<Partial<DumpDescription>, 'roles' | 'notRun' | 'order' | 'edges' | 'calls'>;

const MAX_BATCH_BYTES = 2 ** 30;

interface DumpFiles {
  data: ReadonlyMap<number | null, DataWriter>;
  stats: StatsWriter | undefined;
  hashes: HashWriter | undefined;
}

/** Writes one dump. See the head of this file for the order of calls and what they promise. */
export class DumpWriter implements AsyncDisposable {
  readonly #dir: string;
  readonly #manifest: Manifest;
  readonly #files: DumpFiles;
  readonly #lock: FolderLock;
  #hasGraph = false;
  #steps = 0;
  #state: 'open' | 'finished' | 'aborted' = 'open';

  private constructor(dir: string, manifest: Manifest, files: DumpFiles, lock: FolderLock) {
    this.#lock = lock;
    this.#dir = dir;
    this.#manifest = manifest;
    this.#files = files;
  }

  /**
   * Creates the folder, its manifest (status partial) and its files.
   *
   * The folder is locked until `finish` or `abort`: `IO` where something else writes into it.
   * Throws `IO` for a folder that cannot be written or is not empty (unless it holds a dump and `overwrite`
   * is set: then the dump's files are removed and nothing else), `BAD_ARGUMENT` for a description that breaks
   * the format, e.g. two taps of one name.
   */
  static async create(
    dir: string,
    description: DumpDescription,
    options: DumpWriterOptions = {},
  ): Promise<DumpWriter> {
    const { overwrite = false, batchBytes = MAX_BATCH_BYTES, graph = false, noise } = options;
    if (!(batchBytes > 0 && batchBytes <= MAX_BATCH_BYTES))
      throw badArgument('writeDump', `batchBytes in 1..${MAX_BATCH_BYTES}`, batchBytes);
    const taps = description.taps.map((tap): TapInfo => {
      const { name, block, dtype, scope, axes, shape, nullable, masked } = tap;
      const flags = { ...(nullable ? { nullable } : {}), ...(masked ? { masked } : {}) };
      return { name, block, file: dataFileName(block), dtype, scope, axes, shape, ...flags };
    });
    const { roles, notRun, order, edges, calls } = description;
    const draft: Omit<Manifest, 'version'> = {
      format: DUMP_FORMAT,
      status: 'partial',
      tier: description.tier,
      created: new Date().toISOString(),
      producer: description.producer,
      model: description.model,
      policy: description.policy,
      backend: description.backend,
      sequences: description.sequences,
      selection: description.selection,
      steps: 0,
      taps,
      roles,
      notRun,
      order,
      edges,
      calls,
      ...(graph ? { graph: { file: GRAPH_FILE } as const } : {}),
      ...(noise === undefined ? {} : { noise: { file: NOISE_FILE } as const }),
    };
    const manifest: Manifest = versioned(draft);
    checkNewManifest(manifest, dir);
    const lock = await lockFolder(dir);
    try {
      await prepareFolder(dir, overwrite);
      await writeManifest(dir, manifest);
      if (noise !== undefined) await writeNoise(dir, noise);
      return new DumpWriter(dir, manifest, await createFiles(dir, manifest, batchBytes), lock);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /**
   * Appends one step's rows of one sequence for the taps of a block (null: the taps of no block). Tier full
   * only.
   * @param values by tap name; every tap of the block with scope `token` is needed. Throws `BAD_ARGUMENT`
   * naming the tap, `IO` naming the file.
   */
  async append(block: number | null, index: RowIndex, values: ReadonlyMap<string, TapValue>): Promise<void> {
    this.#checkOpen();
    const rows = this.#checkIndex(index);
    const data = this.#files.data.get(block);
    if (data === undefined)
      throw unmet(
        'BAD_ARGUMENT',
        'appendDump',
        'a block with taps in a dump of tier full',
        `${dataFileName(block)} in tier ${this.#manifest.tier}`,
        { tensor: dataFileName(block) },
      );
    if (rows === 0) return;
    await data.append(index, values);
    this.#steps = Math.max(this.#steps, index.step[rows - 1]! + 1);
  }

  /** Appends statistics of any taps over the rows of one step and sequence. Tiers full and stats. */
  async appendStats(index: RowIndex, stats: ReadonlyMap<string, TapStats>): Promise<void> {
    this.#checkOpen();
    const rows = this.#checkIndex(index);
    const writer = this.#files.stats ?? this.#wrongTier('statistics');
    if (rows === 0) return;
    await writer.append(index, stats);
    this.#steps = Math.max(this.#steps, index.step[rows - 1]! + 1);
  }

  /**
   * Appends the hex SHA-256 of each tap's selected rows (contiguous little-endian bytes) of one step and
   * sequence. Tier hash.
   */
  async appendHash(
    sequence: number,
    step: number,
    rows: number,
    hashes: ReadonlyMap<string, TapHash>,
  ): Promise<void> {
    this.#checkOpen();
    const writer = this.#files.hashes ?? this.#wrongTier('hashes');
    await writer.append(sequence, step, rows, hashes);
    this.#steps = Math.max(this.#steps, step + 1);
  }

  /**
   * Writes the graph of a recording, once it is known; a later call replaces it. The dump must have been
   * created with the option `graph`. Throws `BAD_ARGUMENT` naming the field at fault, `IO`.
   */
  async writeGraph(graph: DumpGraph): Promise<void> {
    this.#checkOpen();
    if (this.#manifest.graph === undefined)
      throw badArgument('writeGraph', 'a dump that was created with a graph', 'one without', this.#dir);
    await writeGraph(this.#dir, graph, new Set(this.#manifest.taps.map(({ name }) => name)));
    this.#hasGraph = true;
  }

  /**
   * Writes the footers and marks the dump complete, or with `status` partial: all that its producer computed
   * before it ended.
   * @param sequences replaces the token ids given at creation, for runs that generate tokens.
   * @param known what only the end of a run tells. Throws `BAD_ARGUMENT` unless the dump was created as
   * version 2 (e.g. with `notRun: []`): its files say which version they are.
   */
  async finish(
    sequences: Manifest['sequences'] = this.#manifest.sequences,
    known: DumpEnding = {},
    status: Manifest['status'] = 'complete',
  ): Promise<Manifest> {
    this.#checkOpen();
    try {
      const manifest: Manifest = {
        ...this.#manifest,
        ...known,
        status,
        sequences,
        steps: this.#steps,
      };
      this.#checkVersion(manifest);
      if (manifest.graph !== undefined && !this.#hasGraph)
        throw badArgument('finishDump', 'the graph that the dump was created with', 'none', this.#dir);
      const ended = await Promise.allSettled([...allFiles(this.#files)].map((file) => file.finish()));
      for (const end of ended) if (end.status === 'rejected') throw end.reason;
      await writeManifest(this.#dir, manifest);
      this.#state = 'finished';
      await this.#lock.release();
      return manifest;
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  /** Closes the files as they are; the dump stays partial. Does nothing after `finish`. */
  async abort(): Promise<void> {
    if (this.#state === 'open') this.#state = 'aborted';
    try {
      for (const file of allFiles(this.#files)) await file.close();
    } finally {
      await this.#lock.release();
    }
  }

  /** Aborts unless finished. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.abort();
  }

  #checkOpen(): void {
    if (this.#state !== 'open')
      throw new ZayascopeError(
        'CLOSED',
        `writeDump: expected an open dump, got one that is ${this.#state} (${this.#dir})`,
      );
  }

  #checkIndex(index: RowIndex): number {
    const rows = index.position.length;
    for (const name of ['sequence', 'tokenId', 'step'] as const)
      if (index[name].length !== rows)
        throw badArgument('appendDump', `${rows} rows in the index`, index[name].length, name);
    for (let row = 1; row < rows; row++)
      if (index.step[row] !== index.step[0] || index.sequence[row] !== index.sequence[0])
        throw badArgument(
          'appendDump',
          'rows of one step and sequence',
          `step ${index.step[0]} of sequence ${index.sequence[0]}, then ${index.step[row]} of ${index.sequence[row]}`,
        );
    return rows;
  }

  #checkVersion(manifest: Manifest): void {
    const needed = neededVersion(manifest);
    if (needed > manifest.version)
      throw badArgument(
        'finishDump',
        `what version ${manifest.version} holds`,
        `fields or sequences of version ${needed}: say so when the dump is created`,
        this.#dir,
      );
    checkNewManifest(manifest, this.#dir);
  }

  #wrongTier(what: string): never {
    throw badArgument(
      'appendDump',
      `a dump whose tier holds ${what}`,
      `tier ${this.#manifest.tier}`,
      this.#dir,
    );
  }
}

/** The manifest with its version where readers look for it, second. */
function versioned({ format, ...rest }: Omit<Manifest, 'version'>): Manifest {
  return { format, version: neededVersion({ format, ...rest }), ...rest };
}

async function createFiles(
  dir: string,
  { tier, taps, version }: Manifest,
  batchBytes: number,
): Promise<DumpFiles> {
  const data = new Map<number | null, DataWriter>();
  let stats: StatsWriter | undefined;
  let hashes: HashWriter | undefined;
  try {
    if (tier === 'full')
      for (const block of new Set(taps.map((tap) => tap.block))) {
        const own = taps.filter((tap) => tap.block === block);
        data.set(
          block,
          await DataWriter.create(join(dir, dataFileName(block)), block, own, version, batchBytes),
        );
      }
    if (tier === 'hash') hashes = await HashWriter.create(join(dir, HASH_FILE), taps);
    else stats = await StatsWriter.create(join(dir, STATS_FILE), taps);
  } catch (error) {
    for (const file of allFiles({ data, stats, hashes })) await file.close();
    throw error;
  }
  return { data, stats, hashes };
}

function allFiles(files: DumpFiles): (DataWriter | StatsWriter | HashWriter)[] {
  return [...files.data.values(), files.stats, files.hashes].filter((file) => file !== undefined);
}
