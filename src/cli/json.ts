/**
 * A result as one JSON document, indented by one space. JSON has no NaN and no infinities: they become the
 * strings `"NaN"`, `"Infinity"`, `"-Infinity"` rather than null. Typed arrays become arrays.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value, replace, 1);
}

function replace(_key: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<number>);
  return value;
}
