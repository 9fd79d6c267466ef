/** The one check of tap names: writers, readers and imports refuse the same ones. */
import { INDEX_COLUMNS } from './arrow/index-columns.js';

/** Longest name, in UTF-16 units. */
export const MAX_NAME_UNITS = 1024;

const INDEX_NAMES: readonly string[] = INDEX_COLUMNS;

/** What a tap name would have to be, where `name` is none; else undefined. */
export function tapNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'a name that is not empty';
  if (name.length > MAX_NAME_UNITS) return `a name of at most ${MAX_NAME_UNITS} UTF-16 units`;
  if (hasLoneSurrogate(name)) return 'a name of well-formed Unicode';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused.
  if (/[\u0000-\u001f\u007f]/.test(name)) return 'a name without control characters';
  // These would collide with other columns of the same file.
  if (INDEX_NAMES.includes(name)) return `a name other than ${INDEX_NAMES.join(', ')}`;
  return name.endsWith('#shape') ? 'a name that does not end in #shape' : undefined;
}

/**
 * Surrogates that do not come as a pair; `isWellFormed` needs a newer Node than the oldest supported one's
 * types.
 */
function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text);
}
