/**
 * What a report shows of the tensors themselves: pooled grids and histograms of every compared tap, read in
 * one pass over both dumps.
 */
import { sequenceLengths } from '../../dump/sequences.js';
import type { DumpView } from '../../dump/dump-view.js';
import { PairedReader, type Part, type Piece, partsOf } from '../../diff/paired-reader.js';
import { positionFilter, type TapPair } from '../../diff/pairing.js';
import { pairRows, UnpairedRows } from '../../diff/row-pairing.js';
import { pairSteps, type StepSide } from '../../diff/step-pairing.js';
import { hasNumbers, toFloat32 } from '../../dump/float.js';
import type { FileRows, TensorBatch } from '../../dump/reader.js';
import { type Histograms, ValueSample } from './value-sample.js';
import { PooledGrids } from './view-grid.js';

/** Which tokens the rows of a grid stand for: the first of each, and how many rows of the dump there are. */
export interface GridRows {
  sequence: number[];
  position: number[];
  token: number[];
}

/** One tap's view. */
export interface TensorView {
  tap: string;
  /** Axis names of a row, e.g. `['nq', 'd']`. */
  axes: readonly string[];
  /** Sizes of a row; of an axis that varies, the largest. */
  shape: readonly number[];
  /** Rows compared: tokens, or forward steps. */
  rows: number;
  scope: 'token' | 'step';
  grids: PooledGrids;
  gridRows: GridRows;
  histograms: Histograms;
}

/** Rows of two files that belong together, and how to read them. */
interface FilePlan {
  rows: { reference: FileRows; tested: FileRows };
  parts: Part[];
  counts: Map<TapPair, number>;
}

/**
 * Views of the pairs of one file, in their order; a tap without a common row has none, nor has one of blocks
 * that only ggml decodes.
 * @param allPairs taps of one file of each side. @param cells most cells of a grid.
 */
export async function fileViews(
  reference: DumpView,
  tested: DumpView,
  allPairs: readonly TapPair[],
  cells: number,
): Promise<TensorView[]> {
  const pairs = allPairs.filter(({ reference: a, tested: b }) => hasNumbers(a.dtype) && hasNumbers(b.dtype));
  if (pairs.length === 0) return [];
  const longest = Math.max(1, ...lengths(reference), ...lengths(tested));
  const plan = await planFile(reference, tested, pairs, longest);
  const builders = new Map<TapPair, ViewBuilder>();
  for (const [pair, count] of plan.counts)
    if (count > 0) builders.set(pair, new ViewBuilder(pair, count, longest, cells));
  for await (const piece of new PairedReader(reference, tested).read(plan.parts))
    builders.get(piece.pair)!.add(piece);
  return pairs.flatMap((pair) => builders.get(pair)?.view() ?? []);
}

async function planFile(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  longest: number,
): Promise<FilePlan> {
  const [first] = pairs as [TapPair];
  const rows = {
    reference: await reference.rows(first.reference.name),
    tested: await tested.rows(first.tested.name),
  };
  const excluded = { reference: positionFilter(reference.manifest), tested: positionFilter(tested.manifest) };
  const { runs } = pairRows(rows.reference, rows.tested, excluded);
  const byToken = pairs.filter((pair) => pair.reference.scope === 'token');
  const parts = [...partsOf(byToken, runs, rows, longest)];
  const tokens = runs.reduce((sum, run) => sum + run.length, 0);
  const counts = new Map(byToken.map((pair) => [pair, tokens]));
  const side = (dump: DumpView, own: FileRows, excludes: StepSide['excludes']): StepSide => ({
    rows: own,
    lengths: lengths(dump),
    excludes,
  });
  const steps = pairSteps(
    side(reference, rows.reference, excluded.reference),
    side(tested, rows.tested, excluded.tested),
    new UnpairedRows(),
  );
  for (const pair of pairs.filter((each) => each.reference.scope === 'step')) {
    parts.push(...steps.map(([row, other]) => ({ pair, row, other, count: 1 })));
    counts.set(pair, steps.length);
  }
  return { rows, parts, counts };
}

function lengths({ manifest }: DumpView): number[] {
  return sequenceLengths(manifest.sequences);
}

class ViewBuilder {
  readonly #pair: TapPair;
  readonly #shape: number[];
  readonly #rows: number;
  readonly #grids: PooledGrids;
  readonly #gridRows: GridRows = { sequence: [], position: [], token: [] };
  readonly #sample: ValueSample;
  #row = 0;

  constructor(pair: TapPair, rows: number, longest: number, cells: number) {
    this.#pair = pair;
    this.#rows = rows;
    this.#shape = (pair.columns === undefined ? pair.reference : pair.tested).shape.map((size) => size ?? longest);
    const width = this.#shape.reduce((product, size) => product * size, 1);
    this.#grids = new PooledGrids(rows, width, cells);
    this.#sample = new ValueSample(rows * width, width);
  }

  /** Rows that one side lacks, or whose shapes differ, stay empty: the diff lists them as unpaired. */
  add({ reference, tested }: Piece): void {
    if (reference === undefined || tested === undefined) {
      this.#row++;
      return;
    }
    const count = reference.shape[0]!;
    const shape = reference.shape.slice(1);
    if (`${shape}` !== `${tested.shape.slice(1)}`) {
      this.#row += count;
      return;
    }
    const a = toFloat32(reference.data, reference.dtype);
    const b = toFloat32(tested.data, tested.dtype);
    this.#sample.add(a, b);
    const width = a.length / count;
    const pieces = placeRow(shape, this.#shape);
    for (let k = 0; k < count; k++) {
      this.#label(this.#row, reference, k);
      for (const { from, at, length } of pieces)
        this.#grids.add(this.#row, from, a, b, k * width + at, length);
      this.#row++;
    }
  }

  view(): TensorView {
    const { name, axes, scope } = this.#pair.reference;
    return {
      tap: name,
      axes: scope === 'token' ? axes.slice(1) : axes,
      shape: this.#shape,
      rows: this.#rows,
      scope,
      grids: this.#grids,
      gridRows: this.#gridRows,
      histograms: this.#sample.histograms(),
    };
  }

  #label(row: number, { sequence, position, tokenId }: TensorBatch, k: number): void {
    const place = this.#grids.gridRow(row);
    this.#gridRows.sequence[place] ??= sequence[k]!;
    this.#gridRows.position[place] ??= position[k]!;
    this.#gridRows.token[place] ??= tokenId[k]!;
  }
}

/** Where the runs of a row of shape `own` lie in a row of shape `whole`, which is as large on every axis. */
function placeRow(
  own: readonly number[],
  whole: readonly number[],
): { from: number; at: number; length: number }[] {
  const [width, ...lead] = [own.at(-1) ?? 1, ...own.slice(0, -1)];
  const runs = lead.reduce((product, size) => product * size, 1);
  if (own.every((size, axis) => size === whole[axis])) return [{ from: 0, at: 0, length: runs * width }];
  return Array.from({ length: runs }, (_, run) => {
    let [rest, from, stride] = [run, 0, whole.at(-1) ?? 1];
    for (let axis = lead.length - 1; axis >= 0; axis--) {
      from += (rest % lead[axis]!) * stride;
      rest = Math.floor(rest / lead[axis]!);
      stride *= whole[axis]!;
    }
    return { from, at: run * width, length: width };
  });
}
