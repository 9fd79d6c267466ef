/** Takes a run's values as they come and writes them into the dump, a block at a time. */
import { webcrypto } from 'node:crypto';
import { type Dtype, ggmlType } from '../../dtype.js';
import { blockElements, dtypeKind, tapBlockBytes } from '../../dump/dtypes.js';
import type { DumpTier, RowIndex, TapSpec } from '../../dump/format.js';
import { rowStats } from '../../dump/row-stats.js';
import type { DumpWriter, TapHash, TapStats, TapValue } from '../../dump/writer.js';
import { elementCount } from '../../graph/shape.js';
import { alignedElements } from './aligned-elements.js';
import { type GraphRows, rowCount } from './graph-rows.js';
import { keptRows, type Positions, rowsOfBytes } from './kept-rows.js';
import type { Four, RecordedTensor } from './recorded-graph.js';
import { unexpected } from './recorded-graph.js';
import { inTapOrder, type PlannedValue, type TapPlan } from './tap-plan.js';

/** Types that the addon measures; and below so many bytes describing them to it takes longer. */
const MEASURED: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16', 'I32']);
const SHORT_BYTES = 65_536;

/** Takes statistics of many values off this thread: the addon's `rowStats`. */
export type MeasureRows = (
  values: readonly { bytes: Uint8Array; type: number; columns: number }[],
) => Promise<Float64Array[]>;

/** What of a run is written. */
export interface Kept {
  tier: DumpTier;
  /** Rows of a scope `token` tap that no node reads; null for all. */
  positions: Positions | null;
  /** Those taps. */
  narrowed: ReadonlySet<string>;
}

/** One value in the tap's order, all rows of its graph. */
interface Whole {
  spec: TapSpec;
  bytes: Uint8Array;
  shape: readonly number[];
}

/** Writes one recording. */
export class ValueWriter {
  readonly #writer: DumpWriter;
  readonly #plan: TapPlan;
  readonly #taps: ReadonlyMap<string, TapSpec>;
  readonly #rows: readonly GraphRows[];
  readonly #kept: Kept;
  readonly #measureRows: MeasureRows | undefined;
  readonly #held = new Map<string, Whole[]>();
  /** Of each graph and sequence in it. */
  readonly #stats: Map<string, TapStats>[][];
  readonly #hashes: Map<string, TapHash>[][];
  #tail: Promise<void> = Promise.resolve();
  #ended: Promise<void> = Promise.resolve();

  /** @param rows of each graph. @param measure default: on this thread. */
  constructor(
    writer: DumpWriter,
    plan: TapPlan,
    rows: readonly GraphRows[],
    {
      kept = { tier: 'full', positions: null, narrowed: new Set() },
      measure,
    }: { kept?: Kept; measure?: MeasureRows } = {},
  ) {
    this.#measureRows = measure;
    this.#writer = writer;
    this.#plan = plan;
    this.#taps = new Map(plan.taps.map((tap) => [tap.name, tap]));
    this.#rows = rows;
    this.#kept = kept;
    this.#stats = rows.map((graph) => graph.map(() => new Map()));
    this.#hashes = rows.map((graph) => graph.map(() => new Map()));
  }

