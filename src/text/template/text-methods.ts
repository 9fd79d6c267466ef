import { asInteger, Callable, iterate, TemplateFault, Tuple, truth, typeName, type Value } from './values.js';

type Method = (text: string, args: Value[], named: Map<string, Value>) => Value;

/** Python's whitespace, which is not JavaScript's. */
const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const START = new RegExp(`^${SPACE}+`, 'u');
const END = new RegExp(`${SPACE}+$`, 'u');
const BREAKS = '\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029';
const LINE = new RegExp(`\\r\\n|[${BREAKS}]`, 'u');

/** Python's `strip`, of blanks or of some letters. */
export function strip(text: string, letters: Value | undefined, side: 'both' | 'left' | 'right'): string {
  if (letters === undefined || letters === null) {
    const start = side === 'right' ? text : text.replace(START, '');
    if (side === 'left') return start;
    let end = start.length; // not by the expression, whose time grows with the square of blanks
    while (end > 0 && END.test(start[end - 1]!)) end--;
    return start.slice(0, end);
  }
  const set = new Set(Array.from(textOf(letters)));
  const all = Array.from(text);
  let [from, to] = [0, all.length];
  if (side !== 'right') while (from < to && set.has(all[from]!)) from++;
  if (side !== 'left') while (to > from && set.has(all[to - 1]!)) to--;
  return all.slice(from, to).join('');
}

/** Runs of letters begin with a capital, the rest is small. */
export function title(text: string): string {
  return text.replace(/\p{L}[\p{L}\p{M}]*/gu, (word) => capitalize(word));
}

export function capitalize(text: string): string {
  const [first = '', ...rest] = Array.from(text);
  return first.toUpperCase() + rest.join('').toLowerCase();
}

export function replaceText(text: string, from: string, to: string, count: number): string {
  if (count < 0)
    return text.split(from === '' ? /(?:)/u : from).length > 0 ? replaceAll(text, from, to) : text;
  let [result, at] = ['', 0];
  for (let done = 0; done < count; done++) {
    const found = text.indexOf(from, at);
    if (found < 0 || from === '') break;
    result += text.slice(at, found) + to;
    at = found + from.length;
  }
  return result + text.slice(at);
}

function replaceAll(text: string, from: string, to: string): string {
  return from === ''
    ? [to, ...Array.from(text, (letter) => letter + to)].join('')
    : text.replaceAll(from, () => to);
}

/** An argument that must be a text. */
export function textOf(value: Value | undefined): string {
  if (typeof value === 'string') return value;
  throw new TemplateFault(`expected a string, not ${value === undefined ? 'nothing' : typeName(value)}`);
}

const starts = (ends: boolean): Method => {
  return (text, [what]) => {
    const options = what instanceof Tuple ? what.items.map(textOf) : [textOf(what)];
    return options.some((each) => (ends ? text.endsWith(each) : text.startsWith(each)));
  };
};

const isAll = (pattern: RegExp): Method => {
  return (text) => text !== '' && Array.from(text).every((letter) => pattern.test(letter));
};

function splitText(text: string, [sep, most]: Value[], named: Map<string, Value>, fromRight: boolean): Value {
  const separator = sep ?? named.get('sep') ?? null;
  const count = asInteger(most ?? named.get('maxsplit') ?? -1, 'maxsplit');
  const limit = count < 0 ? Number.POSITIVE_INFINITY : count;
  if (separator === null) {
    if (count >= 0 && fromRight) throw new TemplateFault('rsplit without a separator is not supported');
    let rest = strip(text, undefined, 'left');
    const words: string[] = [];
    while (rest !== '') {
      const blank = words.length < limit ? rest.search(new RegExp(SPACE, 'u')) : -1;
      if (blank < 0) {
        words.push(words.length < limit ? rest : strip(rest, undefined, 'right'));
        break;
      }
      words.push(rest.slice(0, blank));
      rest = strip(rest.slice(blank), undefined, 'left');
    }
    return words;
  }
  const by = textOf(separator);
  if (by === '') throw new TemplateFault('empty separator');
  const parts = text.split(by);
  if (parts.length - 1 <= limit) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - limit).join(by), ...parts.slice(parts.length - limit)]
    : [...parts.slice(0, limit), parts.slice(limit).join(by)];
}

function position(text: string, what: Value | undefined, last: boolean): number {
  const at = last ? text.lastIndexOf(textOf(what)) : text.indexOf(textOf(what));
  return at < 0 ? -1 : Array.from(text.slice(0, at)).length;
}

function partition(text: string, what: Value | undefined, last: boolean): Tuple {
  const by = textOf(what);
  if (by === '') throw new TemplateFault('empty separator');
  const at = last ? text.lastIndexOf(by) : text.indexOf(by);
  if (at < 0) return new Tuple(last ? ['', '', text] : [text, '', '']);
  return new Tuple([text.slice(0, at), by, text.slice(at + by.length)]);
}

