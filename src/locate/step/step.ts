import { badArgument, unmet } from '../../errors.js';
import { architectureOf } from '../../models/architectures.js';
import type { Boundary } from '../../models/runtime/inputs.js';
import type { Model } from '../../models/runtime/model.js';
import { checkTokenIds } from '../../models/runtime/token-ids.js';
import { type ModelTap, modelTaps } from '../../models/runtime/trace.js';
import { tapPattern } from '../../tap-pattern.js';
import { type Breakpoint, type CompiledBreakpoint, compileBreakpoint } from './breakpoint.js';
import { type SegmentRunner, segmentRunner } from './segment.js';
import { type Replacement, replacementElements, type StepValue, valueStats } from './value.js';

/** Options of {@link openStepper}. */
export interface StepperOptions {
  /** Tap pattern of the values to step through; default `**`. */
  taps?: string;
  /**
   * Segments (embedding, blocks, head) whose values are kept; default 3. Values of others are computed again
   * when asked for, from the state before their segment.
   */
  keep?: number;
}

/**
 * How far {@link Stepper.step} and {@link Stepper.back} go: to the next value, to the next output of a
 * module, to the next end of a segment (embedding, block, head).
 */
export type StepUnit = 'tap' | 'module' | 'block';

/** Where a stepper stands. */
export interface StepPlace {
  name: string;
  block: number | null;
  /** Place in {@link Stepper.names}, and how many there are. */
  index: number;
  total: number;
}

/** Why and where {@link Stepper.continue} stopped. */
export interface StepStop {
  /** The pattern of the breakpoint, `nan`, `predicate`, or `end`. */
  reason: string;
  value: StepValue;
}

type Replaced = ReadonlyMap<string, Float32Array | Int32Array>;

/**
 * Opens a debugger on one forward pass of one sequence: it runs segment by segment (embedding, blocks, head),
 * and steps through their values in the order in which they are computed. With nothing replaced, every value
 * has the bits of a plain run. Close it before the model. `docs/stepping.md` shows each method at work.
 *
 * Held in memory: the state between all segments that have run (what each hands on, in ZAYA `T · (H + R)`
 * floats) and the values of the last few segments.
 *
 * @throws `BAD_ARGUMENT` for no tokens, ids outside the vocabulary, a pattern that matches no value;
 * `BACKEND`.
 */
export function openStepper(model: Model, tokens: readonly number[], options: StepperOptions = {}): Stepper {
  const { taps = '**', keep = 3 } = options;
  if (tokens.length === 0) throw badArgument('openStepper', 'at least one token', 'none');
  checkTokenIds('openStepper', tokens, model.config.vocab_size);
  if (!Number.isInteger(keep) || keep < 1)
    throw badArgument('openStepper', 'keep to be at least 1', String(keep));
  const matches = tapPattern(taps);
  const list = modelTaps(model.config).filter(({ name }) => matches(name));
  if (list.length === 0) throw badArgument('openStepper', 'a pattern that matches a value', `'${taps}'`);
  return new Stepper(
    segmentRunner(model, tokens),
    list,
    architectureOf(model.config).classes(model.config) - 1,
    keep,
  );
}

/**
 * A forward pass that stops between values. Methods are called one at a time (`BAD_ARGUMENT` for a call
 * during another) and throw `CLOSED` after `close`.
 */
export class Stepper implements Disposable {
  /** Values in the order of stepping. */
  readonly names: readonly string[];
  readonly #taps: readonly ModelTap[];
  readonly #segments: readonly number[];
  readonly #runner: SegmentRunner;
  readonly #experts: number;
  readonly #keep: number;
  readonly #breakpoints = new Set<CompiledBreakpoint>();
  /** Entry s: what segment s starts from. As many segments have run as there are entries less one. */
  #boundaries: (Boundary | undefined)[] = [undefined];
  /** Values of segments, the one used last at the end. */
  readonly #kept = new Map<number, ReadonlyMap<string, StepValue>>();
  #replaced: Replaced = new Map();
  #at = -1;
  #busy = false;
  #closed = false;