  /**
   * Takes a value, whose bytes are kept until its block is written. Resolves when they are no longer needed,
   * or at once where the block waits for others.
   * @param free lets go of the memory of a value that is written.
   */
  take(
    graph: number,
    tensor: RecordedTensor,
    ne: Four,
    bytes: Uint8Array,
    free: (bytes: Uint8Array) => void = () => {},
  ): Promise<void> {
    const planned = this.#plan.values.get(tensor.id);
    if (planned === undefined) throw unexpected('a value that the first run had', tensor.name);
    const key = `${graph} ${planned.block}`;
    const held = this.#held.get(key) ?? [];
    this.#held.set(key, held);
    held.push(ordered(this.#taps.get(planned.tap)!, planned, ne, bytes, free));
    if (held.length < this.#plan.expected[graph]!.get(planned.block)!) return Promise.resolve();
    this.#held.delete(key);
    return this.#write(planned.block, graph, held).then(() => {
      for (const value of held) free(value.bytes);
    });
  }

  /** Writes the statistics of a graph whose values have all come; of several in the order of the calls. */
  endGraph(graph: number): Promise<void> {
    const before = Promise.all([this.#tail, this.#ended]);
    const ended = before.then(() => this.#writeStats(graph));
    this.#ended = ended;
    ended.catch(() => {});
    return ended;
  }

  async #writeStats(graph: number): Promise<void> {
    if ([...this.#held.keys()].some((key) => key.startsWith(`${graph} `)))
      throw unexpected('all values of the first run', `fewer of graph ${graph}`);
    for (const [k, index] of this.#rows[graph]!.entries()) {
      const { tier } = this.#kept;
      if (tier === 'hash') {
        const { sequence, step } = index;
        const hashes = this.#inOrder(this.#hashes[graph]![k]!);
        await this.#writer.appendHash(sequence[0]!, step[0]!, index.position.length, hashes);
      } else await this.#writer.appendStats(index, this.#inOrder(this.#stats[graph]![k]!));
    }
    this.#stats[graph] = [];
    this.#hashes[graph] = [];
  }

  #inOrder<T>(values: ReadonlyMap<string, T>): Map<string, T> {
    return new Map(
      this.#plan.taps.flatMap(({ name }) => (values.has(name) ? [[name, values.get(name)!] as const] : [])),
    );
  }

  #write(block: number | null, graph: number, values: readonly Whole[]): Promise<void> {
    const rows = this.#rows[graph]!;
    const cut = values.map((value) => this.#cut(value, rows));
    const { tier } = this.#kept;
    const jobs = async (): Promise<void> => {
      const measured = tier === 'hash' ? this.#hash(graph, cut) : this.#measure(graph, values, cut);
      for (const [k, index] of rows.entries()) {
        const own = new Map(cut.flatMap((parts) => (parts[k] === undefined ? [] : [parts[k]])));
        if (tier === 'full' && own.size > 0) await this.#writer.append(block, index, own);
      }
      await measured;
    };
    const written = this.#tail.then(jobs);
    this.#tail = written;
    this.#tail.catch(() => {});
    return written;
  }

  /** What of a value goes to each sequence; one without a row a token to the last. */
  #cut({ spec, bytes, shape }: Whole, rows: GraphRows): ([string, TapValue] | undefined)[] {
    if (spec.scope === 'step')
      return rows.map((_, k) => (k === rows.length - 1 ? [spec.name, { bytes, shape }] : undefined));
    const size = bytes.byteLength / rowCount(rows);
    let start = 0;
    return rows.map((index): [string, TapValue] => {
      const end = start + index.position.length;
      const part = bytes.subarray(start * size, end * size);
      start = end;
      return [spec.name, this.#narrowed(spec, index, part, shape.slice(1))];
    });
  }

  #narrowed(spec: TapSpec, index: RowIndex, bytes: Uint8Array, shape: readonly number[]): TapValue {
    const count = index.position.length;
    const { positions, narrowed } = this.#kept;
    if (positions === null || !narrowed.has(spec.name))
      return {
        bytes,
        shape: [count, ...shape],
        present: spec.nullable ? new Uint8Array(count).fill(1) : undefined,
      };
    const present = keptRows(index, positions);
    const kept = rowsOfBytes(bytes, present);
    return { bytes: kept.bytes, shape: [kept.count, ...shape], present };
  }

  /** Large values all at once off this thread, which the next ones come to. */
  async #measure(
    graph: number,
    values: readonly Whole[],
    cut: readonly (readonly ([string, TapValue] | undefined)[])[],
  ): Promise<void> {
    const parts = cut.flatMap((each, v) =>
      each.flatMap((part, k) => (part === undefined ? [] : [{ spec: values[v]!.spec, value: part[1], k }])),
    );
    const put = (
      { spec, value: { present }, k }: (typeof parts)[0],
      count: number,
      numbers: Float64Array,
    ): void => {
      this.#stats[graph]![k]!.set(spec.name, { count, values: numbers, present });
    };
    const large: { part: (typeof parts)[0]; bytes: Uint8Array; type: number; columns: number }[] = [];
    for (const part of parts) {
      const { spec, value } = part;
      const rows = spec.scope === 'token' ? value.shape[0]! : 1;
      const columns = elementCount(spec.scope === 'token' ? value.shape.slice(1) : value.shape);
      if (dtypeKind(spec.dtype) === 'quantised' || columns === 0) continue;
      const { bytes } = value;
      const isLarge = bytes.byteLength >= SHORT_BYTES && this.#measureRows !== undefined;
      if (rows > 0 && isLarge && MEASURED.has(spec.dtype))
        large.push({ part, bytes, type: ggmlType(spec.dtype as Dtype), columns });
      else put(part, columns, rowStats(alignedElements(spec.dtype, bytes), spec.dtype, columns));
    }
    if (large.length === 0) return;
    const numbers = await this.#measureRows!(large);
    for (const [n, { part, columns }] of large.entries()) put(part, columns, numbers[n]!);
  }

  async #hash(graph: number, cut: readonly (readonly ([string, TapValue] | undefined)[])[]): Promise<void> {
    for (const parts of cut)
      for (const [k, part] of parts.entries()) {
        if (part === undefined) continue;
        const [name, { bytes, present }] = part;
        const digest = await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
        const sha256 = Buffer.from(digest).toString('hex');
        const rows = present?.reduce((sum, one) => sum + one, 0);
        this.#hashes[graph]![k]!.set(name, rows === undefined ? sha256 : { sha256, rows });
      }
  }
}

/** Bytes in the tap's order. Where that is another, the run's own are let go of. */
function ordered(
  spec: TapSpec,
  { axes, shape }: PlannedValue,
  ne: Four,
  bytes: Uint8Array,
  free: (bytes: Uint8Array) => void,
): Whole {
  const perBlock = blockElements(spec.dtype);
  const blocks: Four = [ne[0] / perBlock, ne[1], ne[2], ne[3]];
  const inOrder = inTapOrder(bytes, blocks, axes, tapBlockBytes(spec.dtype));
  if (inOrder !== bytes) free(bytes);
  return { spec, bytes: inOrder, shape };
}
