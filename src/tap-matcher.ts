/**
 * Matching of globs in time that grows with the product of name and pattern, whatever they are: all ways
 * through the pattern are followed at once, instead of one after the other as a backtracking regular
 * expression does.
 */

/** One part of a glob. */
export type GlobPart =
  /** A character, by code point. */
  | { kind: 'literal'; code: number }
  /** One character of a segment. */
  | { kind: 'one' }
  /** Any number of characters of a segment. */
  | { kind: 'segment' }
  /** Anything. */
  | { kind: 'any' }
  /** A number from `first` to `last`, without leading zeros. */
  | { kind: 'number'; first: number; last: number }
  /** One of several globs. */
  | { kind: 'either'; options: readonly (readonly GlobPart[])[] };

/** States are numbers; a state's way on goes to larger ones, but for loops that stay. */
type State =
  | { kind: 'literal'; code: number; next: number }
  | { kind: 'one'; next: number }
  | { kind: 'segment' | 'any'; next: number }
  | { kind: 'number'; first: number; last: number; next: number }
  | { kind: 'split'; to: readonly number[] }
  | { kind: 'end' };

const DOT = 46;
const COLON = 58;
const ZERO = 48;
const NINE = 57;

/** A function that tells whether a name is matched whole. */
export function matcherOf(parts: readonly GlobPart[]): (name: string) => boolean {
  const states: State[] = [{ kind: 'end' }];
  const start = build(parts, 0, states);
  const seen = new Int32Array(states.length);
  let round = 0;
  // Most names differ from a glob in its first or last letters: those need no search.
  const [head, tail] = [leadingText(parts), leadingText(parts.toReversed(), true)];
  return (name) => {
    if (!name.startsWith(head) || !name.endsWith(tail)) return false;
    const codes = Array.from(name, (character) => character.codePointAt(0)!);
    // Numbers reach over several characters: states that wait for a later position.
    const waiting = new Map<number, number[]>([[0, [start]]]);
    for (let at = 0; at <= codes.length; at++) {
      const open = waiting.get(at);
      if (open === undefined) continue;
      waiting.delete(at);
      round = round === 2 ** 31 - 1 ? 1 : round + 1;
      if (round === 1) seen.fill(0);
      if (follow(states, open, { codes, at, seen, round, waiting })) return true;
    }
    return false;
  };
}

/** The characters that a glob begins with; of a reversed one, those that it ends with. */
function leadingText(parts: readonly GlobPart[], reversed = false): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.kind !== 'literal') break;
    texts.push(String.fromCodePoint(part.code));
  }
  return (reversed ? texts.toReversed() : texts).join('');
}

/** Appends the states of a glob that goes on to `next`. @returns its first state. */
function build(parts: readonly GlobPart[], next: number, states: State[]): number {
  let to = next;
  for (const part of parts.toReversed()) {
    states.push(
      part.kind === 'either'
        ? { kind: 'split', to: part.options.map((option) => build(option, to, states)) }
        : { ...part, next: to },
    );
    to = states.length - 1;
  }
  return to;
}

/** Goes on from `open` states at a position. @returns true where the name ends in the end. */
function follow(
  states: readonly State[],
  open: number[],
  {
    codes,
    at,
    seen,
    round,
    waiting,
  }: {
    codes: readonly number[];
    at: number;
    seen: Int32Array;
    round: number;
    waiting: Map<number, number[]>;
  },
): boolean {
  const code = codes[at];
  const wait = (position: number, state: number): void => {
    const others = waiting.get(position);
    if (others === undefined) waiting.set(position, [state]);
    else others.push(state);
  };
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen[id] === round) continue;
    seen[id] = round;
    const state = states[id]!;
    const isInside = code !== undefined && code !== DOT && code !== COLON;
    switch (state.kind) {
      case 'end':
        if (code === undefined) return true;
        break;
      case 'split':
        for (const next of state.to) open.push(next);
        break;
      case 'literal':
        if (code === state.code) wait(at + 1, state.next);
        break;
      case 'one':
        if (isInside) wait(at + 1, state.next);
        break;
      case 'segment':
      case 'any':
        open.push(state.next);
        if (state.kind === 'any' ? code !== undefined : isInside) wait(at + 1, id);
        break;
      case 'number':
        for (const length of numberLengths(codes, at, state)) wait(at + length, state.next);
    }
  }
  return false;
}

/** How many characters from `at` on spell a number of the range. */
function numberLengths(
  codes: readonly number[],
  at: number,
  { first, last }: { first: number; last: number },
): number[] {
  const lengths: number[] = [];
  let value = 0;
  for (let end = at; end < codes.length; end++) {
    const code = codes[end]!;
    if (code < ZERO || code > NINE || value > last) break;
    value = 10 * value + code - ZERO;
    if (value >= first && value <= last) lengths.push(end + 1 - at);
    // Only 0 itself begins with 0.
    if (value === 0) break;
  }
  return lengths;
}
