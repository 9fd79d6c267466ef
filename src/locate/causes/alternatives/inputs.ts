/** Values that are read from elsewhere: another token, another value, nothing, twice. */
import { concat, cont, slice } from '../../../graph/ops-layout.js';
import type { Tensor } from '../../../graph/tensor.js';
import {
  type Alternative,
  type CauseKind,
  type CauseOp,
  changed,
  each,
  type OpInput,
  type Transform,
  tapInputsOf,
} from '../alternative.js';
import type { Values } from '../layout.js';
import { valueWords } from '../words.js';

/**
 * Rows of tokens moved on; what has no neighbour is filled from the other end, with its own row, or with
 * zeros.
 */
const EDGES = ['around', 'own', 'zero'] as const;

function shifted(values: Values, rows: number, by: 1 | -1, edge: (typeof EDGES)[number]): Values {
  const width = values.length / rows;
  const out = values.slice();
  for (let row = 0; row < rows; row++) {
    const from = row - by;
    const isEdge = from < 0 || from >= rows;
    if (isEdge && edge === 'zero') out.fill(0, row * width, (row + 1) * width);
    else {
      const source = !isEdge ? from : edge === 'around' ? (from + rows) % rows : row;
      out.set(values.subarray(source * width, (source + 1) * width) as never, row * width);
    }
  }
  return out;
}

export const neighbour: CauseKind = {
  name: 'the neighbouring token',
  *alternatives(op) {
    yield* neighbourExperts(op);
    for (const input of op.inputs) {
      if (input.leaf.kind !== 'tokens' && input.leaf.kind !== 'tap') continue;
      if (input.leaf.shape[0] !== op.tokens || op.tokens < 2) continue;
      const what = input.leaf.kind === 'tokens' ? 'the token id' : valueWords(input.leaf.name);
      for (const by of [1, -1] as const)
        for (const edge of EDGES)
          yield {
            key: `neighbour ${by} ${input.leaf.name}`.replace(/layers\.\d+/, ''),
            says: `each token reads ${what} of the token ${by > 0 ? 'before' : 'after'} it`,
            so: 'moved by one',
            values: changed(input, (values) => shifted(values, op.tokens, by, edge)),
          };
    }
  },
};

/** A token runs through the expert of its neighbour, whether it is skipped or not being its own affair. */
function* neighbourExperts(op: CauseOp): Iterable<Alternative> {
  if (op.tokens < 2 || op.piece.nodes.every((node) => node.op !== 'mulMatId')) return;
  for (const by of [1, -1] as const)
    for (const edge of ['around', 'own'] as const) {
      const moved = (ids: Tensor): Tensor => {
        const [first, last] = [slice(ids, 0, 0, 1), slice(ids, 0, op.tokens - 1, op.tokens)];
        const rest = by > 0 ? slice(ids, 0, 0, op.tokens - 1) : slice(ids, 0, 1, op.tokens);
        const filled = by > 0 === (edge === 'around') ? last : first;
        return by > 0 ? concat(cont(filled), cont(rest), 0) : concat(cont(rest), cont(filled), 0);
      };
      yield {
        key: `neighbour ${by} ids`,
        says: `each token runs through the expert of the token ${by > 0 ? 'before' : 'after'} it`,
        so: 'moved by one',
        node: ({ op: name, params, dtype, shape }, [experts, x, ids]) =>
          name === 'mulMatId'
            ? ids!.graph.emit({ op: name, sources: [experts!, x!, moved(ids!)], params, dtype, shape })
            : undefined,
      };
    }
}

/** How a value meets others in the op; undefined where it does neither. */
function meets({ uses }: OpInput): 'add' | 'mul' | undefined {
  if (uses.length === 0) return undefined;
  if (uses.every(({ op }) => op === 'add' || op === 'sub')) return 'add';
  return uses.every(({ op }) => op === 'mul') ? 'mul' : undefined;
}

