import { beginsString, readPythonString } from './python-string.js';

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
