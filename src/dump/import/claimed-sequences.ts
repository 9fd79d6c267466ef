/** Whether values agree with what the user says of the sequences of a batch. */
import { ZayascopeError } from '../../errors.js';
import type { TapSpec } from '../format.js';
import type { CompiledNameMap, NameRule } from '../names/name-map.js';
import { type ForeignSource, importError } from './foreign.js';
import { fitShape, guessTokenShape, planLayout, squeezed } from './layout.js';

/**
 * Checks the lengths that were given for a source that recorded none. What shows them is a value with states
 * in front of the tokens: each sequence has its own, so one axis of all tokens is one sequence, and several
 * sequences have an axis of their own. Values without states may be flat over all sequences: they show
 * nothing.
 * @throws `BAD_ARGUMENT` naming the value that contradicts.
 */
export function checkClaimedSequences(
  { claimed = [], name: file }: ForeignSource,
  map: CompiledNameMap,
  targets: ReadonlyMap<string, TapSpec> | undefined,
): void {
  for (const { name, shape, lengths, isAssumed } of claimed) {
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    const counts = map
      .resolve(name, undefined)
      .filter(({ tap, rule }) => (targets?.has(tap) ?? true) && hasStates(rule))
      .map(({ tap, rule }) => sequencesShown(shape, tokens, rule, targets?.get(tap)));
    const [count] = counts;
    if (count === undefined || counts.some((other) => other !== count)) continue;
    const length = tokens / count;
    if (lengths.length === count && lengths.every((own) => own === length)) continue;
    throw importError(
      'BAD_ARGUMENT',
      isAssumed
        ? `a value of one sequence of ${tokens} tokens, since the folder records none`
        : `a value of sequences of ${lengths.join(' and ')} tokens, as given`,
      `shape [${shape.join(', ')}], which is ${count === 1 ? 'one sequence' : `${count} sequences`} of ${length}. ${advice(count, length)}`,
      `${name} of ${file}`,
    );
  }
}

/** What to give, or where the port may be at fault. */
function advice(count: number, length: number): string {
  if (count > 1)
    return `Pass --sequences ${Array.from({ length: count }, () => length).join()}, or record them with begin(batch)`;
  return `Leave --sequences out if it is one. If there were several, the port runs this over all of them as one, so that the first tokens of a sequence see the last ones of another: a fault of the port`;
}

function hasStates({ layout = [] }: NameRule): boolean {
  return layout.some(({ op }) => op === 'lastTokens');
}

/** Undefined where the shape can be read in no way, or in two. */
function sequencesShown(
  shape: readonly number[],
  tokens: number,
  rule: NameRule,
  target: TapSpec | undefined,
): number | undefined {
  const own = squeezed(shape);
  const [several = 1, ...rest] = own;
  const isOne = fits(own, tokens, rule, target);
  // As many sequences as tokens: rows.
  const areSeveral =
    several > 1 && several < tokens && tokens % several === 0 && fits(rest, tokens / several, rule, target);
  if (isOne === areSeveral) return undefined;
  return isOne ? 1 : several;
}

function fits(
  shape: readonly number[],
  tokens: number,
  rule: NameRule,
  target: TapSpec | undefined,
): boolean {
  try {
    const context = { tokens, visible: tokens, target: target?.shape };
    const laid = planLayout(shape, rule.layout ?? [], context, rule.from).shape;
    return target === undefined
      ? guessTokenShape(laid, tokens) !== undefined
      : fitShape(laid, target.shape, tokens, rule.prefix === true) !== undefined;
  } catch (error) {
    if (error instanceof ZayascopeError && error.code === 'SHAPE_MISMATCH') return false;
    throw error;
  }
}
