import { FAMILIES } from '../../families/families.js';
import type { Family } from '../../families/family.js';
import { hasRole } from '../../families/roles.js';
import { numberRuns } from '../../number-runs.js';

/** What the ops of the model are called in sentences, and what tends to go wrong in each. */

import type { HalfAttention } from './ggml/half-attention.js';
import type { HalfSums } from './ggml/half-sums.js';

/** An op in words. */
export interface OpWords {
  /** Noun phrase, e.g. `the grouped convolution`. */
  name: string;
  /** What to look at where the op itself is wrong: the choices that implementations differ in. */
  check: string;
}

/**
 * An op in words, by its tap without the block (see `tap-graph.ts`). @param family default: the first that
 * has words for it.
 */
export function opWords(
  suffix: string,
  family: Family | undefined = FAMILIES.find(({ words }) => words[suffix] !== undefined),
): OpWords {
  const [name, check] = family?.words[suffix] ?? [`\`${suffix}\``, 'what this program computes there'];
  return { name, check };
}

/**
 * One plain sentence about what a policy's choice does, e.g. for `patches` set to `F16` at the grouped
 * convolution.
 */
export function choiceSentence(kind: string, set: string, suffix: string, family: Family): string {
  const { name } = opWords(suffix, family);
  const sentences: Readonly<Record<string, string>> = {
    patches: `im2col in ${set} rounds the inputs of ${name}`,
    kernel: `${set} rounds the weight of ${name}`,
    form: `the tanh approximation stands in for the exact form in ${name}`,
    round: `${set} rounds ${name}`,
    angles: `the angles of ${name} are multiplied up from pair to pair, as ggml's rope does, and not powers of the base`,
    eps: `the epsilon of ${set} is the smallest norm in ${name}`,
    skip:
      set === 'identity'
        ? `tokens of the skip class get their own value in ${name}`
        : 'the skip class is never chosen: its tokens go to the best real expert',
    parameters: `the stored weights rounded to ${set} as they are loaded`,
    weight:
      set === 'stored'
        ? `the weight of ${name} stays as stored, and its inputs are rounded to that dtype`
        : `both operands of ${name} are rounded to ${set}`,
  };
  if (kind === 'dtype')
    return hasRole(family, 'attention.weights', `layers.0${suffix}`)
      ? `keys and queries are rounded to ${set} for ${name}`
      : `values and attention weights are rounded to ${set} for ${name}`;
  return sentences[kind] ?? `${kind} is ${set} in ${name}`;
}

/** A product that a build of ggml sums in F16: see `ggml/half-sums.ts`. */
export function halfSumsSentence(suffix: string, { build, same, sampled }: HalfSums, family: Family): string {
  return `the sums of ${opWords(suffix, family).name} are made in F16, as ggml makes them row by row where it was built for ${build}: computed so, ${same} of ${sampled} sampled values are the dump's to the bit.`;
}

/** One of attention's products over an F16 cache, summed in F16: see `ggml/half-attention.ts`. */
export function halfAttentionSentence(
  suffix: string,
  { build, steps, tokens, exact, left }: HalfAttention,
  family: Family,
): string {
  const rounded = choiceSentence('dtype', 'F16', suffix, family);
  const sums =
    steps === 'one' ? 'in steps of one token their products are summed' : 'their products are summed';
  return `${rounded}, and ${sums} in F16, as ggml does row by row where it was built for ${build}: recomputed so, the error of a sample of ${tokens} tokens falls from ${exact.toExponential(1)} to ${left === 0 ? '0' : left.toExponential(1)}.`;
}

/** `blocks 0–7, 9`, `block 3`, `every block`; '' where none is named. */
export function blockWords(blocks: readonly number[], total: number): string {
  if (blocks.length === 0) return '';
  if (blocks.length === total && total > 1) return 'every block';
  const words = numberRuns(blocks).map(({ first, last }) =>
    first === last ? String(first) : `${first}–${last}`,
  );
  return `${blocks.length === 1 ? 'block' : 'blocks'} ${words.join(', ')}`;
}
