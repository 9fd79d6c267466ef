import type { Budget } from './budget.js';
import { binary, contains } from './operators.js';
import { toJson, toText } from './printing.js';
import { capitalize, replaceText, strip, textOf } from './text-methods.js';
import {
  asInteger,
  asNumber,
  Callable,
  compare,
  Dict,
  equal,
  Float,
  Generator,
  Group,
  given,
  iterate,
  Markup,
  Namespace,
  TemplateFault,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

/** What filters need of the interpreter. */
export interface FilterContext {
  budget: Budget;
  /** Jinja's subscript: item, else attribute. */
  field(value: Value, name: Value): Value;
}

type Args = readonly Value[];
type Named = ReadonlyMap<string, Value>;
type Filter = (value: Value, args: Args, named: Named, context: FilterContext) => Value;

/** An argument by place or name. */
function argument(args: Args, named: Named, at: number, name: string): Value | undefined {
  return given(args[at], named.get(name));
}

function sizeOf(value: Value): number {
  if (value instanceof Dict) return value.size;
  if (value instanceof Markup) return Array.from(value.text).length;
  if (asNumber(value) !== undefined || value === null || value instanceof Generator)
    throw new TemplateFault(`object of type '${typeName(value)}' has no len()`);
  return iterate(value).length;
}

/** `attribute` of a filter: names and indices with dots between. */
function path(value: Value, attribute: Value, context: FilterContext): Value {
  const parts = typeof attribute === 'string' ? attribute.split('.') : [attribute];
  return parts.reduce<Value>((item, part) => {
    const isIndex = typeof part === 'string' && /^\d+$/.test(part);
    return context.field(item, isIndex ? Number(part) : part);
  }, value);
}

function ignoringCase(value: Value): Value {
  return typeof value === 'string' ? value.toLowerCase() : value;
}

/** The key that `sort`, `unique`, `min`, `max` and `groupby` compare by. */
function keyOf(args: { attribute: Value | undefined; cased: boolean }, context: FilterContext) {
  return (value: Value): Value => {
    const key =
      args.attribute === undefined || args.attribute === null ? value : path(value, args.attribute, context);
    return args.cased ? key : ignoringCase(key);
  };
}

function sorted(
  items: readonly Value[],
  key: (value: Value) => Value,
  reverse: boolean,
  budget: Budget,
): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  budget.step(items.length * 16);
  keyed.sort((a, b) => (reverse ? -1 : 1) * compare(a.key, b.key));
  return keyed.map(({ item }) => item);
}

/** `select`, `reject` and those with `attr`. */
function selecting(wanted: boolean, byField: boolean): Filter {
  return (value, args, _named, context) => {
    const [name, ...rest] = byField ? args.slice(1) : args;
    const attribute = args[0];
    if (byField && attribute === undefined) throw new TemplateFault('a filter without its attribute');
    const chosen = iterate(value).filter((item) => {
      context.budget.step();
      const tested = byField ? path(item, attribute!, context) : item;
      const passed = name === undefined ? truth(tested) : test(textOf(name), tested, rest, context.budget);
      return passed === wanted;
    });
    return new Generator(chosen);
  };
}

