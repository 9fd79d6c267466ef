/** Takes a run's values as they come and writes them into the dump, a block at a time. */

import { blockElements, dtypeKind, tapBlockBytes } from '../../dump/dtypes.js';
import type { RowIndex, TapSpec } from '../../dump/format.js';
import { rowStats } from '../../dump/row-stats.js';
import type { DumpWriter, TapStats, TapValue } from '../../dump/writer.js';
import { elementCount } from '../../graph/shape.js';
import { alignedElements } from '../replay/widen.js';
import type { Four, RecordedTensor } from './recorded-graph.js';
import { unexpected } from './recorded-graph.js';
import { inTapOrder, type PlannedValue, type TapPlan } from './tap-plan.js';

/** Writes one recording. */
export class ValueWriter {
  readonly #writer: DumpWriter;
  readonly #plan: TapPlan;
  readonly #taps: ReadonlyMap<string, TapSpec>;
  readonly #index: readonly RowIndex[];
  readonly #held = new Map<string, Map<string, TapValue>>();
  readonly #stats: Map<string, TapStats>[];
  #tail: Promise<void> = Promise.resolve();

  /** @param index rows of each graph. */
  constructor(writer: DumpWriter, plan: TapPlan, index: readonly RowIndex[]) {
    this.#writer = writer;
    this.#plan = plan;
    this.#taps = new Map(plan.taps.map((tap) => [tap.name, tap]));
    this.#index = index;
    this.#stats = index.map(() => new Map());
  }

  /**
   * Takes a value, whose bytes are kept until its block is written. Resolves when they are no longer needed,
   * or at once where the block waits for others.
   */
  take(graph: number, tensor: RecordedTensor, ne: Four, bytes: Uint8Array): Promise<void> {
    const planned = this.#plan.values.get(tensor.id);
    if (planned === undefined) throw unexpected('a value that the first run had', tensor.name);
    const spec = this.#taps.get(planned.tap)!;
    const { value, stats } = prepare(spec, planned, ne, bytes);
    if (stats !== undefined) this.#stats[graph]!.set(spec.name, stats);
    const key = `${graph} ${planned.block}`;
    const held = this.#held.get(key) ?? new Map<string, TapValue>();
    this.#held.set(key, held);
    held.set(spec.name, value);
    if (held.size < this.#plan.expected[graph]!.get(planned.block)!) return Promise.resolve();
    this.#held.delete(key);
    return this.#append(planned.block, graph, held);
  }

  /** Writes the statistics of a graph whose values have all come. */
  async endGraph(graph: number): Promise<void> {
    await this.#tail;
    if ([...this.#held.keys()].some((key) => key.startsWith(`${graph} `)))
      throw unexpected('all values of the first run', `fewer of graph ${graph}`);
    const order = this.#plan.taps.map(({ name }) => name);
    const stats = this.#stats[graph]!;
    const ordered = new Map(order.filter((name) => stats.has(name)).map((name) => [name, stats.get(name)!]));
    await this.#writer.appendStats(this.#index[graph]!, ordered);
    stats.clear();
  }

  #append(block: number | null, graph: number, values: Map<string, TapValue>): Promise<void> {
    const written = this.#tail.then(() => this.#writer.append(block, this.#index[graph]!, values));
    this.#tail = written;
    this.#tail.catch(() => {});
    return written;
  }
}

/** Bytes in the tap's order, and their statistics. */
function prepare(
  spec: TapSpec,
  { axes, shape }: PlannedValue,
  ne: Four,
  bytes: Uint8Array,
): { value: TapValue; stats: TapStats | undefined } {
  const perBlock = blockElements(spec.dtype);
  const blocks: Four = [ne[0] / perBlock, ne[1], ne[2], ne[3]];
  const ordered = inTapOrder(bytes, blocks, axes, tapBlockBytes(spec.dtype));
  const rows = spec.scope === 'token' ? shape[0]! : 1;
  const count = elementCount(shape) / rows;
  const present = spec.nullable === true ? new Uint8Array(rows).fill(1) : undefined;
  const value = { bytes: ordered, shape, ...(present && { present }) };
  if (dtypeKind(spec.dtype) === 'quantised' || count === 0) return { value, stats: undefined };
  const elements = alignedElements(spec.dtype, ordered);
  return {
    value,
    stats: { count, values: rowStats(elements, spec.dtype, count), ...(present && { present }) },
  };
}