function pad(text: string, [width, fill = ' ']: Value[], left: boolean): string {
  const missing = Math.max(0, asInteger(width ?? null, 'width') - Array.from(text).length);
  if (missing > 1_000_000) throw new TemplateFault('a text padded to more than 1,000,000 letters');
  return left ? textOf(fill).repeat(missing) + text : text + textOf(fill).repeat(missing);
}

/** `'{} {0} {name}'.format(...)`, without format specifications. */
function format(
  text: string,
  args: Value[],
  named: Map<string, Value>,
  print: (value: Value) => string,
): string {
  let next = 0;
  let byPlace = false;
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (match, field: string | undefined) => {
    if (match === '{{' || match === '}}') return match[0]!;
    if (field === undefined) throw new TemplateFault('a single brace in format()');
    const isNumber = /^\d+$/.test(field);
    if (field === '' ? byPlace : isNumber && next > 0)
      throw new TemplateFault(
        'cannot switch between manual field specification and automatic field numbering',
      );
    byPlace ||= isNumber;
    const value = field === '' ? args[next++] : /^\d+$/.test(field) ? args[Number(field)] : named.get(field);
    if (!/^\w*$/.test(field)) throw new TemplateFault(`the format field {${field}} is not supported`);
    if (value === undefined) throw new TemplateFault(`format() without a value for {${field}}`);
    return print(value);
  });
}

const METHODS: Record<string, Method> = {
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  casefold: (text) => text.toLowerCase().replaceAll('\u00df', 'ss'),
  strip: (text, [letters]) => strip(text, letters, 'both'),
  lstrip: (text, [letters]) => strip(text, letters, 'left'),
  rstrip: (text, [letters]) => strip(text, letters, 'right'),
  title: (text) => title(text),
  capitalize: (text) => capitalize(text),
  startswith: starts(false),
  endswith: starts(true),
  split: (text, args, named) => splitText(text, args, named, false),
  rsplit: (text, args, named) => splitText(text, args, named, true),
  splitlines: (text, [keep]) => {
    if (keep !== undefined && truth(keep)) throw new TemplateFault('splitlines(True) is not supported');
    const lines = text.split(LINE);
    return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
  },
  replace: (text, [from, to, count]) =>
    replaceText(text, textOf(from), textOf(to), count === undefined ? -1 : asInteger(count, 'count')),
  find: (text, [what]) => position(text, what, false),
  rfind: (text, [what]) => position(text, what, true),
  index: (text, [what]) => {
    const at = position(text, what, false);
    if (at < 0) throw new TemplateFault('substring not found');
    return at;
  },
  count: (text, [what]) =>
    textOf(what) === '' ? Array.from(text).length + 1 : text.split(textOf(what)).length - 1,
  join: (text, [items]) =>
    iterate(items ?? null)
      .map(textOf)
      .join(text),
  isdigit: isAll(/[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089]/u),
  isnumeric: isAll(/\p{N}/u),
  isdecimal: isAll(/\p{Nd}/u),
  isalpha: isAll(/\p{L}/u),
  isalnum: isAll(/[\p{L}\p{N}]/u),
  isspace: isAll(new RegExp(SPACE, 'u')),
  isupper: (text) => /\p{Lu}/u.test(text) && !/[\p{Ll}\p{Lt}]/u.test(text),
  islower: (text) => /\p{Ll}/u.test(text) && !/[\p{Lu}\p{Lt}]/u.test(text),
  partition: (text, [what]) => partition(text, what, false),
  rpartition: (text, [what]) => partition(text, what, true),
  removeprefix: (text, [what]) => (text.startsWith(textOf(what)) ? text.slice(textOf(what).length) : text),
  removesuffix: (text, [what]) =>
    textOf(what) !== '' && text.endsWith(textOf(what)) ? text.slice(0, -textOf(what).length) : text,
  ljust: (text, args) => pad(text, args, false),
  rjust: (text, args) => pad(text, args, true),
};
/** Arguments by name that a method knows. */
const NAMED: Record<string, readonly string[]> = { split: ['sep', 'maxsplit'], rsplit: ['sep', 'maxsplit'] };
/** What `str` has and is not supported here: said, not taken for an unknown field. */
const OTHERS =
  'center encode expandtabs format_map isascii isidentifier isprintable istitle maketrans rindex swapcase translate zfill'.split(
    ' ',
  );

/** A method of a text; undefined where Python has none. */
export function textMethod(
  text: string,
  name: string,
  print: (value: Value) => string,
): Callable | undefined {
  if (name === 'format') return new Callable(name, (args, named) => format(text, args, named, print));
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (method === undefined) {
    if (OTHERS.includes(name)) throw new TemplateFault(`str.${name}() is not supported`);
    return undefined;
  }
  return new Callable(name, (args, named) => {
    for (const key of named.keys())
      if (!NAMED[name]?.includes(key)) throw new TemplateFault(`str.${name}() takes no argument ${key}`);
    return method(text, args, named);
  });
}