export const leftOutValue: CauseKind = {
  name: 'a value left out, or taken twice',
  *alternatives(op) {
    const inputs = tapInputsOf(op).filter(({ leaf }) => leaf.dtype === 'F32');
    for (const input of inputs) {
      const what = valueWords(input.leaf.name);
      const key = input.leaf.name.replace(/^layers\.\d+/, '');
      const offer = (kind: string, says: string, so: string, transform: Transform): Alternative => ({
        key: `${kind} ${key}`,
        says,
        so,
        values: changed(input, transform),
      });
      const use = meets(input);
      if (inputs.length > 1 || use === 'add')
        yield offer(
          'value-left-out',
          `${what} is left out (taken as 0)`,
          'without it',
          each(() => 0),
        );
      if (use === 'add') {
        yield offer(
          'value-twice',
          `${what} is added twice`,
          'added twice',
          each((value) => 2 * value),
        );
        yield offer(
          'value-negated',
          `${what} is subtracted`,
          'subtracted',
          each((value) => -value),
        );
      }
      if (use === 'mul' && inputs.length > 1) {
        yield offer(
          'value-not-multiplied',
          `${what} is left out (taken as 1)`,
          'without it',
          each(() => 1),
        );
        yield offer(
          'value-twice',
          `${what} is multiplied by twice`,
          'twice',
          each((value) => value * value),
        );
      }
    }
  },
};

export const exchangedValues: CauseKind = {
  name: 'two inputs exchanged',
  *alternatives(op) {
    const inputs = tapInputsOf(op);
    for (const [index, a] of inputs.entries())
      for (const b of inputs.slice(index + 1))
        if (a.leaf.dtype === b.leaf.dtype && a.leaf.shape.join() === b.leaf.shape.join())
          yield {
            key: `exchanged ${a.leaf.name} ${b.leaf.name}`.replaceAll(/layers\.\d+/g, ''),
            says: `${valueWords(a.leaf.name)} and ${valueWords(b.leaf.name)} are exchanged`,
            so: 'exchanged',
            values: new Map([
              [a.leaf.input, () => op.tapValues(b.leaf.name, b.leaf)],
              [b.leaf.input, () => op.tapValues(a.leaf.name, a.leaf)],
            ]),
          };
  },
};

export const otherValue: CauseKind = {
  name: 'another value of the same axes',
  *alternatives(op) {
    for (const input of tapInputsOf(op))
      for (const other of op.alike(input.leaf.name))
        if (other !== op.tap && op.inputs.every(({ leaf }) => leaf.name !== other))
          yield {
            key: `reads ${input.leaf.name} ${other}`.replaceAll(/layers\.\d+/g, ''),
            says: `in ${valueWords(op.tap)} one reads ${valueWords(other)} instead of ${valueWords(input.leaf.name)}`,
            so: 'with it',
            values: changed(input, () => op.tapValues(other, input.leaf)),
          };
  },
};

export const passedOn: CauseKind = {
  name: 'the op left out',
  *alternatives(op) {
    const inputs = tapInputsOf(op);
    // Of several inputs that one is passed on says the same as that the others are left out.
    if (op.piece.nodes.length <= 2 || inputs.length > 1) return;
    for (const { leaf } of inputs) {
      const elements = leaf.shape.reduce((a, b) => a * b, 1);
      if (elements !== op.output.elements || (leaf.dtype === 'I32') !== op.output.isInteger) continue;
      yield {
        key: `passed-on ${leaf.name}`.replace(/layers\.\d+/, ''),
        says: `${valueWords(op.tap)} is left out: ${valueWords(leaf.name)} is passed on as it is`,
        so: 'passed on',
        output: () => op.tapValues(leaf.name, leaf),
      };
    }
  },
};

/** Factors that implementations know. */
function factors({ config }: CauseOp): [words: string, factor: number][] {
  const { hidden_size: H, head_dim: d, num_attention_heads: nq, num_key_value_heads: nk } = config;
  return [
    ['√H', Math.sqrt(H)],
    ['1/√H', 1 / Math.sqrt(H)],
    ['√d', Math.sqrt(d)],
    ['1/√d', 1 / Math.sqrt(d)],
    ['d', d],
    ['1/d', 1 / d],
    [`${nq / nk} (query heads of a KV head)`, nq / nk],
    [`1/${nq / nk}`, nk / nq],
    ['2', 2],
    ['1/2', 0.5],
    ['−1', -1],
  ];
}

export const scaledInput: CauseKind = {
  name: 'an input times a factor',
  *alternatives(op) {
    const seen = new Set<number>([1]);
    for (const [words, factor] of factors(op)) {
      if (seen.has(factor)) continue;
      seen.add(factor);
      for (const input of tapInputsOf(op).filter(({ leaf }) => leaf.dtype === 'F32')) {
        // Added twice, and subtracted.
        if (meets(input) === 'add' && (factor === 2 || factor === -1)) continue;
        yield {
          key: `factor ${words} ${input.leaf.name}`.replace(/layers\.\d+/, ''),
          says: `${valueWords(input.leaf.name)} is multiplied by ${words} first`,
          so: `times ${words}`,
          values: changed(
            input,
            each((value) => value * factor),
          ),
        };
      }
    }
  },
};
