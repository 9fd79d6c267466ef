/**
 * Where errors begin in time: of a run of several forward calls the first fault is the first of the earliest
 * call, not the first in the order of one call's values.
 */
import { leadingColumns } from '../../../diff/leading-columns.js';
import type { FloatTapReport, IntegerTapReport } from '../../../diff/report.js';
import type { DumpView } from '../../../dump/dump-view.js';
import type { TensorBatch } from '../../../dump/reader.js';
import { isClassAxis } from '../../causes/words.js';
import { commonRows } from '../../noise/common-rows.js';
import { aloneLimit } from '../alone.js';
import type { OpEvidence } from '../evidence.js';
import type { LocalError } from '../local.js';
import { type LocateOpsOptions, locateOps } from '../ops.js';
import type { LocatedOp } from '../report.js';
import { axisSizes, EntryErrors, type WrongEntries } from './entries.js';
import { type FirstWrong, RowErrors } from './row-errors.js';

/** Ops at fault, the first in time in front, and where the error of each begins. */
export interface Beginnings {
  faults: LocatedOp[];
  begins: ReadonlyMap<string, FirstWrong>;
  /** In which heads, channels, keys or experts' tokens alone it lies. */
  within: ReadonlyMap<string, readonly WrongEntries[]>;
  /** Forward calls of the run. */
  steps: number;
}

/** Of own errors: each op by itself, so that each has its own beginning. */
export function ownBeginnings(
  faults: readonly LocatedOp[],
  local: ReadonlyMap<string, LocalError>,
  { manifest }: Pick<DumpView, 'manifest'>,
): Beginnings {
  const begins = new Map<string, FirstWrong>();
  const within = new Map<string, readonly WrongEntries[]>();
  // A small error from the first call on is not where most of a large one lies that comes later.
  const steps = new Map<string, number>();
  for (const { tap, limit } of faults) {
    const step = local.get(tap)?.rows?.firstStep(limit ?? 0);
    if (step !== undefined) steps.set(tap, step);
    const first = local.get(tap)?.rows?.first(limit ?? 0, manifest.sequences.length);
    if (first != null) begins.set(tap, first);
    within.set(tap, local.get(tap)?.entries?.wrong(limit ?? 0) ?? []);
  }
  return { faults: inTime(faults, steps), begins, within, steps: manifest.steps };
}

/**
 * Of errors that have gathered: in a run of several calls an error travels through states into the inputs of
 * what made it. So the calls up to the first with an error are judged by themselves, and what fails there
 * while its inputs pass is the first fault.
 */
export async function gatheredBeginnings(
  reference: DumpView,
  tested: DumpView,
  evidence: ReadonlyMap<string, OpEvidence>,
  faults: readonly LocatedOp[],
  options: LocateOpsOptions,
): Promise<Beginnings> {
  const { steps } = tested.manifest;
  const rows = new Map<string, RowErrors>();
  const entries = new Map<string, EntryErrors>();
  const sizes = axisSizes(reference.taps);
  const skip = skipClass(reference);
  const isFault = new Set(faults.map(({ tap }) => tap));
  const choices = new BlockChoices(tested);
  // Of one call the order of its values is that of time: only where errors begin in positions is asked for.
  for (const name of steps > 1 ? evidence.keys() : faults.map(({ tap }) => tap)) {
    const own = new RowErrors();
    // A value in front of a call's first token belongs to a call that begins there: others have no such
    // value.
    if (!(reference.manifest.steps !== steps && name.endsWith(':lead')))
      for await (const both of commonRows([reference, tested], name)) {
        // A side may hold the first columns only (a router's classes, a vocabulary).
        const columns = Math.min(...both.map(({ shape }) => shape.at(-1)!));
        const isCut = both.some(({ shape }) => shape.length > 1 && shape.at(-1) !== columns);
        const [a, b] = isCut ? both.map((each) => leadingColumns(each, columns)) : both;
        own.add(a!, b!);
        if (!isFault.has(name)) continue;
        const known = entries.get(name) ?? new EntryErrors(a!.tap, sizes, skip);
        entries.set(name, known);
        known.add(a!, b!, await choices.of(b!));
      }
    rows.set(name, own);
  }
  const limitOf = (name: string) => aloneLimit(evidence.get(name)!, options.alone!);
  const found = [...faults];
  const step = steps > 1 ? firstStep(rows, limitOf) : undefined;
  if (step !== undefined) {
    const early = new Map(
      [...evidence].map(([name, own]): [string, OpEvidence] => [
        name,
        { ...own, cumulative: withError(own.cumulative, rows.get(name)!.upTo(step)) },
      ]),
    );
    const first = locateOps(early, options).ops.find(({ verdict }) => verdict === 'fault');
    const known = found.findIndex(({ tap }) => tap === first?.tap);
    if (first !== undefined) found.unshift(known < 0 ? first : found.splice(known, 1)[0]!);
  }
  const begins = new Map<string, FirstWrong>();
  for (const { tap } of found) {
    const first = rows.get(tap)?.first(limitOf(tap), tested.manifest.sequences.length);
    if (first != null) begins.set(tap, first);
  }
  const within = new Map([...entries].map(([tap, own]) => [tap, own.wrong(limitOf(tap))]));
  return { faults: found, begins, within, steps };
}

