/** Weights that are left out, used twice, turned or rounded. */
import { blockSize, type Dtype, ggmlType } from '../../../dtype.js';
import { native } from '../../../native.js';
import {
  type Alternative,
  type CauseKind,
  changed,
  each,
  endsWith,
  type OpInput,
  type Transform,
  weightInputsOf,
} from '../alternative.js';
import { exchanged, reordered, type Values } from '../layout.js';
import { quoted, weightWords } from '../words.js';

const one =
  (transform: (values: Float32Array) => Values | Promise<Values>): Transform =>
  (values) =>
    transform(values as Float32Array);

/** How a vector meets what it is applied to; undefined for others. */
function vectorUse({ weight, uses }: OpInput): 'add' | 'mul' | undefined {
  if (weight?.role !== 'vector' && weight?.role !== 'buffer') return undefined;
  return uses.every(({ op }) => op === 'add')
    ? 'add'
    : uses.every(({ op }) => op === 'mul')
      ? 'mul'
      : undefined;
}

export const leftOut: CauseKind = {
  name: 'vector left out, or used otherwise',
  *alternatives(op) {
    for (const input of weightInputsOf(op)) {
      const use = vectorUse(input);
      const name = weightWords(input.leaf.name);
      const offer = (
        key: string,
        says: (what: string) => string,
        so: string,
        change: (value: number) => number,
      ): Alternative => ({
        key: `${key} ${name}`,
        says: says(quoted(name)),
        family: { key: `${key} ${use}`, says: says(use === 'add' ? 'the bias' : 'the weight') },
        so,
        values: changed(input, each(change)),
      });
      if (use === 'add') {
        yield offer(
          'left-out',
          (what) => `${what} is left out`,
          'without it',
          () => 0,
        );
        yield offer(
          'twice',
          (what) => `${what} is added twice`,
          'added twice',
          (value) => 2 * value,
        );
        yield offer(
          'negated',
          (what) => `${what} is subtracted`,
          'subtracted',
          (value) => -value,
        );
      }
      if (use === 'mul') {
        yield offer(
          'left-out',
          (what) => `${what} is left out`,
          'without it',
          () => 1,
        );
        yield offer(
          'twice',
          (what) => `${what} is applied twice`,
          'twice',
          (value) => value * value,
        );
        yield offer(
          'plus-one',
          (what) => `1 + ${what} stands in the place of ${what}`,
          'with it',
          (value) => 1 + value,
        );
        yield offer(
          'exponential',
          (what) => `exp(${what}) stands in the place of ${what}`,
          'with it',
          Math.exp,
        );
        yield offer(
          'divided',
          (what) => `the value is divided by ${what}`,
          'divided',
          (value) => 1 / value,
        );
      }
    }
  },
};

export const turned: CauseKind = {
  name: 'matrix transposed, kernel reversed',
  *alternatives(op) {
    for (const input of weightInputsOf(op)) {
      const { role, shape } = input.weight;
      const name = weightWords(input.leaf.name);
      if (role === 'matmul' && shape.at(-1) === shape.at(-2))
        yield {
          key: `transposed ${name}`,
          says: `${quoted(name)} is transposed`,
          family: { key: 'transposed', says: 'square matrices are transposed' },
          so: 'transposed',
          values: changed(
            input,
            one((values) => exchanged(values, shape.at(-2)!, shape.at(-1)!, 1)),
          ),
        };
      const [rows, columns] = [shape.at(-2) ?? 1, shape.at(-1)!];
      // Of the value that the op makes, the order of its rows is told by that value.
      if (role === 'matmul' && rows % 2 === 0 && !endsWith(op, input))
        yield {
          key: `halves ${name}`,
          says: `the two halves of the rows of ${quoted(name)} are swapped`,
          so: 'swapped',
          values: changed(
            input,
            one((values) => exchangedHalves(values, (rows / 2) * columns)),
          ),
        };
      if (role !== 'conv') continue;
      const [channels, inner, size] = shape as [number, number, number];
      yield {
        key: `reversed ${name}`,
        says: `the taps of ${quoted(name)} are in reversed order of time`,
        family: { key: 'reversed', says: 'the taps of kernels are in reversed order of time' },
        so: 'reversed',
        values: changed(
          input,
          one((values) => reversedRows(values, size)),
        ),
      };
      if (inner > 1 && channels % inner === 0)
        yield {
          key: `transposed ${name}`,
          says: `input and output channels of ${quoted(name)} are exchanged`,
          so: 'exchanged',
          values: changed(
            input,
            one((values) => exchanged(values, inner, inner, size)),
          ),
        };
    }
  },
};

function exchangedHalves(values: Float32Array, half: number): Float32Array {
  return reordered(
    values,
    [
      { name: '', size: values.length / (2 * half) },
      { name: '', size: 2 },
      { name: '', size: half },
    ],
    1,
    [1, 0],
  );
}

function reversedRows(values: Float32Array, size: number): Float32Array {
  const out = values.slice();
  for (let start = 0; start < out.length; start += size) out.subarray(start, start + size).reverse();
  return out;
}

/** Types of files that a weight may have been rounded to, finest first. */
const TYPES: readonly Dtype[] = ['F16', 'BF16', 'Q8_0', 'Q6_K', 'Q5_K', 'Q5_0', 'Q4_K', 'Q4_0'];

export const roundedWeight: CauseKind = {
  name: 'weight rounded to the type of a file',
  *alternatives(op) {
    for (const input of weightInputsOf(op)) {
      const { role, shape } = input.weight;
      if (role === 'vector' || role === 'buffer') continue;
      const columns = shape.at(-1)!;
      for (const type of TYPES)
        if (columns % blockSize(type) === 0 && (blockSize(type) === 1 || role !== 'conv'))
          yield {
            key: `rounded ${type} ${weightWords(input.leaf.name)}`,
            says: `${quoted(weightWords(input.leaf.name))} is rounded to ${type}`,
            family: { key: `rounded ${type}`, says: `weights are rounded to ${type}` },
            so: 'rounded',
            values: changed(
              input,
              one((values) => roundedTo(values, type, columns)),
            ),
          };
    }
  },
};

async function roundedTo(values: Float32Array, type: Dtype, columns: number): Promise<Float32Array> {
  const row = blockSize(type) === 1 ? values.length : columns;
  const out = new Float32Array(values.length);
  const bytes = await native().quantize(values, ggmlType(type), row, null);
  await native().dequantize(bytes, ggmlType(type), values.length, out);
  return out;
}
