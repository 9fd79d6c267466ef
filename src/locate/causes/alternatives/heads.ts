/** Heads, halves and channels in another order. */
import {
  type Alternative,
  type CauseKind,
  type CauseOp,
  changed,
  type OpInput,
  type Transform,
  tapInputsOf,
  weightInputsOf,
} from '../alternative.js';
import { exchanged, type Factor, inverse, product, reordered, rolledOrder } from '../layout.js';
import { entryWords, HEAD_AXES, halfWords, quoted, valueWords, weightWords } from '../words.js';

export const grouping: CauseKind = {
  name: 'query heads grouped otherwise',
  *alternatives(op) {
    const { num_attention_heads: nq, num_key_value_heads: nk } = op.config;
    const reads =
      op.inputs.some(({ factors }) => has(factors, HEAD_AXES.keys)) || has(op.output.factors, HEAD_AXES.keys);
    if (!reads || nk < 2 || nq === nk) return;
    const group = nq / nk;
    // Place p of the blocked order is where a query head stands that shares KV head ⌊p / group⌋.
    const order = Array.from({ length: nq }, (_, place) => (place % group) * nk + Math.floor(place / group));
    const values = new Map<string, Transform>();
    for (const { leaf, factors } of tapInputsOf(op)) {
      const at = factors.findIndex(({ name }) => name === HEAD_AXES.queries);
      if (at >= 0) values.set(leaf.input, (given) => reordered(given, factors, at, order));
    }
    if (values.size === 0) return;
    const { factors } = op.output;
    const at = factors.findIndex(({ name }) => name === HEAD_AXES.queries);
    yield {
      key: 'grouping',
      says: `query heads share KV heads in turns (h mod ${nk}) and not in blocks (h div ${group})`,
      so: 'in turns',
      values,
      ...(at < 0 ? {} : { output: (made) => reordered(made, factors, at, inverse(order)) }),
    };
  },
};

function has(factors: readonly Factor[], name: string): boolean {
  return factors.some((factor) => factor.name === name);
}

export const otherHead: CauseKind = {
  name: 'another head',
  *alternatives(op) {
    const offer = (what: string, input: OpInput): Alternative[] => {
      const at = input.factors.findIndex(({ name }) => name === HEAD_AXES.keys);
      const size = input.factors[at]?.size ?? 1;
      if (at < 0 || size < 2) return [];
      return (size === 2 ? [1] : [1, -1]).map((by) => ({
        key: `head ${by} ${what}`,
        says: `the other KV head of ${what} is read${size === 2 ? '' : `: head + ${by}`}`,
        so: 'with the other head',
        values: changed(input, (values) => reordered(values, input.factors, at, rolledOrder(size, by))),
      }));
    };
    for (const input of tapInputsOf(op)) yield* offer(valueWords(input.leaf.name), input);
    // A vector with an entry a head.
    for (const input of weightInputsOf(op))
      if (input.weight.shape.length === 1 && input.weight.shape[0] === op.config.num_key_value_heads)
        yield* offer(weightWords(input.leaf.name), {
          ...input,
          factors: [{ name: HEAD_AXES.keys, size: input.weight.shape[0] }],
        });
  },
};

export const exchangedHalves: CauseKind = {
  name: 'halves exchanged',
  *alternatives(op) {
    for (const input of tapInputsOf(op)) {
      const halves = halvesOf(input.factors);
      if (halves === undefined) continue;
      yield {
        key: `halves ${input.leaf.name}`.replace(/layers\.\d+/, ''),
        says: `${halves.words} are swapped in ${valueWords(op.tap)}`,
        so: 'swapped',
        values: changed(input, (values) => reordered(values, input.factors, halves.at, [1, 0])),
      };
    }
    const { factors } = op.output;
    const halves = halvesOf(factors);
    if (halves === undefined) return;
    yield {
      key: 'halves out',
      says: `${halves.words} are swapped in ${storedIn(op)}`,
      so: 'swapped',
      output: (values) => reordered(values, factors, halves.at, [1, 0]),
    };
    const half = factors[halves.at + 1]!;
    for (const [key, a, b] of [
      ['pairs', 2, half.size],
      ['from pairs', half.size, 2],
    ] as const)
      yield {
        key: `halves ${key}`,
        says: `${halves.words} alternate row by row in ${storedIn(op)}`,
        so: 'alternating',
        output: (values) => exchanged(values, a, b, product(factors.slice(halves.at + 2))),
      };
  },
};

