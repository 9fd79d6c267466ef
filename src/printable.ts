/**
 * What may not reach a terminal as it is: control characters (escape sequences begin with one), controls of
 * the text's direction, line and paragraph separators, and lone surrogates. Line ends and tabs are looked
 * after separately.
 */
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/**
 * Foreign text (names, metadata, tokens, messages of other programs) as a terminal may show it: what it would
 * obey, or hide, becomes `\uXXXX`, which a string in JSON means the same by. Line ends and tabs stay: text of
 * several lines.
 */
export function printable(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/**
 * {@link printable} for a text that is to stay on its line: line ends and tabs are escaped too, so that it
 * cannot make up another line.
 */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
