import {
  asNumber,
  Dict,
  Float,
  iterate,
  Markup,
  Namespace,
  TemplateFault,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

const MAX_DEPTH = 128;

/** Python's `str()`. */
export function toText(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return '';
  return repr(value, MAX_DEPTH);
}

/** Python's `repr()`. */
export function repr(value: Value, depth = MAX_DEPTH): string {
  if (depth === 0) throw new TemplateFault('values nested too deeply to print');
  const list = (items: readonly Value[]): string => items.map((item) => repr(item, depth - 1)).join(', ');
  if (typeof value === 'string') return quoted(value);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (Array.isArray(value)) return `[${list(value)}]`;
  if (value instanceof Tuple) return `(${list(value.items)}${value.items.length === 1 ? ',' : ''})`;
  if (value instanceof View) return value.text ?? `${value.kind}([${list(value.items)}])`;
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Dict) {
    const entries = value.entries().map(([key, item]) => `${repr(key, depth - 1)}: ${repr(item, depth - 1)}`);
    return `{${entries.join(', ')}}`;
  }
  throw new TemplateFault(
    `printing a ${value instanceof Namespace ? 'namespace' : typeName(value)} is not supported`,
  );
}

/** The shortest digits that give the number back; an exponent below 1e-4 and from 1e16 on. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  if (value === 0) return '0.0';
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (power >= -4 && power < 16) {
    const sign = value < 0 ? '-' : '';
    const all = digits.replace('-', '').replace('.', '');
    if (power < 0) return `${sign}0.${'0'.repeat(-power - 1)}${all}`;
    const padded = all.padEnd(power + 1, '0');
    return `${sign}${padded.slice(0, power + 1)}.${padded.slice(power + 1) || '0'}`;
  }
  return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = Array.from(text, (letter) => {
    if (letter === quote) return `\\${letter}`;
    const known = ESCAPES[letter];
    if (known !== undefined) return known;
    const code = letter.codePointAt(0)!;
    const isPrintable = letter === ' ' || !/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u.test(letter);
    if (isPrintable) return letter;
    if (code < 0x100) return `\\x${hex(code, 2)}`;
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  }).join('');
  return quote + inner + quote;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}

/** Options of {@link toJson}. */
export interface JsonOptions {
  ensureAscii: boolean;
  /** Text before each level; undefined for one line. */
  indent: string | undefined;
  separators: readonly [string, string] | undefined;
  sortKeys: boolean;
  /** Told how many letters of indent are about to be made. */
  onIndent?: (letters: number) => void;
}

/** Python's `json.dumps`. */
export function toJson(value: Value, options: JsonOptions, level = 0): string {
  if (level > MAX_DEPTH) throw new TemplateFault('values nested too deeply for JSON');
  const { indent, separators } = options;
  const [comma, colon] = separators ?? [indent === undefined ? ', ' : ',', ': '];
  const wrap = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    if (indent === undefined) return open + parts.join(comma) + close;
    options.onIndent?.(indent.length * (level + 1) * (parts.length + 1));
    const line = `\n${indent.repeat(level + 1)}`;
    return `${open}${line}${parts.join(comma + line)}\n${indent.repeat(level)}${close}`;
  };
  const inner = (item: Value): string => toJson(item, options, level + 1);
  if (typeof value === 'string') return jsonText(value, options.ensureAscii);
  if (value instanceof Markup) return jsonText(value.text, options.ensureAscii);
  if (value === null) return 'null';
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (value instanceof Float) return jsonFloat(value.value);
  if (Array.isArray(value) || value instanceof Tuple) return wrap('[', iterate(value).map(inner), ']');
  if (value instanceof Dict) {
    const entries = value.entries().map(([key, item]) => [jsonKey(key), item] as const);
    if (options.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const parts = entries.map(([key, item]) => jsonText(key, options.ensureAscii) + colon + inner(item));
    return wrap('{', parts, '}');
  }
  throw new TemplateFault(`Object of type ${typeName(value)} is not JSON serializable`);
}

function jsonKey(key: Value): string {
  if (typeof key === 'string') return key;
  if (key === null) return 'null';
  if (typeof key === 'boolean' || typeof key === 'number') return String(key);
  const number = asNumber(key);
  if (number !== undefined) return jsonFloat(number);
  throw new TemplateFault(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  return floatText(value);
}

function jsonText(text: string, ensureAscii: boolean): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replace(/[\u007f-\uffff]/g, (unit) =>
    unit === '\u007f' ? unit : `\\u${hex(unit.charCodeAt(0), 4)}`,
  );
}
