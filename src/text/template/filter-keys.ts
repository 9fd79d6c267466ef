/** What filters that compare items compare them by. */
import type { Budget } from './budget.js';
import { type Args, argument, type FilterContext, type Named } from './filter-arguments.js';
import { compare, iterate, truth, Undefined, type Value } from './values.js';

/** `attribute` of a filter: names and indices with dots between. */
export function path(value: Value, attribute: Value, context: FilterContext): Value {
  const parts = typeof attribute === 'string' ? attribute.split('.') : [attribute];
  return parts.reduce<Value>((item, part) => {
    const isIndex = typeof part === 'string' && /^\d+$/.test(part);
    return context.field(item, isIndex ? Number(part) : part);
  }, value);
}

export function ignoringCase(value: Value): Value {
  return typeof value === 'string' ? value.toLowerCase() : value;
}

/** The key that `sort`, `unique`, `min`, `max` and `groupby` compare by. */
export function keyOf(args: { attribute: Value | undefined; cased: boolean }, context: FilterContext) {
  return (value: Value): Value => {
    const key =
      args.attribute === undefined || args.attribute === null ? value : path(value, args.attribute, context);
    return args.cased ? key : ignoringCase(key);
  };
}

export function sorted(
  items: readonly Value[],
  key: (value: Value) => Value,
  reverse: boolean,
  budget: Budget,
): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  budget.step(items.length * 16);
  keyed.sort((a, b) => (reverse ? -1 : 1) * compare(a.key, b.key));
  return keyed.map(({ item }) => item);
}

/** The filters `min` and `max`. */
export function extreme(
  value: Value,
  args: Args,
  named: Named,
  context: FilterContext,
  largest: boolean,
): Value {
  const cased = truth(argument(args, named, 0, 'case_sensitive') ?? false);
  const key = keyOf({ attribute: argument(args, named, 1, 'attribute'), cased }, context);
  let best: { item: Value; key: Value } | undefined;
  for (const item of iterate(value)) {
    context.budget.step();
    const own = key(item);
    if (best === undefined || (largest ? compare(own, best.key) > 0 : compare(own, best.key) < 0))
      best = { item, key: own };
  }
  return best === undefined ? new Undefined('No aggregated item, sequence was empty.') : best.item;
}
