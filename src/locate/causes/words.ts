/**
 * The few names that causes know: what axes are made of, and what their entries are called. All else is read
 * off the trace.
 */
import { opWords } from '../faults/plain-words.js';
import { tapPlace } from '../replay/tap-graph.js';

/** Axes that join heads and channels without saying so in their name. */
export const AXIS_PARTS: Readonly<Record<string, readonly string[]>> = {
  C: ['nq+nk', 'd'],
  'nk*d/2': ['nk/2', 'd'],
};

const ENTRIES: Readonly<Record<string, readonly [one: string, many: string]>> = {
  nq: ['query head', 'query heads'],
  nk: ['KV head', 'KV heads'],
  'nq+nk': ['head', 'heads'],
  'nk/2': ['head', 'heads'],
  d: ['channel', 'channels'],
  E: ['expert', 'experts'],
  'E+1': ['class', 'classes'],
  S: ['key', 'keys'],
  leads: ['lead row', 'lead rows'],
};

/** What an entry of an axis is called, e.g. `KV head`; `entry` of an axis without a word. */
export function entryWords(axis: string, count: number): string {
  const [one, many] = ENTRIES[axis] ?? ['column', 'columns'];
  return count === 1 ? one : many;
}

/**
 * Axes along which heads lie, in the order in which query heads share them: the first is split over the
 * second.
 */
export const HEAD_AXES = { queries: 'nq', keys: 'nk', channels: 'd' } as const;

/** The router's classes: experts, and one that runs none. */
export const CLASSES = { axis: 'E+1', keep: 'expert_keep' } as const;

/** Two halves of an axis in words; by default halves. */
export const HALVES: Readonly<Record<string, string>> = { F: 'gate and up' };

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
