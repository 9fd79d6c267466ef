/** Weights that are left out, used twice, turned, taken from elsewhere or rounded. */
import { blockSize, type Dtype, ggmlType } from '../../../dtype.js';
import { native } from '../../../native.js';
import {
  type Alternative,
  type CauseKind,
  type CauseOp,
  changed,
  each,
  type OpInput,
  type Transform,
  weightInputsOf,
} from '../alternative.js';
import { exchanged, type Values } from '../layout.js';
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
        says: string,
        so: string,
        change: (value: number) => number,
      ): Alternative => ({
        key: `${key} ${name}`,
        says,
        so,
        values: changed(input, each(change)),
      });
      if (use === 'add') {
        yield offer('left-out', `${quoted(name)} is left out`, 'without it', () => 0);
        yield offer('twice', `${quoted(name)} is added twice`, 'added twice', (value) => 2 * value);
        yield offer('negated', `${quoted(name)} is subtracted`, 'subtracted', (value) => -value);
      }
      if (use === 'mul') {
        yield offer('left-out', `${quoted(name)} is left out`, 'without it', () => 1);
        yield offer(
          'twice',
          `${quoted(name)} is multiplied by twice`,
          'multiplied twice',
          (value) => value * value,
        );
        yield offer(
          'plus-one',
          `1 + ${quoted(name)} stands in the place of ${quoted(name)}`,
          'with it',
          (value) => 1 + value,
        );
        yield offer(
          'exponential',
          `exp(${quoted(name)}) stands in the place of ${quoted(name)}`,
          'with it',
          Math.exp,
        );
        yield offer('divided', `the value is divided by ${quoted(name)}`, 'divided', (value) => 1 / value);
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
          so: 'transposed',
          values: changed(
            input,
            one((values) => exchanged(values, shape.at(-2)!, shape.at(-1)!, 1)),
          ),
        };
      if (role !== 'conv') continue;
      const [channels, inner, size] = shape as [number, number, number];
      yield {
        key: `reversed ${name}`,
        says: `the taps of ${quoted(name)} are in reversed order of time`,
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

function reversedRows(values: Float32Array, size: number): Float32Array {
  const out = values.slice();
  for (let start = 0; start < out.length; start += size) out.subarray(start, start + size).reverse();
  return out;
}

export const otherExpert: CauseKind = {
  name: 'another expert',
  *alternatives(op) {
    for (const input of weightInputsOf(op)) {
      const [experts, ...rest] = input.weight.shape;
      if (input.uses.every((use) => use.op !== 'mulMatId') || experts! < 2) continue;
      const inner = rest.reduce((a, b) => a * b, 1);
      for (const by of [1, -1])
        yield {
          key: `expert ${by}`,
          says: `every token runs through the expert ${by > 0 ? 'after' : 'before'} its own`,
          so: `with expert ${by > 0 ? '+' : '−'} 1`,
          values: changed(
            input,
            one((values) => {
              const at = (by > 0 ? inner : values.length - inner) % values.length;
              const out = new Float32Array(values.length);
              out.set(values.subarray(at));
              out.set(values.subarray(0, at), values.length - at);
              return out;
            }),
          ),
        };
    }
  },
};

/** Blocks whose weights are tried: the nearest ones, the first and the last. */
const NEAR = 4;

export const otherBlock: CauseKind = {
  name: "another block's weights",
  *alternatives(op) {
    const own = weightInputsOf(op);
    if (op.block === null || own.length === 0) return;
    const blocks = op.config.num_hidden_layers;
    const near = Array.from({ length: NEAR }, (_, index) => [
      op.block! - index - 1,
      op.block! + index + 1,
    ]).flat();
    const tried = new Set([...near, 0, blocks - 1].filter((block) => block >= 0 && block < blocks));
    tried.delete(op.block);
    for (const block of tried) {
      const rename = (name: string) => name.replace(`layers.${op.block}.`, `layers.${block}.`);
      const swapped = replacedWeights(op, rename);
      if (swapped === undefined) continue;
      yield {
        key: `block ${block - op.block}`,
        says: (blocks) => otherBlockWords(blocks, block - op.block!),
        so: 'with them',
        values: swapped,
      };
    }
  },
};

export const otherWeight: CauseKind = {
  name: 'another weight of the block',
  *alternatives(op) {
    const own = weightInputsOf(op);
    const seen = new Set<string>();
    for (const { leaf, weight } of own)
      for (const other of op.weights.values()) {
        if (other.name === leaf.name || own.some((input) => input.leaf.name === other.name)) continue;
        if (blockOf(other.name) !== blockOf(leaf.name) || other.shape.join() !== weight.shape.join())
          continue;
        const [from, to] = differingPart(leaf.name, other.name);
        const swapped = replacedWeights(op, (name) => name.replace(from, to));
        const key = `other ${weightWords(leaf.name)} ${weightWords(other.name)}`;
        const alone = new Map([[leaf.input, () => op.weightValues(other.name)]]);
        if (seen.has(key)) continue;
        seen.add(key);
        const says = `${quoted(weightWords(other.name))} stands in the place of ${quoted(weightWords(leaf.name))}`;
        yield { key, says, so: 'with it', values: alone };
        if (swapped !== undefined && own.length > 1 && swapped.size > 1)
          yield {
            key: `module ${from} ${to}`,
            says: `the weights of ${quoted(moduleOf(other.name))} stand in the place of those of ${quoted(moduleOf(leaf.name))}`,
            so: 'with them',
            values: swapped,
          };
      }
    // Two of an op's own weights of one shape in each other's place.
    for (const [index, a] of own.entries())
      for (const b of own.slice(index + 1))
        if (a.weight.shape.join() === b.weight.shape.join())
          yield {
            key: `exchanged ${weightWords(a.leaf.name)} ${weightWords(b.leaf.name)}`,
            says: `${quoted(weightWords(a.leaf.name))} and ${quoted(weightWords(b.leaf.name))} are exchanged`,
            so: 'exchanged',
            values: new Map([
              [a.leaf.input, () => op.weightValues(b.leaf.name)],
              [b.leaf.input, () => op.weightValues(a.leaf.name)],
            ]),
          };
  },
};

function otherBlockWords(blocks: readonly number[], by: number): string {
  if (blocks.length === 1) return `block ${blocks[0]} has the weights of block ${blocks[0]! + by}`;
  const far = Math.abs(by) === 1 ? 'the block' : `${Math.abs(by)} blocks`;
  return `each of blocks ${blocks.join(', ')} has the weights of ${far} ${by < 0 ? 'before' : 'after'} it`;
}

/** All weights of an op under other names; undefined where the model lacks one of the same shape. */
function replacedWeights(op: CauseOp, rename: (name: string) => string): Map<string, Transform> | undefined {
  const found = new Map<string, Transform>();
  for (const { leaf, weight } of weightInputsOf(op)) {
    const other = op.weights.get(rename(leaf.name));
    if (other === undefined || other.shape.join() !== weight.shape.join()) return undefined;
    if (other.name !== leaf.name) found.set(leaf.input, () => op.weightValues(other.name));
  }
  return found.size === 0 ? undefined : found;
}

function blockOf(name: string): string {
  return /layers\.\d+\./.exec(name)?.[0] ?? '';
}

function moduleOf(name: string): string {
  return weightWords(name).replace(/[.:][^.:]*$/, '');
}

/** What stands in two names where they differ, dots between kept whole. */
function differingPart(a: string, b: string): [string, string] {
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  while (start > 0 && !/[._]/.test(a[start - 1]!)) start--;
  return [a.slice(start, a.length - end), b.slice(start, b.length - end)];
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
            key: `rounded ${type}`,
            says: `${quoted(weightWords(input.leaf.name))} is rounded to ${type}`,
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
