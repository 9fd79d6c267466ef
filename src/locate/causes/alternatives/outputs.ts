/** A right value stored or passed on in another form: scaled, capped, shifted, of other classes. */
import { architectureOf } from '../../../models/architectures.js';
import { type CauseKind, changed, tapInputsOf } from '../alternative.js';
import type { Values } from '../layout.js';
import { isClassAxis, isKeptConstant, valueWords } from '../words.js';

const CAPS = [10, 15, 20, 30, 50];

export const outputs: CauseKind = {
  name: 'another form of the result',
  *alternatives(op) {
    if (op.output.isInteger) {
      const most = architectureOf(op.config).classes(op.config) - 1;
      for (const by of [1, -1])
        yield {
          key: `index ${by}`,
          says: `every index is one too ${by > 0 ? 'large' : 'small'}`,
          so: 'moved',
          output: (values) => (values as Int32Array).map((value) => (value + by + most + 1) % (most + 1)),
        };
      return;
    }
    for (const cap of CAPS)
      yield {
        key: `cap ${cap}`,
        says: `${valueWords(op.tap)} is capped softly at ${cap}: ${cap}·tanh(x / ${cap})`,
        so: 'capped',
        output: (values) => (values as Float32Array).map((value) => cap * Math.tanh(value / cap)),
      };
  },
};

export const classes: CauseKind = {
  name: 'classes left out',
  *alternatives(op) {
    // Probabilities over experts and a class that runs none.
    for (const input of tapInputsOf(op)) {
      const last = input.factors.at(-1);
      if (last === undefined || !isClassAxis(last.name) || input.leaf.dtype !== 'F32') continue;
      yield {
        key: 'renormalised',
        says: 'the probabilities are normalised over the experts alone, without the skip class',
        so: 'normalised so',
        values: changed(input, (values) => renormalised(values as Float32Array, last.size)),
      };
      yield {
        key: 'soft-max after the choice',
        says: 'the soft-max is taken over the chosen expert alone, after the choice: its weight is 1',
        so: 'so',
        values: changed(input, (values) => (values as Float32Array).map(() => 1)),
      };
    }
    const keep = op.inputs.find(({ leaf }) => leaf.kind === 'constant' && isKeptConstant(leaf.name));
    if (keep !== undefined)
      yield {
        key: 'skip kept',
        says: 'tokens of the skip class are treated as those of an expert',
        so: 'so',
        values: changed(keep, (values: Values) => (values as Float32Array).map(() => 1)),
      };
  },
};

function renormalised(values: Float32Array, width: number): Float32Array {
  const out = values.slice();
  for (let start = 0; start < out.length; start += width) {
    const rest = 1 - values[start + width - 1]!;
    for (let k = start; k < start + width; k++) out[k] = values[k]! / rest;
  }
  return out;
}