const FILTERS: Record<string, Filter> = {
  abs: (value) => {
    const number = asNumber(value);
    if (number === undefined) throw new TemplateFault(`bad operand type for abs(): '${typeName(value)}'`);
    return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
  },
  attr: (value, [name], _named, context) => context.field(value, name ?? null),
  capitalize: (value) => capitalize(toText(value)),
  count: sizeOf,
  d: (value, args, named) => defaulted(value, args, named),
  default: (value, args, named) => defaulted(value, args, named),
  dictsort: (value, args, named, { budget }) => {
    if (!(value instanceof Dict)) throw new TemplateFault(`dictsort of a ${typeName(value)}`);
    const cased = truth(argument(args, named, 0, 'case_sensitive') ?? false);
    const at = (argument(args, named, 1, 'by') ?? 'key') === 'value' ? 1 : 0;
    const reverse = truth(argument(args, named, 2, 'reverse') ?? false);
    const pairs = value.entries().map((pair) => new Tuple(pair));
    const key = (pair: Value): Value => {
      const item = (pair as Tuple).items[at]!;
      return cased ? item : ignoringCase(item);
    };
    return sorted(pairs, key, reverse, budget);
  },
  e: (value) => escaped(value),
  escape: (value) => escaped(value),
  forceescape: (value) => escaped(value),
  first: (value) =>
    given(
      (value instanceof Generator ? value.take(1) : iterate(value))[0],
      new Undefined('No first item, sequence was empty.'),
    ),
  float: (value, args) => {
    const number =
      typeof value === 'string' ? parsed(value, /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i) : asNumber(value);
    return number === undefined ? given<Value, Value>(args[0], new Float(0)) : new Float(number);
  },
  groupby: (value, args, named, context) => {
    const attribute = argument(args, named, 0, 'attribute');
    const cased = truth(named.get('case_sensitive') ?? false);
    const key = keyOf({ attribute, cased }, context);
    const groups: { key: Value; name: Value; items: Value[] }[] = [];
    for (const item of sorted(iterate(value), key, false, context.budget)) {
      const own = key(item);
      const last = groups.at(-1);
      if (last !== undefined && equal(last.key, own)) last.items.push(item);
      else groups.push({ key: own, name: path(item, attribute ?? null, context), items: [item] });
    }
    return groups.map(({ name, items }) => new Group([name, items]));
  },
  indent: (value, args, named, { budget }) => {
    const width = argument(args, named, 0, 'width') ?? 4;
    const by = typeof width === 'string' ? width : ' '.repeat(Math.min(1000, asInteger(width, 'width')));
    const [first, blank] = [
      argument(args, named, 1, 'first') ?? false,
      argument(args, named, 2, 'blank') ?? false,
    ];
    const lines = `${toText(value)}\n`.split('\n').slice(0, -1);
    const changed = lines.map((line, at) =>
      (at === 0 ? truth(first) : line !== '' || truth(blank)) ? by + line : line,
    );
    return budget.text(changed.join('\n'));
  },
  int: (value, args) => {
    if (typeof value === 'string') return given(parsed(value, /^[+-]?\d+(\.\d*)?$/), given(args[0], 0));
    const number = asNumber(value);
    return number === undefined || !Number.isFinite(number) ? given(args[0], 0) : Math.trunc(number);
  },
  items: (value) => {
    if (value instanceof Undefined) return new Generator([]);
    if (!(value instanceof Dict)) throw new TemplateFault('Can only get item pairs from a mapping.');
    return new Generator(value.entries().map((pair) => new Tuple(pair)));
  },
  join: (value, args, named, context) => {
    const by = toText(argument(args, named, 0, 'd') ?? '');
    const attribute = argument(args, named, 1, 'attribute');
    const items = iterate(value).map((item) => {
      context.budget.step();
      return toText(attribute === undefined ? item : path(item, attribute, context));
    });
    return context.budget.text(items.join(by));
  },
  last: (value) => {
    if (value instanceof Generator) throw new TemplateFault("'generator' object is not reversible");
    const items = iterate(value);
    return given(items[items.length - 1], new Undefined('No last item, sequence was empty.'));
  },
  length: sizeOf,
  list: (value) => [...iterate(value)],
  lower: (value) => toText(value).toLowerCase(),
  map: (value, args, named, context) => {
    const attribute = named.get('attribute');
    const changed = iterate(value).map((item) => {
      context.budget.step();
      if (attribute === undefined) return applyFilter(textOf(args[0]), item, args.slice(1), named, context);
      const found = path(item, attribute, context);
      return found instanceof Undefined ? (named.get('default') ?? found) : found;
    });
    return new Generator(changed);
  },
  max: (value, args, named, context) => extreme(value, args, named, context, true),
  min: (value, args, named, context) => extreme(value, args, named, context, false),
  reject: selecting(false, false),
  rejectattr: selecting(false, true),
  replace: (value, [from, to, count], _named, { budget }) =>
    budget.text(
      replaceText(
        toText(value),
        toText(from ?? null),
        toText(to ?? null),
        count === undefined || count === null ? -1 : asInteger(count, 'count'),
      ),
    ),
  reverse: (value) =>
    typeof value === 'string'
      ? Array.from(value).reverse().join('')
      : new Generator([...iterate(value)].reverse()),
  round: (value, args, named) => {
    const [digits, how] = [
      argument(args, named, 0, 'precision') ?? 0,
      argument(args, named, 1, 'method') ?? 'common',
    ];
    const number = asNumber(value);
    if (number === undefined) throw new TemplateFault(`round of a ${typeName(value)}`);
    const factor = 10 ** asInteger(digits, 'precision');
    if (how === 'ceil') return new Float(Math.ceil(number * factor) / factor);
    if (how === 'floor') return new Float(Math.floor(number * factor) / factor);
    return rounded(value, number, digits as number);
  },
  safe: (value) => (value instanceof Markup ? value : new Markup(toText(value))),
  select: selecting(true, false),
  selectattr: selecting(true, true),
  sort: (value, args, named, context) => {
    const reverse = truth(argument(args, named, 0, 'reverse') ?? false);
    const cased = truth(argument(args, named, 1, 'case_sensitive') ?? false);
    const attribute = argument(args, named, 2, 'attribute');
    return sorted(iterate(value), keyOf({ attribute, cased }, context), reverse, context.budget);
  },
  string: (value) => toText(value),
  sum: (value, args, named, context) => {
    const attribute = argument(args, named, 0, 'attribute');
    return iterate(value).reduce<Value>(
      (total, item) =>
        binary('+', total, attribute === undefined ? item : path(item, attribute, context), context.budget),
      argument(args, named, 1, 'start') ?? 0,
    );
  },
  // Words begin after blanks, dashes and opening brackets, which is not what str.title() does.
  title: (value) => toText(value).replace(/[^-\s({[<]+/gu, capitalize),
  tojson: (value, args, named, { budget }) => {
    const indent = argument(args, named, 1, 'indent') ?? null;
    const separators = argument(args, named, 2, 'separators') ?? null;
    const pair = separators === null ? undefined : iterate(separators).map(textOf);
    if (pair !== undefined && pair.length !== 2)
      throw new TemplateFault('separators of tojson that are no pair');
    const level =
      typeof indent === 'string'
        ? indent
        : ' '.repeat(Math.max(0, Math.min(100, asInteger(indent ?? 0, 'indent'))));
    return budget.text(
      toJson(value, {
        ensureAscii: truth(argument(args, named, 0, 'ensure_ascii') ?? false),
        indent: indent === null ? undefined : level,
        separators: pair as [string, string] | undefined,
        sortKeys: truth(argument(args, named, 3, 'sort_keys') ?? false),
      }),
    );
  },
  trim: (value, args, named) => strip(toText(value), argument(args, named, 0, 'chars'), 'both'),
  unique: (value, args, named, context) => {
    const cased = truth(argument(args, named, 0, 'case_sensitive') ?? false);
    const key = keyOf({ attribute: argument(args, named, 1, 'attribute'), cased }, context);
    const seen: Value[] = [];
    const first = iterate(value).filter((item) => {
      if (contains(seen, key(item), context.budget)) return false;
      seen.push(key(item));
      return true;
    });
    return new Generator(first);
  },
  upper: (value) => toText(value).toUpperCase(),
  wordcount: (value) => toText(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
};

function defaulted(value: Value, args: Args, named: Named): Value {
  const instead = given(argument(args, named, 0, 'default_value'), '');
  const falseToo = truth(argument(args, named, 1, 'boolean') ?? false);
  return value instanceof Undefined || (falseToo && !truth(value)) ? instead : value;
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
};

function escaped(value: Value): Markup {
  if (value instanceof Markup) return value;
  return new Markup(toText(value).replace(/[&<>'"]/g, (letter) => ENTITIES[letter]!));
}

function parsed(text: string, form: RegExp): number | undefined {
  const stripped = strip(text, undefined, 'both');
  if (!form.test(stripped)) return undefined;
  return form.source.includes('e[') ? Number(stripped) : Math.trunc(Number(stripped));
}

/** Half to even, as Python rounds; an integer stays one. */
function rounded(value: Value, number: number, digits: number): Value {
  if (!(value instanceof Float)) return Math.round(number);
  if (digits < 0 || digits > 15) throw new TemplateFault('round to that many digits is not supported');
  // JavaScript rounds the exact value too, but a half away from zero.
  const exact = Math.abs(number).toFixed(100);
  const isHalf = /^50*$/.test(exact.slice(exact.indexOf('.') + 1 + digits));
  const even = (2 * Math.round((number * 10 ** digits) / 2)) / 10 ** digits;
  return new Float(isHalf ? even : Number(number.toFixed(digits)));
}

function extreme(value: Value, args: Args, named: Named, context: FilterContext, largest: boolean): Value {
  const cased = truth(argument(args, named, 0, 'case_sensitive') ?? false);
  const key = keyOf({ attribute: argument(args, named, 1, 'attribute'), cased }, context);
  let best: { item: Value; key: Value } | undefined;
  for (const item of iterate(value)) {
    context.budget.step();
    const own = key(item);
    if (best === undefined || (largest ? compare(own, best.key) > 0 : compare(own, best.key) < 0))
      best = { item, key: own };
  }
  return best === undefined ? new Undefined('No aggregated item, sequence was empty.') : best.item;
}

/**
 * Applies a filter by name; a fault for one that is not known here. `is NAME` and `not NAME` are tests with
 * arguments.
 */
export function applyFilter(
  name: string,
  value: Value,
  args: Args,
  named: Named,
  context: FilterContext,
): Value {
  const asTest = /^(is|not) (.*)$/.exec(name);
  if (asTest !== null) return test(asTest[2]!, value, args, context.budget) === (asTest[1] === 'is');
  const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (filter === undefined) throw new TemplateFault(`the filter ${name} is not supported`);
  if (value instanceof Markup && !['e', 'escape', 'safe', 'tojson', 'length', 'count'].includes(name))
    throw new TemplateFault(`the filter ${name} of an escaped text is not supported`);
  return filter(value, args, named, context);
}

type Test = (value: Value, args: Args, budget: Budget) => boolean;

const isSequence = (value: Value): boolean =>
  typeof value === 'string' ||
  Array.isArray(value) ||
  value instanceof Tuple ||
  value instanceof Dict ||
  value instanceof Undefined;
const integer = (value: Value, budget: Budget, by: Value): Value => binary('%', value, by, budget);

const TESTS: Record<string, Test> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, [by], budget) => equal(integer(value, budget, by ?? null), 0),
  eq: (value, [other]) => equal(value, other ?? null),
  even: (value, _args, budget) => equal(integer(value, budget, 2), 0),
  false: (value) => value === false,
  float: (value) => value instanceof Float,
  ge: (value, [other]) => compare(value, other ?? null) >= 0,
  gt: (value, [other]) => compare(value, other ?? null) > 0,
  in: (value, [other], budget) => contains(other ?? null, value, budget),
  integer: (value) => typeof value === 'number',
  iterable: (value) => isSequence(value) || value instanceof View || value instanceof Generator,
  le: (value, [other]) => compare(value, other ?? null) <= 0,
  lower: (value) => toText(value).toLowerCase() === toText(value) && /\p{Ll}/u.test(toText(value)),
  lt: (value, [other]) => compare(value, other ?? null) < 0,
  mapping: (value) => value instanceof Dict,
  ne: (value, [other]) => !equal(value, other ?? null),
  none: (value) => value === null,
  number: (value) => asNumber(value) !== undefined,
  odd: (value, _args, budget) => equal(integer(value, budget, 2), 1),
  sameas: (value, [other]) => value === other,
  sequence: isSequence,
  string: (value) => typeof value === 'string' || value instanceof Markup,
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => toText(value).toUpperCase() === toText(value) && /\p{Lu}/u.test(toText(value)),
};
const ALIASES: Record<string, string> = {
  '==': 'eq',
  equalto: 'eq',
  '!=': 'ne',
  '>': 'gt',
  greaterthan: 'gt',
  '>=': 'ge',
  '<': 'lt',
  lessthan: 'lt',
  '<=': 'le',
};

/** Applies a test by name; a fault for one that is not known here. */
export function test(name: string, value: Value, args: Args, budget: Budget): boolean {
  const own = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  const apply = Object.hasOwn(TESTS, own) ? TESTS[own] : undefined;
  if (apply === undefined) throw new TemplateFault(`the test ${name} is not supported`);
  if (value instanceof Namespace && own !== 'defined' && own !== 'undefined')
    throw new TemplateFault(`the test ${name} of a namespace is not supported`);
  return apply(value, args, budget);
}
