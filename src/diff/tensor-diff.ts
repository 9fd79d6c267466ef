/** The diff of two dumps of tier full: streams the rows that both have through the comparisons. */

import { isExact } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { hasNumbers } from '../dump/float.js';
import type { TapScope } from '../dump/format.js';
import type { FileRows, TensorBatch } from '../dump/reader.js';
import type { DumpRoles } from '../dump/roles.js';
import { sequenceLengths } from '../dump/sequences.js';
import { LogitsComparison } from './logits/logits.js';
import { PairedReader, type Part, type Piece, partsOf } from './paired-reader.js';
import { positionFilter, type TapPair } from './pairing.js';
import type { DiffReport, TapReport, Unpaired } from './report.js';
import { sharedRoles } from './roles.js';
import { RoutingComparison } from './routing.js';
import { type Excludes, pairRows, UnpairedRows } from './row-pairing.js';
import { pairSteps, type StepSide } from './step-pairing.js';
import { compareTap, type TapComparison } from './tap-comparison.js';
import { withSameSpan } from './visible-span.js';

/** What comparing values adds to a report. */
export interface Comparison {
  tapReports: TapReport[];
  unpaired: Unpaired[];
  /** Rows that a side's selection left out. */
  notCaptured: { reference: number; tested: number };
  /** States after a call, and rows in front of one, where the other side's calls neither end nor begin. */
  apart?: number;
  logits: DiffReport['logits'];
  routing: DiffReport['routing'];
}

/** How pairs are compared. */
export interface CompareRules {
  /** What is not finite in the same way on both sides does not count against a tap. */
  allowNonFinite: boolean;
  /** Called after each pair of files, with how many are done and in all. */
  onProgress: (done: number, total: number) => void;
}

/** Compares the tensors of `pairs`. */
export async function diffTensors(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  { allowNonFinite, onProgress }: CompareRules,
): Promise<Comparison> {
  const diff = new TensorDiff(reference, tested, allowNonFinite);
  const files = new Map<string, TapPair[]>();
  for (const pair of pairs) {
    const key = `${pair.reference.file} ${pair.tested.file}`;
    files.set(key, [...(files.get(key) ?? []), pair]);
  }
  let done = 0;
  for (const group of files.values()) {
    await diff.compareFiles(group);
    onProgress(++done, files.size);
  }
  return diff.result(pairs);
}

class TensorDiff {
  readonly #reference: DumpView;
  readonly #tested: DumpView;
  readonly #allowNonFinite: boolean;
  readonly #comparisons = new Map<string, TapComparison>();
  readonly #unpaired: Unpaired[] = [];
  readonly #states = new Set<string>();
  #apart = 0;
  readonly #notCaptured = { reference: 0, tested: 0 };
  readonly #reader: PairedReader;
  readonly #routing = new RoutingComparison();
  readonly #roles: DumpRoles | undefined;
  readonly #excludes: { reference: Excludes; tested: Excludes };
  readonly #experts: ReadonlySet<string>;
  readonly #logitTaps: ReadonlySet<string>;
  #logits: LogitsComparison | undefined;

