import { badArgument } from '../../errors.js';
import { tapPattern } from '../../tap-pattern.js';
import type { ValueStats } from './value.js';

/**
 * Stops `Stepper.continue`: a name or tap pattern, a predicate over a value's name and statistics, or `nan`
 * for the first value that holds a NaN or an infinity.
 */
export type Breakpoint = string | ((name: string, stats: ValueStats) => boolean);

/** A breakpoint, ready to be asked. */
export interface CompiledBreakpoint {
  /** The pattern, `nan`, or `predicate`. */
  reason: string;
  /** Whether it asks for statistics; otherwise the name is enough. */
  needsValue: boolean;
  hit(value: { name: string; stats?: ValueStats }): boolean;
}

/** Throws `BAD_ARGUMENT` for a pattern that is malformed or matches none of the names. */
export function compileBreakpoint(at: Breakpoint, names: readonly string[]): CompiledBreakpoint {
  if (typeof at === 'function')
    return { reason: 'predicate', needsValue: true, hit: ({ name, stats }) => at(name, stats!) };
  if (at === 'nan') return { reason: at, needsValue: true, hit: ({ stats }) => stats!.nan + stats!.inf > 0 };
  // Names of other programs' values may hold what a pattern takes for its own: `model.layers.{}.norm-0`.
  const matches = names.includes(at) ? (name: string) => name === at : tapPattern(at);
  if (!names.some(matches)) throw badArgument('breakpoint', 'a pattern that matches a value', `'${at}'`);
  return { reason: at, needsValue: false, hit: ({ name }) => matches(name) };
}
