import { toFloat32 } from '../../../dump/float.js';
import type { TensorBatch } from '../../../dump/reader.js';

/** Where an error begins in one sequence. */
export interface SequenceWrong {
  sequence: number;
  position: number;
  /** Forward step. */
  step: number;
  /**
   * Last wrong position in the same sequence, where rows after it are right again; null where all that follow
   * are wrong, or here and there.
   */
  wrongUpTo: number | null;
  /** True where rows after it are wrong here and there. */
  scattered: boolean;
}

/** Where an error begins: the first row that is wrong in the first call that makes one. */
export interface FirstWrong extends SequenceWrong {
  /** Of each sequence in which something is wrong, in their order. */
  sequences: SequenceWrong[];
  /** Sequences in which nothing is wrong. */
  rightSequences: number[];
  /** True of a value per step, such as a state: `position` is the last of its call. */
  ofStep: boolean;
}

/** A row is wrong whose energy NMSE is above the limit and not below this share of the worst row's. */
const LEAST_SHARE = 1e-4;

/**
 * Errors of rows, one after another, for where an error begins in positions and calls. Integers: entries that
 * differ.
 */
export class RowErrors {
  readonly #sequence: number[] = [];
  readonly #position: number[] = [];
  readonly #step: number[] = [];
  readonly #error: number[] = [];
  readonly #size: number[] = [];
  #ofStep = false;

  /** Adds rows of both sides, of the same shape. */
  add(right: TensorBatch, other: TensorBatch): void {
    this.#ofStep = right.tap.scope === 'step';
    const isInteger = right.dtype === 'I32';
    const [a, b] = isInteger
      ? [right.data as Int32Array, other.data as Int32Array]
      : [toFloat32(right.data, right.dtype), toFloat32(other.data, other.dtype)];
    const columns = a.length / right.shape[0]!;
    for (let row = 0; row < right.shape[0]!; row++) {
      let [error, size] = [0, 0];
      for (let k = row * columns; k < (row + 1) * columns; k++) {
        if (Object.is(a[k], b[k])) size += isInteger ? 1 : finite(a[k]! ** 2);
        else {
          error += isInteger ? 1 : finite((a[k]! - b[k]!) ** 2);
          size += isInteger ? 1 : finite(a[k]! ** 2);
        }
      }
      this.#sequence.push(other.sequence[row]!);
      this.#position.push(other.position[row]!);
      this.#step.push(other.step[row]!);
      this.#error.push(error);
      this.#size.push(size);
    }
  }

  /** Energy NMSE (integers: share that differs) of the steps up to `step`; 0 where there are none. */
  upTo(step: number): number {
    return this.#over((own) => own <= step);
  }

