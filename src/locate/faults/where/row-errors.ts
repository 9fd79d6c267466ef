import { toFloat32 } from '../../../dump/float.js';
import type { TensorBatch } from '../../../dump/reader.js';

/** Where an error begins: the first row that is wrong in the first call that makes one. */
export interface FirstWrong {
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
    const earlier = (a: number, b: number) =>
      this.#step[a]! - this.#step[b]! ||
      this.#sequence[a]! - this.#sequence[b]! ||
      this.#position[a]! - this.#position[b]!;
    const [first] = wrong.sort(earlier) as [number];
    const sequence = this.#sequence[first]!;
    const own = rows.filter((row) => this.#sequence[row] === sequence);
    const after = own.filter((row) => this.#position[row]! > this.#position[first]!);
    const lastWrong = Math.max(
      ...wrong.filter((row) => this.#sequence[row] === sequence).map((row) => this.#position[row]!),
    );
    const mixed = after.some((row) => this.#position[row]! < lastWrong && !(errors[row]! > least));
    const wrongSequences = new Set(wrong.map((row) => this.#sequence[row]!));
    return {
      sequence,
      position: this.#position[first]!,
      step: this.#step[first]!,
      scattered: mixed,
      wrongUpTo: !mixed && after.some((row) => this.#position[row]! > lastWrong) ? lastWrong : null,
      rightSequences: Array.from({ length: sequences }, (_, each) => each).filter(
        (each) => !wrongSequences.has(each),
      ),
      ofStep: this.#ofStep,
    };
  }
}

/**
 * E.g. ` Right up to position 15, wrong from 16 on (step 1).`; '' where all is wrong. `steps` is how many
 * forward calls the run has.
 */
export function beginWords(from: FirstWrong | null, steps: number): string {
  if (from === null) return '';
  const { sequence, position, step, wrongUpTo, scattered, rightSequences, ofStep } = from;
  const others = rightSequences.length === 0 ? '' : ` Sequence ${listed(rightSequences)} right.`;
  const where = rightSequences.length === 0 && sequence === 0 ? '' : ` of sequence ${sequence}`;
  const call = steps > 1 ? ` (step ${step})` : '';
  if (ofStep)
    return steps > 1
      ? ` Wrong from the call on that ends at position ${position}${where}${call}.${others}`
      : others;
  const range =
    wrongUpTo === null
      ? `from ${position} on`
      : wrongUpTo === position
        ? `at ${position}`
        : `from ${position} to ${wrongUpTo}`;
  const alone = wrongUpTo === position ? ' alone' : '';
  const place = `${range}${where}${alone}${call}.${others}`;
  const right = position === 1 ? 'Right at position 0' : `Right up to position ${position - 1}`;
  if (scattered)
    return position === 0
      ? others
      : ` ${right}, then wrong here and there, first at ${position}${where}${call}.${others}`;
  if (position > 0) return ` ${right}, wrong ${place}`;
  return wrongUpTo === null && others === ''
    ? ''
    : ` Wrong ${range.replace(/ /, ' position ')}${where}${alone}${call}.${others}`;
}

function listed(sequences: readonly number[]): string {
  if (sequences.length === 1) return `${sequences[0]} is`;
  return `${sequences.slice(0, 4).join(', ')}${sequences.length > 4 ? ', …' : ''} are`;
}

function ratio(error: number, size: number): number {
  return error === 0 ? 0 : size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

/** NaN and infinity outweigh all else, but must not make sums NaN. */
function finite(value: number): number {
  return Number.isNaN(value) ? 1e200 : Math.min(value, 1e200);
}
