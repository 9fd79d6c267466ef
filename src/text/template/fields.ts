import { toText } from './printing.js';
import { textMethod } from './text-methods.js';
import {
  asInteger,
  Callable,
  Dict,
  equal,
  Group,
  given,
  Markup,
  Namespace,
  TemplateFault,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

/** What changes a value, which the sandbox of chat templates forbids. */
const CHANGING = new Set(
  'append clear extend insert pop remove reverse sort popitem setdefault update __setitem__'.split(' '),
);

/** Jinja's `value.name`: a method or attribute, else an item. */
export function attribute(value: Value, name: string): Value {
  const found = methodOf(value, name);
  if (found !== undefined) return found;
  const own = item(value, name);
  return own === undefined ? missing(value, name) : own;
}

/** Jinja's `value[name]`: an item, else a method or attribute. */
export function subscript(value: Value, key: Value): Value {
  const found = item(value, key);
  if (found !== undefined) return found;
  const method = typeof key === 'string' ? methodOf(value, key) : undefined;
  return method ?? missing(value, toText(key));
}

function missing(value: Value, name: string): Undefined {
  if (value instanceof Undefined) throw new TemplateFault(`'${value.name}' is undefined`);
  return new Undefined(`${typeName(value)} object has no attribute ${name}`);
}

function item(value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) return value.get(key);
  if (value instanceof Namespace) return typeof key === 'string' ? value.fields.get(key) : undefined;
  if (typeof key !== 'number' && typeof key !== 'boolean') return undefined;
  const items =
    typeof value === 'string'
      ? Array.from(value)
      : value instanceof Tuple || (value instanceof View && value.kind === 'range')
        ? value.items
        : Array.isArray(value)
          ? value
          : [];
  const at = Number(key);
  return items[at < 0 ? at + items.length : at];
}

function methodOf(value: Value, name: string): Value | undefined {
  if (typeof value === 'string') return textMethod(value, name, toText);
  if (value instanceof Markup) throw new TemplateFault('a method of an escaped text is not supported');
  if (Array.isArray(value) || value instanceof Tuple) return listMethod(value, name);
  return value instanceof Dict ? dictMethod(value, name) : undefined;
}

function forbidden(type: string, name: string): TemplateFault {
  return new TemplateFault(`access to attribute '${name}' of '${type}' object is unsafe.`);
}

function listMethod(value: Value[] | Tuple, name: string): Value | undefined {
  const items = Array.isArray(value) ? value : value.items;
  if (Array.isArray(value) && CHANGING.has(name)) throw forbidden('list', name);
  if (value instanceof Group && (name === 'grouper' || name === 'list'))
    return items[name === 'list' ? 1 : 0];
  if (name === 'count')
    return new Callable(name, ([what]) => items.filter((each) => equal(each, what ?? null)).length);
  if (name === 'index')
    return new Callable(name, ([what]) => {
      const at = items.findIndex((each) => equal(each, what ?? null));
      if (at < 0) throw new TemplateFault(`${toText(what ?? null)} is not in list`);
      return at;
    });
  if (name === 'copy' && Array.isArray(value)) return new Callable(name, () => [...value]);
  return undefined;
}

function dictMethod(dict: Dict, name: string): Callable | undefined {
  if (CHANGING.has(name) && name !== 'append') {
    if (['extend', 'insert', 'remove', 'reverse', 'sort'].includes(name)) return undefined;
    throw forbidden('dict', name);
  }
  switch (name) {
    case 'get':
      return new Callable(name, ([key, absent]) => given(dict.get(key ?? null), absent ?? null));
    case 'keys':
      return new Callable(name, () => new View('dict_keys', dict.keys()));
    case 'values':
      return new Callable(
        name,
        () =>
          new View(
            'dict_values',
            dict.entries().map(([, value]) => value),
          ),
      );
    case 'items':
      return new Callable(
        name,
        () =>
          new View(
            'dict_items',
            dict.entries().map((pair) => new Tuple(pair)),
          ),
      );
    case 'copy':
      return new Callable(name, () => {
        const copy = new Dict();
        for (const [key, value] of dict.entries()) copy.set(key, value);
        return copy;
      });
    default:
      return undefined;
  }
}

/** Python's `value[start:stop:step]`. */
export function slice(value: Value, bounds: readonly (Value | undefined)[]): Value {
  const items = typeof value === 'string' ? Array.from(value) : value instanceof Tuple ? value.items : value;
  if (!Array.isArray(items)) throw new TemplateFault(`a slice of a ${typeName(value)}`);
  const [start, stop, step] = bounds.map((bound) =>
    bound === undefined || bound === null ? undefined : asInteger(bound, 'a bound of a slice'),
  );
  const by = step ?? 1;
  if (by === 0) throw new TemplateFault('slice step cannot be zero');
  const size = items.length;
  const place = (bound: number | undefined, absent: number): number => {
    if (bound === undefined) return absent;
    const at = bound < 0 ? bound + size : bound;
    return by > 0 ? Math.min(Math.max(at, 0), size) : Math.min(Math.max(at, -1), size - 1);
  };
  const [first, end] =
    by > 0 ? [place(start, 0), place(stop, size)] : [place(start, size - 1), place(stop, -1)];
  const chosen: Value[] = [];
  for (let at = first; by > 0 ? at < end : at > end; at += by) chosen.push(items[at]!);
  if (typeof value === 'string') return chosen.join('');
  return value instanceof Tuple ? new Tuple(chosen) : chosen;
}
