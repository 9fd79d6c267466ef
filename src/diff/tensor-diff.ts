/** The diff of two dumps of tier full: streams the rows that both have through the comparisons. */
import { rowElements } from '../dump/columns.js';
import { elementBytes } from '../dump/format.js';
import { type Dump, type FileRows, ReusableBuffer, type TensorBatch } from '../dump/reader.js';
import { LogitsComparison } from './logits.js';
import { positionFilter, type TapPair } from './pairing.js';
import type { DiffReport, TapReport, Unpaired } from './report.js';
import { RoutingComparison, routingBlock } from './routing.js';
import { pairRows, type RowRun, UnpairedRows } from './row-pairing.js';
import { pairSteps, type StepSide } from './step-pairing.js';
import { compareTap, type TapComparison } from './tap-comparison.js';

/** Bytes of one side that are compared at a time. */
const PART_BYTES = 2 ** 22;

/** What comparing values adds to a report. */
export interface Comparison {
  tapReports: TapReport[];
  unpaired: Unpaired[];
  /** Rows that a side's selection left out. */
  notCaptured: { reference: number; tested: number };
  logits: DiffReport['logits'];
  routing: DiffReport['routing'];
}

/** Compares the tensors of `pairs`. @param onFile called after each pair of files, with how many are done and in all. */
export async function diffTensors(
  reference: Dump,
  tested: Dump,
  pairs: readonly TapPair[],
  onFile: (done: number, total: number) => void,
): Promise<Comparison> {
  const diff = new TensorDiff(reference, tested);
  const files = new Map<string, TapPair[]>();
  for (const pair of pairs) {
    const key = `${pair.reference.file} ${pair.tested.file}`;
    files.set(key, [...(files.get(key) ?? []), pair]);
  }
  let done = 0;
  for (const group of files.values()) {
    await diff.compareFiles(group);
    onFile(++done, files.size);
  }
  return diff.result(pairs);
}

/** Batches of both sides that hold the same rows. */
interface BatchPair {
  reference: TensorBatch;
  tested: TensorBatch;
}

class TensorDiff {
  readonly #reference: Dump;
  readonly #tested: Dump;
  readonly #comparisons = new Map<string, TapComparison>();
  readonly #unpaired: Unpaired[] = [];
  readonly #notCaptured = { reference: 0, tested: 0 };
  readonly #memory = { reference: new ReusableBuffer(), tested: new ReusableBuffer() };
  readonly #routing = new RoutingComparison();
  #logits: LogitsComparison | undefined;

  constructor(reference: Dump, tested: Dump) {
    this.#reference = reference;
    this.#tested = tested;
  }

  async compareFiles(pairs: readonly TapPair[]): Promise<void> {
    const [first] = pairs as [TapPair];
    const rows = {
      reference: await this.#reference.rows(first.reference.name),
      tested: await this.#tested.rows(first.tested.name),
    };
    const { runs, unpaired, notCaptured } = pairRows(rows.reference, rows.tested, {
      reference: positionFilter(this.#reference.manifest),
      tested: positionFilter(this.#tested.manifest),
    });
    const { file } = first.reference;
    this.#unpaired.push(...unpaired.map((entry) => ({ tap: null, file, ...entry })));
    for (const side of ['reference', 'tested'] as const) this.#notCaptured[side] += notCaptured[side];
    if (runs.length === 0)
      this.#unpaired.push({
        tap: null,
        file,
        side: 'both',
        reason: 'have no row in common',
        rows: 0,
        example: null,
      });
    const misfits = new Map(pairs.map((pair) => [pair, new UnpairedRows()]));
    for (const pair of pairs) this.#comparisons.set(pair.reference.name, compareTap(pair));
    // All taps of a batch before the next batch: its metadata, and its body where it is small, are read once.
    const tokenPairs = pairs.filter((pair) => pair.reference.scope === 'token');
    for (const run of splitAtBatches(runs, rows.reference, rows.tested))
      for (const pair of tokenPairs) await this.#compareRun(pair, run, rows.reference, misfits.get(pair)!);
    const sides = {
      reference: this.#side(this.#reference, rows.reference),
      tested: this.#side(this.#tested, rows.tested),
    };
    for (const pair of pairs)
      if (pair.reference.scope === 'step') await this.#compareSteps(pair, sides, misfits.get(pair)!);
    for (const [{ reference }, found] of misfits)
      this.#unpaired.push(...found.list().map((entry) => ({ tap: reference.name, file, ...entry })));
  }