function halvesOf(factors: readonly Factor[]): { at: number; words: string } | undefined {
  const at = factors.findIndex(({ name, size }) => name === '2' && size === 2);
  if (at < 0) return undefined;
  return { at, words: halfWords(factors[at + 1]?.name ?? '') ?? 'the two halves' };
}

/** Where the order of an output comes from: the weight that makes it, or the value itself. */
function storedIn(op: CauseOp): string {
  const [matrix] = weightInputsOf(op).filter(
    ({ weight }) => weight.role === 'matmul' || weight.role === 'conv',
  );
  return matrix === undefined ? valueWords(op.tap) : `the rows of ${quoted(weightWords(matrix.leaf.name))}`;
}

export const channelOrder: CauseKind = {
  name: "channels' order",
  *alternatives(op) {
    const where = storedIn(op);
    yield* orders(op.output.factors, (key, says, output) => ({
      key: `${key} out`,
      says: says(where),
      so: 'in that order',
      output,
    }));
    for (const input of tapInputsOf(op))
      yield* orders(input.factors, (key, says, transform) => ({
        key: `${key} ${input.leaf.name}`.replace(/layers\.\d+/, ''),
        says: says(valueWords(input.leaf.name)),
        so: 'in that order',
        values: changed(input, transform),
      }));
    yield* joinedOtherwise(op);
  },
};

/** Orders in which the heads and channels of one value may lie. */
function* orders(
  factors: readonly Factor[],
  offer: (key: string, says: (what: string) => string, transform: Transform) => Alternative,
): Iterable<Alternative> {
  const channels = factors.findIndex(({ name }) => name === HEAD_AXES.channels);
  if (channels < 1) return;
  const [heads, own] = [factors[channels - 1]!, factors[channels]!];
  const inner = product(factors.slice(channels + 1));
  const isHeads = heads.name !== 'T' && heads.size > 1;
  if (isHeads)
    for (const [key, a, b] of [
      ['by-channel', heads.size, own.size],
      ['by-head', own.size, heads.size],
    ] as const)
      yield offer(
        key,
        (what) =>
          `in ${what} elements lie channel by channel and not ${entryWords(heads.name, 1)} by ${entryWords(heads.name, 1)}`,
        (values) => exchanged(values, a, b, inner),
      );
  if (own.size % 2 === 0)
    for (const [key, a, b] of [
      ['pairs', 2, own.size / 2],
      ['from-pairs', own.size / 2, 2],
    ] as const)
      yield offer(
        key,
        (what) =>
          `the two halves of each head alternate in ${what}, as for rotation of neighbouring channels`,
        (values) => exchanged(values, a, b, inner),
      );
  // Of two heads that is the other one.
  if (isHeads && heads.size > 2) {
    const turned = Array.from({ length: heads.size }, (_, head) => heads.size - 1 - head);
    yield offer(
      'reversed',
      (what) => `the ${entryWords(heads.name, 2)} of ${what} are in reversed order`,
      (values) => reordered(values, factors, channels - 1, turned),
    );
  }
}

/** Two inputs that are joined one after the other: in the other order, or each in a half of every head. */
function* joinedOtherwise(op: CauseOp): Iterable<Alternative> {
  const joined = tapInputsOf(op);
  const [a, b] = joined.map(({ leaf }) => ({
    what: valueWords(leaf.name),
    width: product(leaf.shape.slice(1).map((size) => ({ size }))),
  }));
  const { factors } = op.output;
  const width = product(factors.slice(1));
  if (joined.length !== 2 || a!.width + b!.width !== width) return;
  if (!op.piece.nodes.some((node) => node.op === 'concat')) return;
  const columns = [factors[0]!, { name: '', size: width }];
  yield {
    key: 'joined in the other order',
    says: `${b!.what} is joined before ${a!.what}`,
    so: 'in that order',
    output: (values) => reordered(values, columns, 1, rolledOrder(width, a!.width)),
  };
  const at = factors.findIndex(({ name }) => name === HEAD_AXES.keys);
  const channels = factors[at + 1];
  if (at < 0 || channels === undefined || channels.size % 2 === 1) return;
  yield {
    key: 'halves in each head',
    says: `each head is half ${a!.what} and half ${b!.what}`,
    so: 'in each head',
    output: (values) => exchanged(values, 2, factors[at]!.size, channels.size / 2),
  };
}
