const SIMPLE: Readonly<Record<string, string>> = {
  ...{ '\\': '\\', "'": "'", '"': '"', '\n': '', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' },
  v: '\v',
};
const CODES = [/^[0-7]{1,3}/, /^x([\da-fA-F]{2})/, /^u([\da-fA-F]{4})/, /^U([\da-fA-F]{8})/] as const;

/** True if a string begins at the start of `text`. */
export function beginsString(text: string): boolean {
  return /^[uUrR]?['"]/.test(text);
}

/**
 * The Python string that begins at `start`, as its literal means it, and where it ends; undefined where it is
 * none, or has an escape by a character's name.
 */
export function readPythonString(text: string, start: number): { value: string; end: number } | undefined {
  const [prefix] = /^[uUrR]?/.exec(text.slice(start, start + 1))!;
  let at = start + prefix.length;
  const [quote] = /^(?:'''|"""|'|"|)/.exec(text.slice(at, at + 3))!;
  if (quote === '') return undefined;
  at += quote.length;
  let value = '';
  for (;;) {
    const next = text[at];
    if (next === undefined) return undefined;
    if (text.startsWith(quote, at)) return { value, end: at + quote.length };
    if (next === '\\') {
      const escaped = readEscape(text, at + 1);
      if (escaped === undefined) return undefined;
      value += /[rR]/.test(prefix) ? text.slice(at, at + 2) : escaped.value;
      at = /[rR]/.test(prefix) ? at + 2 : escaped.end;
      continue;
    }
    if (quote.length === 1 && (next === '\n' || next === '\r')) return undefined;
    value += next;
    at++;
  }
}

/** What follows a backslash. */
function readEscape(text: string, at: number): { value: string; end: number } | undefined {
  const next = text[at];
  if (next === undefined || next === 'N') return undefined;
  if (Object.hasOwn(SIMPLE, next)) return { value: SIMPLE[next]!, end: at + 1 };
  for (const [place, pattern] of CODES.entries()) {
    const found = pattern.exec(text.slice(at, at + 9));
    if (found === null) continue;
    const code = place === 0 ? Number.parseInt(found[0], 8) : Number.parseInt(found[1]!, 16);
    return code > 0x10ffff ? undefined : { value: String.fromCodePoint(code), end: at + found[0].length };
  }
  // Python keeps the backslash of what is no escape, but for codes that are cut.
  return 'xuU'.includes(next) ? undefined : { value: `\\${next}`, end: at + 1 };
}
