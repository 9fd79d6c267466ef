/**
 * White space around the tags of a chat template, as Jinja drops it with `trim_blocks` and `lstrip_blocks`.
 */

const OPEN = /\{[{%#]/g;

/**
 * A template without the blanks that lead up to a tag at the start of its line, and without the line end
 * after a tag. Only `{% %}` and `{# #}` count, and only where they are tags: what looks like one in a text or
 * inside of quotes stays as it is.
 */
export function withoutBlockSpace(template: string): string {
  let done = '';
  let at = 0;
  for (;;) {
    OPEN.lastIndex = at;
    const start = OPEN.exec(template)?.index ?? template.length;
    const text = template.slice(at, start);
    if (start === template.length) return done + text;
    const kind = template[start + 1]!;
    const end = endOfTag(template, start, kind);
    const isBlock = kind !== '{';
    // A line begins at the template's start or after a line end, which may be that of the tag before.
    const isLineStart = at === 0 || template[at - 1] === '\n' || text.includes('\n');
    done += isBlock && isLineStart ? text.replace(/[ \t]+$/, blanks(text)) : text;
    done += template.slice(start, end);
    at = isBlock && template[end] === '\n' ? end + 1 : end;
  }
}

/** What replaces the blanks at the end of a text: nothing, if they are all of its last line. */
function blanks(text: string): string {
  const line = text.slice(text.lastIndexOf('\n') + 1);
  return line.trim() === '' ? '' : (/[ \t]+$/.exec(text)?.[0] ?? '');
}

/**
 * Where a tag ends: after its closing mark, which in expressions counts outside of quotes and brackets alone.
 */
function endOfTag(template: string, start: number, kind: string): number {
  if (kind === '#') {
    const end = template.indexOf('#}', start + 2);
    return end < 0 ? template.length : end + 2;
  }
  const close = kind === '{' ? '}}' : '%}';
  let depth = 0;
  for (let at = start + 2; at < template.length; at++) {
    const letter = template[at]!;
    if (depth === 0 && template.startsWith(close, at)) return at + 2;
    if (letter === '"' || letter === "'") {
      for (at++; at < template.length && template[at] !== letter; at++) if (template[at] === '\\') at++;
    } else if ('([{'.includes(letter)) depth++;
    else if (')]}'.includes(letter)) depth--;
  }
  return template.length;
}