/** The router's last class, where it has one more than there are experts. */
function skipClass({ taps }: Pick<DumpView, 'taps'>): number | undefined {
  for (const { axes, shape } of taps) {
    const size = isClassAxis(axes.at(-1)) ? shape.at(-1) : undefined;
    if (typeof size === 'number') return size - 1;
  }
  return undefined;
}

/** The experts that a dump's tokens chose, block by block. */
class BlockChoices {
  readonly #dump: DumpView;
  readonly #blocks = new Map<number | null, Promise<ReadonlyMap<string, number>>>();

  constructor(dump: DumpView) {
    this.#dump = dump;
  }

  /** The choice of each row in its own block; undefined where the dump does not hold it. */
  async of({ tap, sequence, position }: TensorBatch): Promise<number[] | undefined> {
    if (tap.scope !== 'token') return undefined;
    const known = this.#blocks.get(tap.block) ?? this.#read(tap.block);
    this.#blocks.set(tap.block, known);
    const choices = await known;
    const own = Array.from(position, (at, row) => choices.get(`${sequence[row]} ${at}`));
    return own.some((choice) => choice === undefined) ? undefined : (own as number[]);
  }

  async #read(block: number | null): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    const tap = this.#dump.taps.find(
      (each) =>
        each.block === block && each.dtype === 'I32' && each.scope === 'token' && each.shape.length === 0,
    );
    if (tap === undefined || block === null) return found;
    for await (const { data, sequence, position } of this.#dump.stream(tap.name))
      for (const [row, at] of position.entries()) found.set(`${sequence[row]} ${at}`, Number(data[row]));
    return found;
  }
}

/** The earliest call in which a value is above its limit. */
function firstStep(
  rows: ReadonlyMap<string, RowErrors>,
  limitOf: (name: string) => number,
): number | undefined {
  let earliest: number | undefined;
  for (const [name, own] of rows) {
    const step = own.steps().find((each) => own.upTo(each) > limitOf(name));
    if (step !== undefined && (earliest === undefined || step < earliest)) earliest = step;
  }
  return earliest;
}

function withError<T extends FloatTapReport | IntegerTapReport>(report: T, error: number): T {
  return report.kind === 'float'
    ? { ...report, metrics: { ...report.metrics, nmse: error } }
    : { ...report, metrics: { ...report.metrics, differing: error * report.metrics.elements } };
}

/** Faults with those of the earliest call first; within a call in execution order. */
function inTime(faults: readonly LocatedOp[], steps: ReadonlyMap<string, number>): LocatedOp[] {
  const step = ({ tap }: LocatedOp) => steps.get(tap) ?? 0;
  return [...faults].sort((a, b) => step(a) - step(b));
}
