/** Weights that are taken from elsewhere: another expert, another block, another module. */
import { type CauseKind, type CauseOp, changed, type Transform, weightInputsOf } from '../alternative.js';
import { quoted, weightWords } from '../words.js';

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
          values: changed(input, (values) => {
            const at = (by > 0 ? inner : values.length - inner) % values.length;
            const out = new Float32Array(values.length);
            out.set(values.subarray(at));
            out.set(values.subarray(0, at), values.length - at);
            return out;
          }),
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