  /** The first step that is wrong by itself: of its rows together the energy NMSE is above the limit. */
  firstStep(limit: number): number | undefined {
    return this.steps().find((step) => this.#over((own) => own === step) > limit);
  }

  #over(isIn: (step: number) => boolean): number {
    let [error, size] = [0, 0];
    for (const [row, step] of this.#step.entries())
      if (isIn(step)) {
        error += this.#error[row]!;
        size += this.#size[row]!;
      }
    return ratio(error, size);
  }

  /** The steps there are, in order. */
  steps(): number[] {
    return [...new Set(this.#step)].sort((a, b) => a - b);
  }

  /**
   * null where no row is above the limit (energy NMSE). Rows that were not added count as right.
   * @param sequences how many the run has.
   */
  first(limit: number, sequences: number): FirstWrong | null {
    const errors = this.#error.map((error, row) => ratio(error, this.#size[row]!));
    const least = Math.max(limit, LEAST_SHARE * Math.min(1, Math.max(0, ...errors)));
    const rows = errors.map((_, row) => row);
    const wrong = rows.filter((row) => errors[row]! > least);
    if (wrong.length === 0) return null;
    const numbers = [...new Set(wrong.map((row) => this.#sequence[row]!))].sort((a, b) => a - b);
    const found = numbers.map((sequence): SequenceWrong => {
      const own = rows.filter((row) => this.#sequence[row] === sequence);
      const bad = own.filter((row) => errors[row]! > least);
      const [first] = bad.sort(
        (a, b) => this.#step[a]! - this.#step[b]! || this.#position[a]! - this.#position[b]!,
      ) as [number];
      const after = own.filter((row) => this.#position[row]! > this.#position[first]!);
      const lastWrong = Math.max(...bad.map((row) => this.#position[row]!));
      const mixed = after.some((row) => this.#position[row]! < lastWrong && !(errors[row]! > least));
      return {
        sequence,
        position: this.#position[first]!,
        step: this.#step[first]!,
        scattered: mixed,
        wrongUpTo: !mixed && after.some((row) => this.#position[row]! > lastWrong) ? lastWrong : null,
      };
    });
    return {
      ...earliest(found),
      sequences: found,
      rightSequences: Array.from({ length: sequences }, (_, each) => each).filter(
        (each) => !numbers.includes(each),
      ),
      ofStep: this.#ofStep,
    };
  }
}

function earliest(found: readonly SequenceWrong[]): SequenceWrong {
  return found.reduce((a, b) => (b.step < a.step ? b : a));
}

/**
 * Where the error of several ops of a kind begins: in each sequence at the first position that is wrong in
 * any of them. null of none.
 */
export function firstOfAll(beginnings: readonly FirstWrong[]): FirstWrong | null {
  const [one] = beginnings;
  if (one === undefined || beginnings.length === 1) return one ?? null;
  const bySequence = new Map<number, SequenceWrong[]>();
  for (const each of beginnings.flatMap(({ sequences }) => sequences))
    bySequence.set(each.sequence, [...(bySequence.get(each.sequence) ?? []), each]);
  const sequences = [...bySequence.values()]
    .map((all): SequenceWrong => {
      const [first] = all.toSorted((a, b) => a.step - b.step || a.position - b.position) as [SequenceWrong];
      // What follows is told as it is in most ops; a row or two may be right by chance in others.
      const alike = (one: SequenceWrong) => (other: SequenceWrong) =>
        other.scattered === one.scattered && other.wrongUpTo === one.wrongUpTo;
      const usual = all.find((each) => 2 * all.filter(alike(each)).length > all.length);
      return usual === undefined
        ? { ...first, scattered: true, wrongUpTo: null }
        : { ...first, scattered: usual.scattered, wrongUpTo: usual.wrongUpTo };
    })
    .sort((a, b) => a.sequence - b.sequence);
  const rightSequences = one.rightSequences.filter((each) => !bySequence.has(each));
  return { ...earliest(sequences), sequences, rightSequences, ofStep: one.ofStep };
}

/**
 * E.g. ` Right up to position 15, wrong from 16 on (step 1).`; '' where all is wrong. Sequences are told
 * apart where they differ. `steps` is how many forward calls the run has.
 */
export function beginWords(from: FirstWrong | null, steps: number): string {
  if (from === null) return '';
  const { sequences, rightSequences, ofStep } = from;
  const clauses = sequences.map((each) => beginClause(each, steps, ofStep));
  const isSame = clauses.every((clause) => clause === clauses[0]);
  if (isSame && rightSequences.length === 0) return clauses[0] === '' ? '' : asSentence(clauses[0]!);
  const named = clauses.map((clause, index) => clause || wholeWords(sequences[index]!, ofStep));
  const others = rightSequences.length === 0 ? '' : ` Sequence ${listed(rightSequences)} right.`;
  if (isSame) return `${asSentence(`${sequenceWords(sequences)}: ${named[0]}`)}${others}`;
  const told = named
    .slice(0, MOST_SEQUENCES)
    .map((clause, index) => `sequence ${sequences[index]!.sequence}: ${clause}`);
  const more = sequences.length - told.length;
  return `${asSentence(`${told.join('; ')}${more === 0 ? '' : `; and ${more} more`}`)}${others}`;
}

/** Sequences of which each is told where its error begins. */
const MOST_SEQUENCES = 4;

function asSentence(text: string): string {
  return ` ${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Of a sequence that is wrong from its beginning. */
function wholeWords({ scattered }: SequenceWrong, ofStep: boolean): string {
  if (ofStep) return 'wrong';
  return scattered ? 'wrong here and there' : 'wrong from position 0 on';
}

function sequenceWords(sequences: readonly SequenceWrong[]): string {
  const numbers = sequences.map(({ sequence }) => sequence);
  const few = numbers.slice(0, MOST_SEQUENCES).join(', ');
  return `${numbers.length === 1 ? 'sequence' : 'sequences'} ${few}${numbers.length > MOST_SEQUENCES ? ', …' : ''}`;
}

/** E.g. `right up to position 15, wrong from 16 on (step 1)`; '' where all is wrong. */
function beginClause(from: SequenceWrong, steps: number, ofStep: boolean): string {
  const { position, step, wrongUpTo, scattered } = from;
  const call = steps > 1 ? ` (step ${step})` : '';
  if (ofStep) return steps > 1 ? `wrong from the call on that ends at position ${position}${call}` : '';
  const range =
    wrongUpTo === null
      ? `from ${position} on`
      : wrongUpTo === position
        ? `at ${position}`
        : `from ${position} to ${wrongUpTo}`;
  const alone = wrongUpTo === position ? ' alone' : '';
  const right = position === 1 ? 'right at position 0' : `right up to position ${position - 1}`;
  if (scattered)
    return position === 0 ? '' : `${right}, then wrong here and there, first at ${position}${call}`;
  if (position > 0) return `${right}, wrong ${range}${alone}${call}`;
  return wrongUpTo === null ? '' : `wrong ${range.replace(/ /, ' position ')}${alone}${call}`;
}

function listed(sequences: readonly number[]): string {
  if (sequences.length === 1) return `${sequences[0]} is`;
  return `${sequences.slice(0, MOST_SEQUENCES).join(', ')}${sequences.length > MOST_SEQUENCES ? ', …' : ''} are`;
}

function ratio(error: number, size: number): number {
  return error === 0 ? 0 : size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

/** NaN and infinity outweigh all else, but must not make sums NaN. */
function finite(value: number): number {
  return Number.isNaN(value) ? 1e200 : Math.min(value, 1e200);
}