  constructor(reference: DumpView, tested: DumpView, allowNonFinite: boolean) {
    this.#reference = reference;
    this.#tested = tested;
    this.#allowNonFinite = allowNonFinite;
    this.#reader = new PairedReader(reference, tested);
    this.#excludes = {
      reference: positionFilter(reference.manifest),
      tested: positionFilter(tested.manifest),
    };
    this.#roles = sharedRoles(reference, tested);
    const roles = this.#roles ?? {};
    this.#experts = new Set(roles['router.expert']);
    for (const role of ['state', 'cache.key', 'cache.value'] as const)
      for (const name of roles[role] ?? []) this.#states.add(name);
    // The first only: a model has one head, and others (of speculative decoding) would mix with it.
    this.#logitTaps = new Set(roles.logits?.slice(0, 1));
  }

  async compareFiles(pairs: readonly TapPair[]): Promise<void> {
    const [first] = pairs as [TapPair];
    const rows = {
      reference: await this.#reference.rows(first.reference.name),
      tested: await this.#tested.rows(first.tested.name),
    };
    const { runs, unpaired, notCaptured } = pairRows(rows.reference, rows.tested, this.#excludes);
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
    for (const { reference } of pairs)
      if (this.#experts.has(reference.name) && reference.block !== null)
        await this.#routing.prepare(reference.block, [this.#reference, this.#tested], this.#roles);
    const misfits = new Map(pairs.map((pair) => [pair, new UnpairedRows()]));
    for (const pair of pairs)
      this.#comparisons.set(pair.reference.name, compareTap(pair, this.#allowNonFinite));
    const byScope = (scope: TapScope): TapPair[] => pairs.filter((pair) => pair.reference.scope === scope);
    // What a step of other tokens left behind has the same place, and is no value of the same thing.
    const isOtherPrompt =
      runs.length === 0 && unpaired.some(({ reason }) => reason.startsWith('has different tokens'));
    const steps = (isOtherPrompt ? [] : byScope('step')).flatMap((pair) =>
      this.#stepParts(pair, rows, misfits.get(pair)!),
    );
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
      apart: this.#apart,
      logits: this.#logits?.report() ?? null,
      routing: await this.#routing.report(this.#reference),
    };
  }

  #stepParts(pair: TapPair, rows: { reference: FileRows; tested: FileRows }, misfits: UnpairedRows): Part[] {
    const side = (dump: DumpView, own: FileRows): StepSide => ({
      rows: own,
      lengths: sequenceLengths(dump.manifest.sequences),
      excludes: positionFilter(dump.manifest),
    });
    const [mine, others] = [side(this.#reference, rows.reference), side(this.#tested, rows.tested)];
    const { name, axes } = pair.reference;
    const by = this.#states.has(name) ? 'end' : axes[0] === 'leads' ? 'start' : 'positions';
    const apart = (steps: number) => {
      this.#apart += steps;
    };
    return pairSteps(mine, others, misfits, by, apart).map(([row, other]) => ({
      pair,
      row,
      other,
      count: 1,
    }));
  }

  #longest(): number {
    return Math.max(
      1,
      ...sequenceLengths(this.#reference.manifest.sequences),
      ...sequenceLengths(this.#tested.manifest.sequences),
    );
  }

  #take({ pair, row, ...sides }: Piece, rows: FileRows, misfits: UnpairedRows): void {
    if (sides.reference === undefined || sides.tested === undefined) {
      if (sides.reference === sides.tested) return;
      const side = sides.reference === undefined ? 'reference' : 'tested';
      const excludes = side === 'reference' ? this.#excludes.reference : this.#excludes.tested;
      if (excludes(rows.sequence[row]!, rows.position[row]!)) this.#notCaptured[side]++;
      else misfits.add(side, 'has no value', rows, row);
      return;
    }
    const [reference, tested] = withSameSpan([sides.reference, sides.tested]) as [TensorBatch, TensorBatch];
    const [a, b] = [reference.shape.slice(1), tested.shape.slice(1)];
    if (a.length !== b.length || a.some((size, axis) => size !== b[axis])) {
      for (let k = 0; k < reference.shape[0]!; k++)
        misfits.add('both', `has rows of different shapes, first [${a}] and [${b}]`, rows, row + k);
      return;
    }
    const { name, block, dtype, shape } = pair.reference;
    const misfit = this.#comparisons.get(name)!.add(reference, tested);
    if (misfit !== undefined) {
      for (const k of misfit.rows) misfits.add('both', misfit.reason, rows, row + k);
      return;
    }
    if (this.#experts.has(name) && block !== null && isExact(dtype))
      this.#routing.add(block, row, reference, tested);
    if (this.#logitTaps.has(name) && shape.length === 1 && !isExact(dtype) && hasNumbers(dtype)) {
      this.#logits ??= new LogitsComparison();
      this.#logits.add(reference, tested);
    }
  }
}
