import { badArgument } from '../errors.js';

/** Throws `BAD_ARGUMENT` for a figure of nothing: an empty plot says less than an error. */
export function requireSome(op: string, expected: string, count: number): void {
  if (count === 0) throw badArgument(op, expected, 'none');
}
