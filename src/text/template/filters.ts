import { exactInteger } from './arithmetic.js';
import { type Args, argument, type FilterContext, type Named } from './filter-arguments.js';
import { extreme, ignoringCase, keyOf, path, sorted } from './filter-keys.js';
import { escaped, parsedFloat, rounded } from './filter-values.js';
import { binary, contains } from './operators.js';
import { toJson, toText } from './printing.js';
import { test } from './tests.js';
import { capitalize, replaceText, strip, textOf } from './text-methods.js';
import {
  asInteger,
  asNumber,
  Dict,
  equal,
  Float,
  Generator,
  Group,
  given,
  iterate,
  Markup,
  TemplateFault,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

type Filter = (value: Value, args: Args, named: Named, context: FilterContext) => Value;

/** Python's `' ' * count`. */
function spaces(count: number, { budget }: Pick<FilterContext, 'budget'>): string {
  const letters = Math.max(0, count);
  budget.letters(letters);
  return ' '.repeat(letters);
}

function sizeOf(value: Value): number {
  if (value instanceof Dict) return value.size;
  if (value instanceof Markup) return Array.from(value.text).length;
  if (asNumber(value) !== undefined || value === null || value instanceof Generator)
    throw new TemplateFault(`object of type '${typeName(value)}' has no len()`);
  return iterate(value).length;
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
  float: (value, args, named) => {
    const fallback = argument(args, named, 0, 'default');
    const number = typeof value === 'string' ? parsedFloat(value) : asNumber(value);
    return number === undefined ? given<Value, Value>(fallback, new Float(0)) : new Float(number);
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
    const by = typeof width === 'string' ? width : spaces(asInteger(width, 'width'), { budget });
    const [first, blank] = [
      argument(args, named, 1, 'first') ?? false,
      argument(args, named, 2, 'blank') ?? false,
    ];
    const lines = `${toText(value)}\n`.split('\n').slice(0, -1);
    budget.letters(by.length * lines.length);
    const changed = lines.map((line, at) =>
      (at === 0 ? truth(first) : line !== '' || truth(blank)) ? by + line : line,
    );
    return budget.text(changed.join('\n'));
  },
  int: (value, args, named) => {
    if (argument(args, named, 1, 'base') !== undefined)
      throw new TemplateFault('the filter int with a base is not supported');
    const number = typeof value === 'string' ? parsedFloat(value) : asNumber(value);
    if (typeof value !== 'string' && Math.abs(number ?? 0) === Number.POSITIVE_INFINITY)
      throw new TemplateFault('cannot convert float infinity to integer');
    return number === undefined || !Number.isFinite(number)
      ? given(argument(args, named, 0, 'default'), 0)
      : exactInteger(Math.trunc(number));
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
    if (asInteger(digits, 'precision') < 0 || (digits as number) > 15)
      throw new TemplateFault('round to that many digits is not supported');
    const factor = 10 ** (digits as number);
    if (how !== 'common' && !Number.isFinite(number * factor))
      throw new TemplateFault('cannot convert float infinity or NaN to integer');
    // Python's floor and ceil are integers, which have no negative zero.
    if (how === 'ceil') return new Float((Math.ceil(number * factor) + 0) / factor);
    if (how === 'floor') return new Float((Math.floor(number * factor) + 0) / factor);
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
    const level = typeof indent === 'string' ? indent : spaces(asInteger(indent ?? 0, 'indent'), { budget });
    return budget.text(
      toJson(value, {
        ensureAscii: truth(argument(args, named, 0, 'ensure_ascii') ?? false),
        indent: indent === null ? undefined : level,
        separators: pair as [string, string] | undefined,
        sortKeys: truth(argument(args, named, 3, 'sort_keys') ?? false),
        onIndent: (letters) => budget.letters(letters),
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
