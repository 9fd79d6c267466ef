/**
 * The literals that NumPy's headers are made of: a dictionary of strings, booleans, numbers, tuples and
 * lists.
 */
type Literal =
  | string
  | number
  | boolean
  | null
  | readonly Literal[]
  | { list: readonly Literal[] }
  | Map<string, Literal>;

const MAX_DEPTH = 16;

/**
 * The value of a literal as Python's `ast.literal_eval` reads it (and Python 2's long integers): a tuple is
 * an array, a list `{ list }`; undefined for anything else.
 */
export function parsePythonLiteral(text: string): Literal | undefined {
  let at = 0;
  const blank = (): void => {
    // Python's, which has no other kinds of space; a comment ends with its line, a line that ends in a
    // backslash goes on.
    for (let length = -1; length !== 0; at += length)
      length = /^(?:[ \t\n\r\f]|\\\r?\n|#[^\n\r]*)*/.exec(text.slice(at, at + 4096))![0].length;
  };
  const take = (token: string): boolean => {
    blank();
    if (!text.startsWith(token, at)) return false;
    at += token.length;
    return true;
  };
  const fail = (): never => {
    throw new SyntaxError();
  };
  const items = (close: string, depth: number): Literal[] => {
    const list: Literal[] = [];
    while (!take(close)) {
      list.push(value(depth + 1));
      if (!take(',')) {
        if (!take(close)) fail();
        break;
      }
    }
    return list;
  };
  // Strings side by side are one.
  const strings = (): string => {
    let all = '';
    do {
      const found = readPythonString(text, at) ?? fail();
      all += found.value;
      at = found.end;
      blank();
    } while (beginsString(text.slice(at, at + 2)));
    return all;
  };
  const value = (depth: number): Literal => {
    if (depth > MAX_DEPTH) fail();
    blank();
    const rest = text.slice(at, at + 4096);
    if (beginsString(rest)) return strings();
    const word = /^(?:True|False|None)(?!\w)/.exec(rest);
    if (word !== null) {
      at += word[0].length;
      return word[0] === 'None' ? null : word[0] === 'True';
    }
    // A decimal integer has no zeros in front; no header has a fraction.
    const number =
      /^([-+]?)(0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?0)*|[1-9](?:_?\d)*)L?(?![\w.])/.exec(
        rest,
      );
    if (number !== null) {
      at += number[0].length;
      return Number(number[2]!.replaceAll('_', '')) * (number[1] === '-' ? -1 : 1);
    }
    if (take('(')) {
      const list = items(')', depth);
      // Parentheses around one value without a comma are no tuple.
      return list.length === 1 && text[at - 2] !== ',' && !/,[ \t\n\r\f]*\)$/.test(text.slice(0, at))
        ? list[0]!
        : list;
    }
    if (take('[')) return { list: items(']', depth) };
    if (!take('{')) return fail();
    const map = new Map<string, Literal>();
    while (!take('}')) {
      const key = value(depth + 1);
      if (typeof key !== 'string' || !take(':')) return fail();
      map.set(key, value(depth + 1));
      if (!take(',')) {
        if (!take('}')) fail();
        break;
      }
    }
    return map;
  };
  try {
    const found = value(0);
    blank();
    return at === text.length ? found : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const SIMPLE: Readonly<Record<string, string>> = {
  ...{ '\\': '\\', "'": "'", '"': '"', '\n': '', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' },
  v: '\v',
};
const CODES = [/^[0-7]{1,3}/, /^x([\da-fA-F]{2})/, /^u([\da-fA-F]{4})/, /^U([\da-fA-F]{8})/] as const;

/** True if a string begins at the start of `text`. */
function beginsString(text: string): boolean {
  return /^[uUrR]?['"]/.test(text);
}

/**
 * The Python string that begins at `start`, as its literal means it, and where it ends; undefined where it is
 * none, or has an escape by a character's name.
 */
function readPythonString(text: string, start: number): { value: string; end: number } | undefined {
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
