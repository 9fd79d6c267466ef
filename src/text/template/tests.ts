/** The tests of templates: what stands after `is`. */
import type { Budget } from './budget.js';
import { binary, contains } from './operators.js';
import { toText } from './printing.js';
import {
  asNumber,
  Callable,
  compare,
  Dict,
  equal,
  Float,
  Generator,
  Markup,
  Namespace,
  TemplateFault,
  Tuple,
  Undefined,
  type Value,
  View,
} from './values.js';

type Test = (value: Value, args: readonly Value[], budget: Budget) => boolean;

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
export function test(name: string, value: Value, args: readonly Value[], budget: Budget): boolean {
  const own = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  const apply = Object.hasOwn(TESTS, own) ? TESTS[own] : undefined;
  if (apply === undefined) throw new TemplateFault(`the test ${name} is not supported`);
  if (value instanceof Namespace && own !== 'defined' && own !== 'undefined')
    throw new TemplateFault(`the test ${name} of a namespace is not supported`);
  return apply(value, args, budget);
}
