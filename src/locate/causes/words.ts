/** What causes call axes and values: axes by the records of the families, all else by the trace. */
import { AXIS_ENTRIES } from '../../families/axes.js';
import { FAMILIES } from '../../families/families.js';
import type { Family } from '../../families/family.js';
import { opWords } from '../faults/plain-words.js';
import { tapPlace } from '../replay/tap-graph.js';

export { HEAD_AXES } from '../../families/axes.js';

/** What the first family says that knows an axis. */
function known<T>(of: (axes: Family['axes']) => T | undefined): T | undefined {
  for (const { axes } of FAMILIES) {
    const found = of(axes);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Factors of an axis that joins heads and channels without saying so; undefined for others. */
export function axisParts(axis: string): readonly string[] | undefined {
  return known(({ parts }) => parts[axis]);
}

/** What an entry of an axis is called, e.g. `KV head`; `column` of an axis without a word. */
export function entryWords(axis: string, count: number): string {
  const own = AXIS_ENTRIES[axis] ?? known(({ entries }) => entries[axis]);
  const [one, many] = own ?? ['column', 'columns'];
  return count === 1 ? one : many;
}

/** The two halves of an axis `2X` in words, by `X`; undefined where they are just halves. */
export function halfWords(axis: string): string | undefined {
  return known(({ halves }) => halves[axis]);
}

/** True for the axis of a router's classes, of which the last runs no expert. */
export function isClassAxis(axis: string | undefined): boolean {
  return FAMILIES.some(({ axes: { classes } }) => classes !== undefined && classes.axis === axis);
}

/** True for the constant that is 0 for that class. */
export function isKeptConstant(name: string): boolean {
  return FAMILIES.some(({ axes: { classes } }) => classes?.keep === name);
}

/** A value in a sentence. */
export function valueWords(tap: string): string {
  return opWords(tapPlace(tap).suffix).name;
}

/** A weight's name without model and block, e.g. `self_attn.o_proj.weight`. */
export function weightWords(name: string): string {
  return name.replace(/^model\./, '').replace(/^layers\.\d+\./, '');
}

/** A name of the program in a sentence. */
export function quoted(name: string): string {
  return `\`${name}\``;
}
