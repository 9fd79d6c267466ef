/**
 * Mutations of JSON that stay JSON most of the time: a value, a key or an entry somewhere in the tree becomes
 * another.
 */
import { mutateBytes } from './mutate-bytes.mjs';

const TEXTS = [
  '',
  ' ',
  'a',
  '\u0000',
  '\u001b[31mPASS',
  '\ud800',
  '../../etc/passwd',
  '__proto__',
  'NaN',
  '{',
  'x'.repeat(5000),
  '💥',
  '\ufeff',
  '1e999',
];
const NUMBERS = [0, -1, 1, 0.5, -0, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 1e-320, 255, 65536];

/** A mutant of a JSON text; one in eight is a mutant of its bytes instead. */
export function mutateJson(random, bytes) {
  if (random.oneIn(8)) return mutateBytes(random, bytes);
  const root = { value: JSON.parse(Buffer.from(bytes).toString('utf8')) };
  const times = 1 + random.below(3);
  for (let k = 0; k < times; k++) strike(random, root);
  return Buffer.from(serialise(random, root.value));
}

/** The JSON value of an object, mutated. */
export function mutateJsonValue(random, value) {
  const root = { value: structuredClone(value) };
  strike(random, root);
  return root.value;
}

function strike(random, root) {
  let holder = root;
  let key = 'value';
  // Down into the tree until a coin says stop.
  while (holder[key] !== null && typeof holder[key] === 'object' && !random.oneIn(4)) {
    const keys = Object.keys(holder[key]);
    if (keys.length === 0) break;
    holder = holder[key];
    key = random.pick(keys);
  }
  const old = holder[key];
  switch (random.below(8)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else if (holder !== root) delete holder[key];
      return;
    case 1:
      if (Array.isArray(holder)) holder.splice(Number(key), 0, copyOf(old));
      else holder[`${key}${random.pick(TEXTS)}`] = copyOf(old);
      return;
    case 2:
      holder[key] = random.pick(NUMBERS);
      return;
    case 3:
      holder[key] = random.pick(TEXTS);
      return;
    case 4:
      holder[key] = random.pick([null, true, false, [], {}, [[]], [null], { a: 1 }]);
      return;
    case 5:
      holder[key] = [old];
      return;
    case 6:
      if (typeof old === 'number') holder[key] = old + random.pick([-1, 1, 0.5, 1e9]);
      else if (typeof old === 'string')
        holder[key] = old.slice(0, random.below(old.length + 1)) + random.pick(TEXTS);
      else if (Array.isArray(old)) old.reverse();
      else holder[key] = random.pick(TEXTS);
      return;
    default: {
      // Nested deeper than most recursive readers stand.
      let deep = old;
      const depth = random.oneIn(6) ? 3000 : 5;
      for (let k = 0; k < depth; k++) deep = random.oneIn(2) ? [deep] : { a: deep };
      holder[key] = deep;
    }
  }
}

function serialise(random, value) {
  const text = nested(value);
  if (random.oneIn(40)) return `\ufeff${text}`;
  if (random.oneIn(40)) return text.replace(/:(-?\d+(\.\d+)?)/, ':NaN');
  return text;
}

/** A copy; the value itself where an earlier strike has nested it too deeply to be copied. */
function copyOf(value) {
  try {
    return structuredClone(value);
  } catch {
    return value;
  }
}

/** JSON.stringify without its recursion limit for what `strike` nested. */
function nested(value) {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    return `${'['.repeat(20000)}${']'.repeat(20000)}`;
  }
}
