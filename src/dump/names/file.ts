import { badArgument, type ZayascopeError } from '../../errors.js';
import { FAMILIES, FAMILY_MAPS } from '../../families/families.js';
import { describeValue } from '../../weights/describe-value.js';
import { readSmallFile } from '../../weights/file-access.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { TRANSFORMS, type Transform } from '../import/layout.js';
import type { NameMap, NameRule } from './name-map.js';

const OP = 'readNameMap';
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** The built-in maps by name. */
export const NAME_MAPS: Readonly<Record<string, NameMap>> = FAMILY_MAPS;

/**
 * A built-in map by its name, or the map of a JSON file:
 * `{"name": "...", "rules": [{"from": "Qraw-{2l}", "tap": "layers.{l}...", ...}], "ignore": [...], "order": [...]}`.
 * Throws `IO` for a file that cannot be read, `BAD_ARGUMENT` naming the field at fault.
 */
export async function readNameMap(nameOrFile: string): Promise<NameMap> {
  if (Object.hasOwn(NAME_MAPS, nameOrFile)) return NAME_MAPS[nameOrFile]!;
  if (!nameOrFile.endsWith('.json'))
    throw bad(`${Object.keys(NAME_MAPS).join(', ')} or a .json file`, `'${nameOrFile}'`, '--map');
  const json = parseJsonObject(await readSmallFile(OP, nameOrFile, MAX_FILE_BYTES), {
    code: 'BAD_ARGUMENT',
    op: OP,
    where: nameOrFile,
  });
  checkKeys(
    json,
    ['version', 'name', 'rules', 'ignore', 'order', 'family', 'evidence'],
    'the map',
    nameOrFile,
  );
  const { version = 1, name, rules, ignore = [], order, family } = json;
  if (version !== 1 && version !== 2) throw bad('1 or 2 as version', describeValue(version), nameOrFile);
  if (typeof name !== 'string') throw bad('a string as name', describeValue(name), nameOrFile);
  if (!Array.isArray(rules)) throw bad('an array of rules', describeValue(rules), nameOrFile);
  if (!Array.isArray(ignore) || !ignore.every((entry) => typeof entry === 'string'))
    throw bad('an array of strings as ignore', describeValue(ignore), nameOrFile);
  if (order !== undefined && !(Array.isArray(order) && order.every((entry) => typeof entry === 'string')))
    throw bad('an array of strings as order', describeValue(order), nameOrFile);
  const known = FAMILIES.find((each) => each.name === family)?.name;
  if (family !== undefined && known === undefined)
    throw bad(
      `${FAMILIES.map((each) => `"${each.name}"`).join(' or ')} as family`,
      describeValue(family),
      nameOrFile,
    );
  return {
    name,
    rules: rules.map((rule, k) => parseRule(rule, `rules[${k}]`, nameOrFile)),
    ignore,
    ...(order === undefined ? {} : { order: order as string[] }),
    ...(known === undefined ? {} : { family: known }),
  };
}

function parseRule(value: unknown, at: string, file: string): NameRule {
  const rule = asObject(value, at, file);
  checkKeys(rule, ['from', 'tap', 'layout', 'scope', 'prefix', 'masked', 'evidence'], at, file);
  const { from, tap, layout = [], scope, prefix, masked } = rule;
  if (typeof from !== 'string' || typeof tap !== 'string')
    throw bad(`strings as ${at}.from and .tap`, `${describeValue(from)} and ${describeValue(tap)}`, file);
  if (scope !== undefined && scope !== 'step') throw bad(`"step" as ${at}.scope`, describeValue(scope), file);
  if (prefix !== undefined && prefix !== true) throw bad(`true as ${at}.prefix`, describeValue(prefix), file);
  if (masked !== undefined && masked !== true) throw bad(`true as ${at}.masked`, describeValue(masked), file);
  if (!Array.isArray(layout)) throw bad(`an array as ${at}.layout`, describeValue(layout), file);
  return {
    from,
    tap,
    layout: layout.map((step, k) => parseTransform(step, `${at}.layout[${k}]`, file)),
    ...(scope === undefined ? {} : { scope }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(masked === undefined ? {} : { masked }),
  };
}

function parseTransform(value: unknown, at: string, file: string): Transform {
  const transform = asObject(value, at, file);
  const op = TRANSFORMS.find((name) => name === transform.op);
  switch (op) {
    case 'permute': {
      checkKeys(transform, ['op', 'axes'], at, file);
      const axes = integers(transform.axes, 0, `${at}.axes`, file);
      if (new Set(axes).size !== axes.length || axes.some((axis) => axis >= axes.length))
        throw bad(`each axis once in ${at}.axes`, describeValue(axes), file);
      return { op, axes };
    }
    case 'gather': {
      checkKeys(transform, ['op', 'axis', 'order'], at, file);
      return {
        op,
        axis: axisOf(transform.axis, at, file),
        order: integers(transform.order, 0, `${at}.order`, file),
      };
    }
    case 'interleave':
    case 'split':
    case 'deinterleave': {
      checkKeys(transform, ['op', 'axis', 'parts'], at, file);
      const [parts] = integers([transform.parts], 1, `${at}.parts`, file) as [number];
      return { op, axis: axisOf(transform.axis, at, file), parts };
    }
    case undefined:
      throw bad(`${TRANSFORMS.join(', ')} as ${at}.op`, describeValue(transform.op), file);
    default:
      checkKeys(transform, ['op'], at, file);
      return { op };
  }
}

function axisOf(value: unknown, at: string, file: string): number {
  if (!Number.isInteger(value) || (value as number) >= 0)
    throw bad(`an axis counted from the end (-1 is the last) as ${at}.axis`, describeValue(value), file);
  return value as number;
}

function integers(value: unknown, least: number, at: string, file: string): number[] {
  if (
    !Array.isArray(value) ||
    value.length === 0 ||
    !value.every((entry) => Number.isSafeInteger(entry) && entry >= least)
  )
    throw bad(`integers from ${least} in ${at}`, describeValue(value), file);
  return value;
}

function asObject(value: unknown, at: string, file: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(`an object as ${at}`, describeValue(value), file);
  return value as Record<string, unknown>;
}

/** A misspelled key would otherwise be a rule that silently does less. */
function checkKeys(value: Record<string, unknown>, known: readonly string[], at: string, file: string): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw bad(`only ${known.join(', ')} in ${at}`, `'${unknown}'`, file);
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
