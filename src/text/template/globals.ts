import type { Budget } from './budget.js';
import { toText } from './printing.js';
import { asInteger, Callable, Dict, iterate, Namespace, TemplateFault, type Value, View } from './values.js';

/** Jinja's sandbox allows no longer range. */
const MAX_RANGE = 100_000;

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Functions that every template sees. @param now for `strftime_now`. */
export function globals(budget: Budget, now: Date): [string, Value][] {
  const functions: Record<string, (args: Value[], named: Map<string, Value>) => Value> = {
    range: (args) => range(args, budget),
    dict: (args, named) => {
      const dict = new Dict();
      if (args.length > 0) throw new TemplateFault('dict() of a value is not supported');
      for (const [name, value] of named) dict.set(name, value);
      return dict;
    },
    namespace: (args, named) => {
      const space = new Namespace();
      for (const each of args) {
        if (!(each instanceof Dict)) throw new TemplateFault('namespace() of something other than a dict');
        for (const [name, value] of each.entries()) space.fields.set(toText(name), value);
      }
      for (const [name, value] of named) space.fields.set(name, value);
      return space;
    },
    raise_exception: ([message]) => {
      throw new TemplateFault(toText(message ?? null));
    },
    strftime_now: ([format]) => strftime(toText(format ?? null), now),
  };
  return Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]);
}

function range(args: Value[], budget: Budget): Value {
  const numbers = args.map((value) => asInteger(value, 'an argument of range()'));
  if (numbers.length === 0 || numbers.length > 3) throw new TemplateFault('range() of one to three integers');
  const [start, stop, step] =
    numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) throw new TemplateFault('range() arg 3 must not be zero');
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (count > MAX_RANGE)
    throw new TemplateFault(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  budget.step(count);
  const items = Array.from({ length: count }, (_, at) => start + at * step);
  return new View('range', items, `range(${start}, ${stop}${step === 1 ? '' : `, ${step}`})`);
}

function strftime(format: string, now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const hour = now.getHours() % 12 || 12;
  const codes: Record<string, string> = {
    '%': '%',
    A: DAYS[now.getDay()]!,
    B: MONTHS[now.getMonth()]!,
    H: two(now.getHours()),
    I: two(hour),
    M: two(now.getMinutes()),
    S: two(now.getSeconds()),
    Y: String(now.getFullYear()),
    a: DAYS[now.getDay()]!.slice(0, 3),
    b: MONTHS[now.getMonth()]!.slice(0, 3),
    d: two(now.getDate()),
    m: two(now.getMonth() + 1),
    p: now.getHours() < 12 ? 'AM' : 'PM',
    y: two(now.getFullYear() % 100),
  };
  return format.replace(/%(-?.)/gsu, (_, code: string) => {
    const plain = code.replace('-', '');
    if (!Object.hasOwn(codes, plain)) throw new TemplateFault(`the date format %${code} is not supported`);
    return code === plain ? codes[plain]! : codes[plain]!.replace(/^0(?=.)/, '');
  });
}

/** A list of what is passed by `*`. */
export function spread(value: Value): Value[] {
  return [...iterate(value)];
}
