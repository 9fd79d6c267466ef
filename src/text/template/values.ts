/**
 * Python's values as templates see them. Integers are numbers, lists arrays; what JavaScript has no form for
 * is a class here.
 */
export type Value =
  | string
  | number
  | boolean
  | null
  | Float
  | Undefined
  | Value[]
  | Tuple
  | Dict
  | View
  | Generator
  | Namespace
  | Markup
  | Callable;

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A name or field that is not there: prints as nothing, is false and empty, and fails on everything else. */
export class Undefined {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** `keys()`, `values()` and `items()` of a dict, and a range. */
export class View {
  readonly kind: string;
  readonly items: readonly Value[];
  /** How it prints, where not as its items. */
  readonly text: string | undefined;
  constructor(kind: string, items: readonly Value[], text?: string) {
    this.kind = kind;
    this.items = items;
    this.text = text;
  }
}

/** What `map`, `select` and their like give: it can be gone through once, and has no length. */
export class Generator {
  #left: readonly Value[];
  constructor(items: readonly Value[]) {
    this.#left = items;
  }

  /** All items that are left, or the first of them. */
  take(most = Number.POSITIVE_INFINITY): readonly Value[] {
    const taken = this.#left.slice(0, most);
    this.#left = this.#left.slice(taken.length);
    return taken;
  }
}

/** A pair of `groupby`, whose parts have names too. */
export class Group extends Tuple {}

/** A text that `escape` or `safe` gave; it can be printed, and nothing else. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export class Namespace {
  readonly fields = new Map<string, Value>();
}

export class Callable {
  readonly name: string;
  readonly call: (args: Value[], named: Map<string, Value>) => Value;
  constructor(name: string, call: (args: Value[], named: Map<string, Value>) => Value) {
    this.name = name;
    this.call = call;
  }
}

/** Keys are texts, numbers, truth values or None; 1, 1.0 and True are one key, as in Python. */
export class Dict {
  readonly #entries = new Map<string, [Value, Value]>();

  get(key: Value): Value | undefined {
    return this.#entries.get(dictKey(key))?.[1];
  }

  set(key: Value, value: Value): void {
    const name = dictKey(key);
    const known = this.#entries.get(name);
    if (known === undefined) this.#entries.set(name, [key, value]);
    else known[1] = value;
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): [Value, Value][] {
    return [...this.#entries.values()];
  }

  keys(): Value[] {
    return this.entries().map(([key]) => key);
  }
}

function dictKey(key: Value): string {
  if (typeof key === 'string') return `s${key}`;
  if (key === null) return 'none';
  const number = asNumber(key);
  if (number !== undefined) return `n${number}`;
  if (key instanceof Tuple) return `t${JSON.stringify(key.items.map(dictKey))}`;
  throw new TemplateFault(`unhashable type: '${typeName(key)}'`);
}

/** What a template does wrong, or what is not supported; its sentence becomes part of the error. */
export class TemplateFault extends Error {}

/** What was given, None included, or else something. */
export function given<T, A>(value: T | undefined, absent: A): T | A {
  return value === undefined ? absent : value;
}

/** A value that can be computed with; truth values count as 0 and 1. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  return value instanceof Float ? value.value : undefined;
}

/** An integer, or a fault. */
export function asInteger(value: Value, what: string): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  throw new TemplateFault(`${what} must be an integer, not ${typeName(value)}`);
}

/** Python's name of a type. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'string') return 'str';
  if (typeof value === 'number') return 'int';
  if (typeof value === 'boolean') return 'bool';
  if (value instanceof Float) return 'float';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Tuple) return 'tuple';
  if (value instanceof Dict) return 'dict';
  if (value instanceof View) return value.kind;
  if (value instanceof Generator) return 'generator';
  if (value instanceof Namespace) return 'Namespace';
  if (value instanceof Markup) return 'Markup';
  return value instanceof Undefined ? 'Undefined' : 'function';
}

export function truth(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === 'string') return value !== '';
  const number = asNumber(value);
  if (number !== undefined) return number !== 0;
  if (value instanceof Markup) return value.text !== '';
  if (value instanceof Dict) return value.size > 0;
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof Tuple || value instanceof View ? value.items.length > 0 : true;
}

/** Items of what can be looped over, or a fault. */
export function iterate(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value;
  if (value instanceof Tuple || value instanceof View) return value.items;
  if (typeof value === 'string') return Array.from(value);
  if (value instanceof Dict) return value.keys();
  if (value instanceof Generator) return value.take();
  if (value instanceof Undefined) return [];
  throw new TemplateFault(`'${typeName(value)}' object is not iterable`);
}

export function equal(a: Value, b: Value): boolean {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (a instanceof Undefined) return b instanceof Undefined;
  const [left, right] = [listItems(a), listItems(b)];
  if (left !== undefined && right !== undefined && Array.isArray(a) === Array.isArray(b))
    return left.length === right.length && left.every((item, at) => equal(item, right[at]!));
  if (a instanceof Dict && b instanceof Dict)
    return (
      a.size === b.size &&
      a.entries().every(([key, value]) => {
        const other = b.get(key);
        return other !== undefined && equal(value, other);
      })
    );
  return a === b;
}

/** Python's `<`: negative, zero or positive; a fault for values without an order. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x < y ? -1 : x > y ? 1 : x === y ? 0 : Number.NaN;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b);
  const [left, right] = [listItems(a), listItems(b)];
  if (left !== undefined && right !== undefined && Array.isArray(a) === Array.isArray(b)) {
    for (let at = 0; at < Math.min(left.length, right.length); at++)
      if (!equal(left[at]!, right[at]!)) return compare(left[at]!, right[at]!);
    return left.length - right.length;
  }
  throw new TemplateFault(`no order between '${typeName(a)}' and '${typeName(b)}'`);
}

/** By code points, not by UTF-16 units. */
function compareTexts(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const difference = left[at]!.codePointAt(0)! - right[at]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function listItems(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Tuple ? value.items : undefined;
}

/**
 * A JSON value as Python reads it. Throws a fault for nesting deeper than `depth` and for what is no JSON.
 */
export function fromJson(value: unknown, depth = 64): Value {
  if (depth === 0) throw new TemplateFault('values nested deeper than 64');
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : new Float(value);
  if (Array.isArray(value)) return value.map((item) => fromJson(item, depth - 1));
  if (typeof value !== 'object') throw new TemplateFault(`a value of type ${typeof value}`);
  const dict = new Dict();
  for (const [key, item] of Object.entries(value))
    if (item !== undefined) dict.set(key, fromJson(item, depth - 1));
  return dict;
}
