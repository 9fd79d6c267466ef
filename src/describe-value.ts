/**
 * A short, safe rendering of any parsed JSON value for error messages: strings are quoted and cut at 60
 * characters, containers are named with their size instead of being printed.
 */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value))
    return value.length <= 8 && value.every(isShort)
      ? `[${value.join(', ')}]`
      : `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function isShort(value: unknown): boolean {
  return (
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    (typeof value === 'string' && value.length <= 24)
  );
}