  async result(pairs: readonly TapPair[]): Promise<Comparison> {
    return {
      tapReports: pairs.map((pair) => this.#comparisons.get(pair.reference.name)!.report()),
      unpaired: this.#unpaired,
      notCaptured: this.#notCaptured,
      logits: this.#logits?.report() ?? null,
      routing: await this.#routing.report(this.#reference),
    };
  }

  #side(dump: Dump, rows: FileRows): StepSide {
    return {
      rows,
      lengths: dump.manifest.sequences.map(({ tokens }) => tokens.length),
      excludes: positionFilter(dump.manifest),
    };
  }

  async #compareRun(pair: TapPair, run: RowRun, rows: FileRows, misfits: UnpairedRows): Promise<void> {
    const rowBytes = rowElements(pair.reference) * elementBytes(pair.reference.dtype);
    const most = pair.reference.shape.includes(null)
      ? run.length
      : Math.max(1, Math.floor(PART_BYTES / rowBytes));
    for (let done = 0; done < run.length; ) {
      const row = run.reference + done;
      const batches = await this.#read(
        pair,
        row,
        run.tested + done,
        Math.min(most, run.length - done),
        rows,
        misfits,
      );
      if (batches !== null) this.#take(pair, row, batches, rows, misfits);
      done += batches?.reference.shape[0] ?? 1;
    }
  }

  async #compareSteps(
    pair: TapPair,
    sides: { reference: StepSide; tested: StepSide },
    misfits: UnpairedRows,
  ): Promise<void> {
    const { rows } = sides.reference;
    for (const [row, other] of pairSteps(sides.reference, sides.tested, misfits)) {
      const batches = await this.#read(pair, row, other, 1, rows, misfits);
      if (batches !== null) this.#take(pair, row, batches, rows, misfits);
    }
  }

  #take(pair: TapPair, row: number, batches: BatchPair, rows: FileRows, misfits: UnpairedRows): void {
    const { reference, tested } = batches;
    const [a, b] = [reference.shape.slice(1), tested.shape.slice(1)];
    if (a.length !== b.length || a.some((size, axis) => size !== b[axis])) {
      for (let k = 0; k < reference.shape[0]!; k++)
        misfits.add('both', `has rows of different shapes, first [${a}] and [${b}]`, rows, row + k);
      return;
    }
    const { name } = pair.reference;
    this.#comparisons.get(name)!.add(reference, tested);
    const block = routingBlock(name);
    if (block !== null && pair.reference.dtype === 'I32') this.#routing.add(block, row, reference, tested);
    if (name === 'lm_head' && pair.reference.shape.length === 1 && pair.reference.dtype !== 'I32') {
      this.#logits ??= new LogitsComparison();
      this.#logits.add(reference, tested);
    }
  }

  /** Rows of both sides, as many as both deliver at once; null where a side has no value in the first. */
  async #read(
    pair: TapPair,
    row: number,
    other: number,
    count: number,
    rows: FileRows,
    misfits: UnpairedRows,
  ): Promise<BatchPair | null> {
    const [a, b] = await Promise.all([
      this.#reference.readRows(pair.reference.name, row, row + count, this.#memory.reference),
      this.#tested.readRows(pair.tested.name, other, other + count, this.#memory.tested),
    ]);
    if (a === undefined || b === undefined) {
      if (a !== b) misfits.add(a === undefined ? 'reference' : 'tested', 'has no value', rows, row);
      return null;
    }
    const both = Math.min(a.shape[0]!, b.shape[0]!);
    return { reference: firstRows(a, both), tested: firstRows(b, both) };
  }
}

function firstRows(batch: TensorBatch, rows: number): TensorBatch {
  const [all, ...shape] = batch.shape as [number, ...number[]];
  if (all === rows) return batch;
  return {
    ...batch,
    shape: [rows, ...shape],
    data: batch.data.subarray(0, (batch.data.length / all) * rows),
  };
}

/** Cuts runs where either side's record batch ends. */
function* splitAtBatches(runs: readonly RowRun[], reference: FileRows, tested: FileRows): Generator<RowRun> {
  for (const run of runs)
    for (let done = 0; done < run.length; ) {
      const [row, other] = [run.reference + done, run.tested + done];
      const length = Math.min(
        run.length - done,
        batchEnd(reference.starts, row) - row,
        batchEnd(tested.starts, other) - other,
      );
      yield { reference: row, tested: other, length };
      done += length;
    }
}

/** First row after the batch that holds `row`. */
function batchEnd(starts: Float64Array, row: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle]! > row) high = middle;
    else low = middle + 1;
  }
  return starts[low]!;
}
