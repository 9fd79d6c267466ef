/** The diff of two dumps of tier full: streams the rows that both have through the comparisons. */

import type { DumpView } from '../dump/dump-view.js';
import type { TapScope } from '../dump/format.js';
import type { FileRows } from '../dump/reader.js';
import { leadingColumns } from './leading-columns.js';
import { LogitsComparison } from './logits/logits.js';
import { PairedReader, type Part, type Piece, partsOf } from './paired-reader.js';
import { positionFilter, type TapPair } from './pairing.js';
import type { DiffReport, TapReport, Unpaired } from './report.js';
import { RoutingComparison, routingBlock } from './routing.js';
import { pairRows, UnpairedRows } from './row-pairing.js';
import { pairSteps, type StepSide } from './step-pairing.js';
import { compareTap, type TapComparison } from './tap-comparison.js';

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
  reference: DumpView,
  tested: DumpView,
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

class TensorDiff {
  readonly #reference: DumpView;
  readonly #tested: DumpView;
  readonly #comparisons = new Map<string, TapComparison>();
  readonly #unpaired: Unpaired[] = [];
  readonly #notCaptured = { reference: 0, tested: 0 };
  readonly #reader: PairedReader;
  readonly #routing = new RoutingComparison();
  #logits: LogitsComparison | undefined;

  constructor(reference: DumpView, tested: DumpView) {
    this.#reference = reference;
    this.#tested = tested;
    this.#reader = new PairedReader(reference, tested);
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
    const byScope = (scope: TapScope): TapPair[] => pairs.filter((pair) => pair.reference.scope === scope);
    const steps = byScope('step').flatMap((pair) => this.#stepParts(pair, rows, misfits.get(pair)!));
    for (const parts of [partsOf(byScope('token'), runs, rows, this.#longest()), steps])
      for await (const piece of this.#reader.read(parts))
        this.#take(piece, rows.reference, misfits.get(piece.pair)!);
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

  #stepParts(pair: TapPair, rows: { reference: FileRows; tested: FileRows }, misfits: UnpairedRows): Part[] {
    const side = (dump: DumpView, own: FileRows): StepSide => ({
      rows: own,
      lengths: sequenceLengths(dump),
      excludes: positionFilter(dump.manifest),
    });
    const [mine, others] = [side(this.#reference, rows.reference), side(this.#tested, rows.tested)];
    return pairSteps(mine, others, misfits).map(([row, other]) => ({ pair, row, other, count: 1 }));
  }

  #longest(): number {
    return Math.max(1, ...sequenceLengths(this.#reference), ...sequenceLengths(this.#tested));
  }

  #take({ pair, row, reference: whole, tested }: Piece, rows: FileRows, misfits: UnpairedRows): void {
    const reference = whole && pair.columns !== undefined ? leadingColumns(whole, pair.columns) : whole;
    if (reference === undefined || tested === undefined) {
      const side = reference === undefined ? 'reference' : 'tested';
      if (reference !== tested) misfits.add(side, 'has no value', rows, row);
      return;
    }
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
}

function sequenceLengths({ manifest }: DumpView): number[] {
  return manifest.sequences.map(({ tokens }) => tokens.length);
}
