import type { FileRows } from '../dump/reader.js';
import type { Excludes, UnpairedRows } from './row-pairing.js';

/** What pairing forward steps needs to know of a side. */
export interface StepSide {
  rows: FileRows;
  /** Tokens per sequence. */
  lengths: readonly number[];
  excludes: Excludes;
}

/**
 * What of a step's positions a value depends on: where the step ends (a state after it), where it begins
 * (rows in front of its first token), or both.
 */
export type StepKey = 'end' | 'start' | 'positions';

/**
 * Pairs forward steps that cover the same positions of the same sequence, as far as a value depends on them.
 * Step numbers do not matter, since producers count them differently.
 * @param apart takes how many steps begin or end where no step of the other side does, for a value that
 * depends on that alone: it cannot be held there. Others are unpaired.
 * @returns the rows, on both sides, where the values of the step stand: the last of its last record batch.
 */
export function pairSteps(
  reference: StepSide,
  tested: StepSide,
  unpaired: UnpairedRows,
  by: StepKey = 'positions',
  apart: (steps: number) => void = () => {},
): [row: number, other: number][] {
  const mine = stepRows(reference, by);
  const others = stepRows(tested, by);
  if (by !== 'positions') {
    const common = [...mine].filter(([key]) => others.has(key));
    apart(mine.size + others.size - 2 * common.length);
    return common.map(([key, row]) => [row, others.get(key)!]);
  }
  const pairs: [number, number][] = [];
  for (const [key, row] of mine) {
    const other = others.get(key);
    if (other !== undefined) pairs.push([row, other]);
    else addMissing('tested', tested, reference, row, key, unpaired);
  }
  for (const [key, row] of others)
    if (!mine.has(key)) addMissing('reference', reference, tested, row, key, unpaired);
  return pairs;
}

function addMissing(
  name: 'reference' | 'tested',
  side: StepSide,
  other: StepSide,
  row: number,
  key: string,
  unpaired: UnpairedRows,
): void {
  const { sequence, position } = other.rows;
  if (!side.excludes(sequence[row]!, position[row]!))
    unpaired.add(name, `has no such step, first positions ${key.split(' ')[1]}`, other.rows, row);
}

/** The last row of each step, by sequence and first and last position, e.g. `0 4..7`, or one of them. */
function stepRows({ rows, lengths }: StepSide, by: StepKey): Map<string, number> {
  const { sequence, position, step } = rows;
  const steps = new Map<number, { step: number; start: number; row: number }[]>();
  for (let row = 0; row < position.length; row++) {
    const known = steps.get(sequence[row]!) ?? [];
    const last = known.at(-1);
    if (last !== undefined && last.step === step[row]) last.row = row;
    else known.push({ step: step[row]!, start: last === undefined ? 0 : position[last.row]! + 1, row });
    steps.set(sequence[row]!, known);
  }
  const found = new Map<string, number>();
  for (const [number, known] of steps)
    for (const [k, { start, row }] of known.entries()) {
      // The last step ends with the sequence, even where the selection leaves its last positions out.
      const end =
        k === known.length - 1 ? Math.max(position[row]!, (lengths[number] ?? 0) - 1) : position[row]!;
      found.set(`${number} ${by === 'end' ? '' : start}..${by === 'start' ? '' : end}`, row);
    }
  return found;
}
