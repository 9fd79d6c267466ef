/**
 * Entries of a value that stand in each other's place: tokens, heads, columns, rows of a weight, experts.
 * Which ones is read off what is wrong, so that not all pairs need be tried.
 */
import { numberRuns } from '../../number-runs.js';
import type { Alternative } from './alternative.js';
import { changed, endsWith, tapInputsOf, weightInputsOf } from './alternative.js';
import { COLUMNS, type EntryAxis, entriesOf, movesOf, placedFrom, zeroed } from './entry-moves.js';
import { product } from './layout.js';
import type { OpenOp } from './open-op.js';
import { entryWords, quoted, valueWords, weightWords } from './words.js';

/** Numbers that are listed. */
const LISTED = 4;
/** Other experts that are tried beside one whose tokens are wrong. */
const MOST_EXPERTS = 64;
/** Share of an expert's tokens that are wrong where its weights are. */
const WHOLE = 0.9;

/**
 * Ways to compute an op with entries moved, as its wrong ones tell. @param own the op's value as the model
 * computes it. @param limit energy NMSE up to which it is right.
 */
export async function movedEntries(
  op: OpenOp,
  own: OpenOp['expected'],
  limit: number,
): Promise<Alternative[]> {
  if (op.output.isInteger) return [];
  const [right, tested] = [own as Float32Array, op.expected as Float32Array];
  const found: Alternative[] = [];
  for (const axis of entriesOf(op.output.factors)) {
    // Of moved heads all columns are.
    if (axis.name === COLUMNS && found.some(({ output }) => output !== undefined)) continue;
    const moves = movesOf(axis, right, tested, limit);
    if (moves === undefined) continue;
    const { wrong, from, areZero } = moves;
    const [a, b] = wrong as [number, number];
    if (areZero) found.push(zeros(op, axis, wrong));
    else if (from !== undefined) found.push(moved(op, axis, from));
    else if (wrong.length === 2) found.push(...exchangedInputs(op, axis, a, b));
  }
  return [...found, ...(await exchangedExperts(op, right, tested, limit))];
}

function zeros(op: OpenOp, axis: EntryAxis, wrong: readonly number[]): Alternative {
  return {
    key: `zero ${axis.name} ${runs(wrong)}`,
    says: `${entries(axis, wrong)} of ${valueWords(op.tap)} ${wrong.length === 1 ? 'is' : 'are'} 0`,
    so: 'with zeros there',
    output: (values) => zeroed(values, axis, wrong),
  };
}

/** @param from by entry of the axis that is wrong, the one whose value it has. */
function moved(op: OpenOp, axis: EntryAxis, from: ReadonlyMap<number, number>): Alternative {
  const what = `${valueWords(op.tap)}${rowsOf(op, axis)}`;
  const { size } = axis;
  const wrong = [...from.keys()];
  const [a, b] = wrong as [number, number];
  const output: Alternative['output'] = (values) => placedFrom(values, axis, from);
  if (isExchange(from))
    return {
      key: `exchanged ${axis.name} ${a} ${b}`,
      says: `${entries(axis, wrong)} of ${what} are exchanged`,
      so: 'exchanged',
      output,
    };
  const offsets = new Set([...from].map(([to, at]) => (at - to + size) % size));
  if (from.size === size && offsets.size === 1) {
    const by = 2 * from.get(0)! <= size ? from.get(0)! : from.get(0)! - size;
    const far = Math.abs(by) === 1 ? 'the one' : `the one ${Math.abs(by)} places`;
    return {
      key: `moved ${axis.name} ${by}`,
      says: `${word(axis, 2)} of ${what} are moved (each has the value of ${far} ${by > 0 ? 'after' : 'before'} it)`,
      so: 'moved so',
      output,
    };
  }
  const told = [...from].map(([to, at]) => `${to} that of ${at}`);
  return {
    key: `moved ${axis.name} ${[...from].join(' ')}`,
    says: `${entries(axis, wrong)} of ${what} ${wrong.length === 1 ? 'has' : 'have'} the value of another (${told.slice(0, LISTED).join(', ')}${told.length > LISTED ? ', …' : ''})`,
    so: 'so',
    output,
  };
}

function isExchange(from: ReadonlyMap<number, number>): boolean {
  const [a, b] = [...from.keys()];
  return from.size === 2 && from.get(a!) === b && from.get(b!) === a;
}

/** The weight of which a column of the value is a row; '' where there is none. */
function rowsOf(op: OpenOp, axis: EntryAxis): string {
  const columns = product(op.output.factors.slice(1));
  const isColumn = axis.inner === 1 && axis.size === columns;
  const weight = weightInputsOf(op).find(
    (input) => input.leaf.shape.length > 1 && input.leaf.shape.at(-2) === columns && endsWith(op, input),
  );
  return isColumn && weight !== undefined
    ? ` (or these rows of ${quoted(weightWords(weight.leaf.name))})`
    : '';
}

