import { computed } from './arithmetic.js';
import type { Budget } from './budget.js';
import { toText } from './printing.js';
import {
  asNumber,
  compare,
  Dict,
  equal,
  Float,
  iterate,
  Markup,
  TemplateFault,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** Most items of a list that a template may make. */
const MAX_ITEMS = 1_000_000;

/** Python's binary operators; `and` and `or` are not among them. */
export function binary(operator: string, a: Value, b: Value, budget: Budget): Value {
  switch (operator) {
    case '==':
      return equal(a, b);
    case '!=':
      return !equal(a, b);
    case '<':
      return compare(a, b) < 0;
    case '<=':
      return compare(a, b) <= 0;
    case '>':
      return compare(a, b) > 0;
    case '>=':
      return compare(a, b) >= 0;
    case 'in':
      return contains(b, a, budget);
    case 'not in':
      return !contains(b, a, budget);
    case '~':
      if (a instanceof Markup || b instanceof Markup) throw fault(operator, a, b);
      return budget.text(toText(a) + toText(b));
    default:
      return arithmetic(operator, a, b, budget);
  }
}

export function contains(container: Value, item: Value, budget: Budget): boolean {
  if (typeof container === 'string') {
    if (typeof item !== 'string')
      throw new TemplateFault(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    return container.includes(item);
  }
  if (container instanceof Dict) return container.get(item) !== undefined;
  const items = iterate(container);
  budget.step(items.length);
  return items.some((each) => equal(each, item));
}

function arithmetic(operator: string, a: Value, b: Value, budget: Budget): Value {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined)
    return computed(operator, x, y, a instanceof Float || b instanceof Float);
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') return budget.text(a + b);
    if (Array.isArray(a) && Array.isArray(b)) return counted([...a, ...b], budget);
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple(counted([...a.items, ...b.items], budget));
  }
  if (operator === '*') {
    const [times, value] = typeof a === 'number' ? [a, b] : [b, a];
    if (typeof times === 'number') {
      const count = Math.max(0, times);
      if (typeof value === 'string') {
        budget.letters(value.length * count);
        return value.repeat(count);
      }
      if (Array.isArray(value)) {
        budget.step(value.length * count);
        return counted(Array.from({ length: count }, () => value).flat(), budget);
      }
    }
  }
  if (operator === '%' && typeof a === 'string')
    throw new TemplateFault("formatting with '%' is not supported");
  throw fault(operator, a, b);
}

function counted(items: Value[], budget: Budget): Value[] {
  if (items.length > MAX_ITEMS) throw new TemplateFault(`a list of more than ${MAX_ITEMS} items`);
  budget.step(items.length);
  return items;
}

function fault(operator: string, a: Value, b: Value): TemplateFault {
  const missing = [a, b].find((value) => value instanceof Undefined);
  if (missing instanceof Undefined) return new TemplateFault(`'${missing.name}' is undefined`);
  return new TemplateFault(
    `unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`,
  );
}
