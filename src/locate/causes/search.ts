/** Tries the table of causes on one op. */
import { ZayascopeError } from '../../errors.js';
import { formatFactor } from '../../text-table.js';
import type { Alternative } from './alternative.js';
import { errorOf, type OpComputer, unbuilt } from './compute.js';
import { movedEntries } from './moved-entries.js';
import type { OpenOp } from './open-op.js';
import { CAUSES } from './table.js';
import { valueWords } from './words.js';

/** A cause that takes an op's error away. */
export interface FoundCause {
  key: string;
  says: Alternative['says'];
  family?: Alternative['family'];
  so: string;
  /** Energy NMSE (of indices: share that differs) as the model computes the op, and with the cause. */
  before: number;
  after: number;
}

/** How long and how much is tried. */
export class Budget {
  #left: number;
  readonly #deadline: number;
  readonly #signal: AbortSignal | undefined;
  #isSpent = false;

  /** @param tries computations of ops. @param seconds of wall clock. */
  constructor(tries: number, seconds: number, signal?: AbortSignal) {
    this.#left = tries;
    this.#deadline = performance.now() + 1000 * seconds;
    this.#signal = signal;
  }

  /** Takes one try; false where none is left. Throws `CANCELLED`. */
  take(): boolean {
    if (this.#signal?.aborted)
      throw new ZayascopeError('CANCELLED', 'locate: cancelled while causes were tried', { op: 'locate' });
    this.#isSpent ||= this.#left-- <= 0 || performance.now() > this.#deadline;
    return !this.#isSpent;
  }

  /** True where more would have been tried. */
  get isSpent(): boolean {
    return this.#isSpent;
  }
}

/**
 * A cause takes more than nineteen parts of twenty of the error away, besides bringing it within the op's
 * limit.
 */
const EXPLAINS = 0.05;
/** Fewer wrong indices than these may fall right by chance. */
const LEAST_WRONG = 3;
/** Of causes that all explain an op those are told whose error is at most this many times the least one. */
const TIE = 100;

/** Keys of inputs that are multiplied by a factor. */
const SCALED = 'factor ';

/** True where `after` is as good as right. */
export function explains(before: number, after: number, limit: number): boolean {
  return after <= limit && after <= EXPLAINS * before;
}

/**
 * Causes that bring an op's error to within `limit`, best first; all that do so are given.
 * @param known keys of causes found before, and of their families: they are tried before the others, and if
 * one explains the op, alone.
 * @param onlyKnown true to try no others.
 */
export async function findCauses(
  op: OpenOp,
  computer: OpComputer,
  limit: number,
  known: ReadonlySet<string>,
  budget: Budget,
  onlyKnown = false,
): Promise<FoundCause[]> {
  const own = await computer.values().catch(unbuilt);
  if (own === undefined) return [];
  const before = errorOf(own, op.expected, op.output.isInteger);
  if (!(before > limit) || (op.output.isInteger && before * own.length < LEAST_WRONG)) return [];
  const factor = plainFactor(op, own, before, limit);
  if (factor !== undefined && (factor.key === 'zero' || known.has(factor.key))) return [factor];
  const all = CAUSES.flatMap((kind) => [...kind.alternatives(op)]);
  const moved = await movedEntries(op, own, limit);
  const first = [...all, ...moved].filter(
    ({ key, family }) => known.has(key) || known.has(family?.key ?? ''),
  );
  for (const alternatives of onlyKnown ? [first] : [first, all, moved]) {
    const found: FoundCause[] = [];
    for (const alternative of alternatives) {
      // Those of what is wrong are few.
      if (!budget.take() && alternatives !== moved) break;
      const after = await computer.error(alternative);
      if (explains(before, after, limit)) found.push({ ...told(alternative), before, after });
    }
    // A factor of the whole is said of an input only where it is not one of the result.
    const structures = factor === undefined ? found : found.filter(({ key }) => !key.startsWith(SCALED));
    if (structures.length > 0) return tied(structures);
  }
  return factor === undefined || onlyKnown ? [] : [factor];
}

function told({ key, says, so, family }: Alternative): Pick<FoundCause, 'key' | 'says' | 'so' | 'family'> {
  return { key, says, so, family };
}

/** The best causes, each told once. */
function tied(found: readonly FoundCause[]): FoundCause[] {
  const sorted = [...found].sort((a, b) => a.after - b.after);
  const most = Math.max(TIE * sorted[0]!.after, 1e-13);
  const keys = new Set<string>();
  return sorted.filter(({ key, after }) => after <= most && !keys.has(key) && keys.add(key));
}

/** What is told without a table: nothing but zeros, or the right value times one number. */
function plainFactor(
  op: OpenOp,
  own: OpenOp['expected'],
  before: number,
  limit: number,
): FoundCause | undefined {
  if (op.output.isInteger) return undefined;
  const what = valueWords(op.tap);
  const { expected } = op;
  if (expected.every((value) => value === 0))
    return { key: 'zero', says: `${what} is 0 everywhere`, so: 'as zeros', before, after: 0 };
  let [product, size] = [0, 0];
  for (let k = 0; k < own.length; k++) {
    product += own[k]! * expected[k]!;
    size += own[k]! ** 2;
  }
  const factor = product / size;
  if (!Number.isFinite(factor) || Math.abs(factor) < 1e-3 || own.length < 16) return undefined;
  const after = errorOf(
    (own as Float32Array).map((value) => value * factor),
    expected,
    false,
  );
  if (!explains(before, after, limit)) return undefined;
  const words = formatFactor(factor);
  return {
    key: `times ${words}`,
    says: `${what} is ${words} times what it should be`,
    so: 'divided by that',
    before,
    after,
  };
}