/** Two entries exchanged in something that the op reads, of as many entries. */
function* exchangedInputs(op: OpenOp, axis: EntryAxis, a: number, b: number): Iterable<Alternative> {
  const from = new Map([
    [a, b],
    [b, a],
  ]);
  for (const input of tapInputsOf(op))
    for (const own of entriesOf(input.factors))
      if (own.name === axis.name && own.size === axis.size)
        yield {
          key: `exchanged ${axis.name} ${a} ${b} ${input.leaf.name}`.replace(/layers\.\d+/, ''),
          says: `${valueWords(op.tap)} reads ${entries(axis, [a, b])} of ${valueWords(input.leaf.name)} exchanged`,
          so: 'exchanged',
          values: changed(input, (values) => placedFrom(values, own, from)),
        };
  for (const input of weightInputsOf(op)) {
    const { shape } = input.leaf;
    for (const [at, size] of shape.entries()) {
      if (size !== axis.size) continue;
      const own = { name: '', size, inner: shape.slice(at + 1).reduce((x, y) => x * y, 1) };
      const name = at < shape.length - 1 ? 'rows' : shape.length === 1 ? 'entries' : 'columns';
      yield {
        key: `exchanged ${name} ${a} ${b} ${weightWords(input.leaf.name)}`,
        says: `${name} ${a} and ${b} of ${quoted(weightWords(input.leaf.name))} are exchanged`,
        so: 'exchanged',
        values: changed(input, (values) => placedFrom(values, own, from)),
      };
    }
  }
}

/** Two experts that have each other's weights: all tokens of both are wrong, as far as they have any. */
async function exchangedExperts(
  op: OpenOp,
  right: Float32Array,
  tested: Float32Array,
  limit: number,
): Promise<Alternative[]> {
  const weights = weightInputsOf(op).filter(
    ({ leaf, uses }) => leaf.shape.length > 2 && uses.some((use) => use.op === 'mulMatId'),
  );
  const ids = tapInputsOf(op).find(({ leaf }) => leaf.dtype === 'I32');
  const tokens = entriesOf(op.output.factors)[0];
  if (weights.length === 0 || ids === undefined || tokens?.size !== op.tokens) return [];
  const size = weights[0]!.leaf.shape[0]!;
  const wrongRows = new Set(movesOf(tokens, right, tested, limit)?.wrong ?? []);
  const counts = new Map<number, { rows: number; wrong: number }>();
  const chosen = (await op.tapValues(ids.leaf.name, ids.leaf)) as Int32Array;
  if (chosen.length !== op.tokens) return [];
  for (const [row, expert] of chosen.entries()) {
    const { rows, wrong } = counts.get(expert) ?? { rows: 0, wrong: 0 };
    counts.set(expert, { rows: rows + 1, wrong: wrong + Number(wrongRows.has(row)) });
  }
  const bad = [...counts].filter(([, { wrong }]) => wrong > 0).sort(([a], [b]) => a - b);
  if (bad.some(([expert, { rows, wrong }]) => expert >= size || wrong < WHOLE * rows)) return [];
  const [a, b] = bad.map(([expert]) => expert);
  if (a === undefined || bad.length > 2) return [];
  // One of them may have been chosen by no token.
  const others = [...Array(size).keys()].filter((expert) => expert !== a && !counts.has(expert));
  const pairs = b === undefined ? others.slice(0, MOST_EXPERTS).map((other) => [a, other]) : [[a, b]];
  return pairs.map((pair): Alternative => {
    const [first, second] = pair.toSorted((x, y) => x - y) as [number, number];
    const from = new Map([
      [first, second],
      [second, first],
    ]);
    return {
      key: `exchanged experts ${first} ${second}`,
      says: `experts ${first} and ${second} have each other's weights`,
      so: 'exchanged',
      values: new Map(
        weights.map(({ leaf }) => {
          const axis = { name: '', size, inner: leaf.shape.slice(1).reduce((x, y) => x * y, 1) };
          return [leaf.input, (values) => placedFrom(values, axis, from)] as const;
        }),
      ),
    };
  });
}

function entries(axis: EntryAxis, list: readonly number[]): string {
  return `${word(axis, list.length)} ${list.length === 2 ? list.join(' and ') : runs(list)}`;
}

function runs(list: readonly number[]): string {
  const all = numberRuns(list).map(({ first, last }) => (first === last ? `${first}` : `${first}–${last}`));
  return `${all.slice(0, LISTED).join(', ')}${all.length > LISTED ? ', …' : ''}`;
}

function word({ name }: EntryAxis, count: number): string {
  if (name === 'T') return count === 1 ? 'token' : 'tokens';
  return name === COLUMNS ? (count === 1 ? 'column' : 'columns') : entryWords(name, count);
}
