import type { Budget } from './budget.js';
import { given, type Value } from './values.js';

/** What filters need of the interpreter. */
export interface FilterContext {
  budget: Budget;
  /** Jinja's subscript: item, else attribute. */
  field(value: Value, name: Value): Value;
}

export type Args = readonly Value[];
export type Named = ReadonlyMap<string, Value>;

/** An argument by place or name. */
export function argument(args: Args, named: Named, at: number, name: string): Value | undefined {
  return given(args[at], named.get(name));
}