  /** Made by {@link openStepper}. */
  constructor(runner: SegmentRunner, taps: readonly ModelTap[], experts: number, keep: number) {
    this.#runner = runner;
    this.#taps = taps;
    this.#experts = experts;
    this.#keep = keep;
    this.names = taps.map(({ name }) => name);
    this.#segments = taps.map(({ name }) => runner.segmentOf(name));
  }

  /** Where it stands; undefined before the first step. */
  get current(): StepPlace | undefined {
    const tap = this.#taps[this.#at];
    return tap && { name: tap.name, block: tap.block, index: this.#at, total: this.#taps.length };
  }

  /** Values that have been replaced. */
  get replaced(): readonly string[] {
    return [...this.#replaced.keys()];
  }

  /**
   * Goes on to the next value, output of a module, or end of a segment, past breakpoints. Gives the value
   * there; undefined, and stays, where there is none.
   */
  step(unit: StepUnit = 'tap'): Promise<StepValue | undefined> {
    return this.#exclusive('step', () => this.#move(this.#find(unit, 1)));
  }

  /**
   * As {@link step}, backwards. Segments that are still kept are not run again; of others, only the one gone
   * back to is.
   */
  back(unit: StepUnit = 'tap'): Promise<StepValue | undefined> {
    return this.#exclusive('back', () => this.#move(this.#find(unit, -1)));
  }

  /** Goes back to a value at or before the current one. Throws `BAD_ARGUMENT` for others. */
  rewind(name: string): Promise<StepValue> {
    return this.#exclusive('rewind', async () => {
      const index = this.#indexOf('rewind', name);
      if (index > this.#at)
        throw badArgument('rewind', `a value up to ${this.current?.name ?? 'the first step'}`, name);
      return (await this.#move(index))!;
    });
  }

  /**
   * A value of a segment that has run, without moving. Throws `BAD_ARGUMENT` for one that has not been
   * computed yet.
   */
  value(name: string): Promise<StepValue> {
    return this.#exclusive('value', () => this.#read(this.#reached('value', name)));
  }

  /**
   * Puts other elements in the place of a value and stands there: its segment runs again with them, what
   * follows runs when it is stepped to. Earlier replacements stay. What is replaced is shown from then on.
   *
   * @throws `BAD_ARGUMENT` for a value that has not been computed yet, one that nothing reads (`margin`), or
   * an index out of range; `SHAPE_MISMATCH`, `DTYPE_UNSUPPORTED`.
   */
  replace(name: string, replacement: Replacement): Promise<StepValue> {
    return this.#exclusive('replace', async () => {
      const index = this.#reached('replace', name);
      const { shape, dtype } = await this.#read(index);
      const data = replacementElements(name, shape, dtype, replacement, this.#experts);
      return this.#rerun(index, new Map(this.#replaced).set(name, data));
    });
  }

  /** Takes a replacement back and stands there. Throws `BAD_ARGUMENT` for a value that was not replaced. */
  restore(name: string): Promise<StepValue> {
    return this.#exclusive('restore', async () => {
      const index = this.#indexOf('restore', name);
      const rest = new Map(this.#replaced);
      if (!rest.delete(name)) throw badArgument('restore', 'a value that was replaced', name);
      if (this.#hasRun(index)) return this.#rerun(index, rest);
      this.#replaced = rest; // an earlier replacement has undone what had been computed here
      return (await this.#move(index))!;
    });
  }

  /**
   * Adds a breakpoint for {@link continue}. Gives a function that removes it. Throws `BAD_ARGUMENT` for a
   * pattern that matches no value of {@link names}.
   */
  breakpoint(at: Breakpoint): () => void {
    const entry = compileBreakpoint(at, this.names);
    this.#breakpoints.add(entry);
    return () => void this.#breakpoints.delete(entry);
  }

  /**
   * Goes on, from the value after the current one, to the first that a breakpoint stops at, else to the last
   * value.
   */
  continue(): Promise<StepStop> {
    return this.#exclusive('continue', async () => {
      while (this.#at + 1 < this.#taps.length) {
        const value = (await this.#move(this.#at + 1))!;
        for (const each of this.#breakpoints) if (each.hit(value)) return { reason: each.reason, value };
      }
      return { reason: 'end', value: await this.#read(this.#at) };
    });
  }

  close(): void {
    this.#closed = true;
    this.#kept.clear();
    this.#boundaries = [];
    this.#runner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The next index in a direction that ends a unit; −1 for none. */
  #find(unit: StepUnit, direction: 1 | -1): number {
    for (let at = this.#at + direction; at >= 0 && at < this.names.length; at += direction) {
      const ends =
        unit === 'tap' ||
        (unit === 'module' ? !this.names[at]!.includes(':') : this.#segments[at] !== this.#segments[at + 1]);
      if (ends) return at;
    }
    return -1;
  }

  async #move(index: number): Promise<StepValue | undefined> {
    if (index < 0) return undefined;
    const target = this.#segments[index]!;
    while (this.#boundaries.length <= target) await this.#run(this.#boundaries.length - 1, this.#replaced);
    const value = await this.#read(index);
    this.#at = index;
    return value;
  }

  async #read(index: number): Promise<StepValue> {
    const segment = this.#segments[index]!;
    const values = this.#kept.get(segment) ?? (await this.#run(segment, this.#replaced));
    this.#keepValues(segment, values);
    return values.get(this.names[index]!)!;
  }

  async #rerun(index: number, replaced: Replaced): Promise<StepValue> {
    const segment = this.#segments[index]!;
    const values = await this.#run(segment, replaced);
    this.#replaced = replaced;
    this.#boundaries.length = segment + 2;
    for (const later of [...this.#kept.keys()]) if (later > segment) this.#kept.delete(later);
    this.#at = index;
    return values.get(this.names[index]!)!;
  }

  /** Runs a segment whose start is known; keeps its values and what it hands on. */
  async #run(segment: number, replaced: Replaced): Promise<ReadonlyMap<string, StepValue>> {
    const indices = [...this.names.keys()].filter((index) => this.#segments[index] === segment);
    const own = new Map(indices.map((index) => [this.names[index]!, index]));
    const { values, shapes, after } = await this.#runner.run(
      segment,
      this.#boundaries[segment],
      (name) => own.has(name),
      new Map([...replaced].filter(([name]) => own.has(name))),
    );
    const stats = await valueStats([...own.keys()].map((name) => values.get(name)!));
    const shown = new Map(
      [...own].map(([name, index], at): [string, StepValue] => {
        const { block, axes, dtype } = this.#taps[index]!;
        const [data, shape] = [values.get(name)!, shapes.get(name)!];
        const isReplaced = replaced.has(name);
        return [name, { name, block, index, dtype, axes, shape, data, stats: stats[at]!, isReplaced }];
      }),
    );
    this.#boundaries[segment + 1] = after;
    this.#keepValues(segment, shown);
    return shown;
  }

  #keepValues(segment: number, values: ReadonlyMap<string, StepValue>): void {
    this.#kept.delete(segment);
    this.#kept.set(segment, values);
    while (this.#kept.size > this.#keep) this.#kept.delete(this.#kept.keys().next().value!);
  }

  #indexOf(op: string, name: string): number {
    const index = this.names.indexOf(name);
    if (index < 0) throw badArgument(op, 'a value that is stepped through', name);
    return index;
  }

  #reached(op: string, name: string): number {
    const index = this.#indexOf(op, name);
    if (!this.#hasRun(index))
      throw badArgument(op, 'a value that has been computed (step or continue to it)', name);
    return index;
  }

  #hasRun(index: number): boolean {
    return this.#segments[index]! + 1 < this.#boundaries.length;
  }

  async #exclusive<T>(op: string, work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw unmet('CLOSED', op, 'an open stepper', 'a closed one');
    if (this.#busy) throw badArgument(op, 'one call at a time', 'another before the last had ended');
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }
}
