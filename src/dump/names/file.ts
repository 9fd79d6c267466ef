import { badArgument } from '../../errors.js';
import { FAMILIES, FAMILY_MAPS } from '../../families/families.js';
import { FieldCheck } from '../../field-check.js';
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
    throw badArgument(OP, `${Object.keys(NAME_MAPS).join(', ')} or a .json file`, `'${nameOrFile}'`, '--map');
  const text = { code: 'BAD_ARGUMENT', op: OP, where: nameOrFile } as const;
  const json = parseJsonObject(await readSmallFile(OP, nameOrFile, MAX_FILE_BYTES), text);
  return parseNameMap(json, new FieldCheck(text));
}

function parseNameMap(json: Record<string, unknown>, check: FieldCheck): NameMap {
  const known = ['version', 'name', 'rules', 'ignore', 'order', 'family', 'evidence'];
  const { version = 1, name, rules, ignore = [], order, family } = check.objectOf(json, known, 'the map');
  check.equal(version, [1, 2], 'version');
  const map: NameMap = {
    name: check.string(name, 'name'),
    rules: check
      .array(rules, 'the map', 'an array of rules')
      .map((rule, k) => parseRule(rule, `rules[${k}]`, check)),
    ignore: check.strings(ignore, 'ignore'),
  };
  if (order !== undefined) map.order = check.strings(order, 'order');
  if (family !== undefined)
    map.family = check.equal(
      family,
      FAMILIES.map((each) => each.name),
      'family',
    );
  return map;
}

function parseRule(value: unknown, at: string, check: FieldCheck): NameRule {
  const known = ['from', 'tap', 'layout', 'scope', 'prefix', 'masked', 'evidence'];
  const { from, tap, layout = [], scope, prefix, masked } = check.objectOf(value, known, at);
  const rule: NameRule = {
    from: check.string(from, `${at}.from`),
    tap: check.string(tap, `${at}.tap`),
    layout: check
      .array(layout, `${at}.layout`)
      .map((step, k) => parseTransform(step, `${at}.layout[${k}]`, check)),
  };
  if (scope !== undefined) rule.scope = check.equal(scope, ['step'], `${at}.scope`);
  if (prefix !== undefined) rule.prefix = check.equal(prefix, [true], `${at}.prefix`);
  if (masked !== undefined) rule.masked = check.equal(masked, [true], `${at}.masked`);
  return rule;
}

function parseTransform(value: unknown, at: string, check: FieldCheck): Transform {
  const transform = check.object(value, at);
  const { axis, axes, order, parts } = transform;
  const op = TRANSFORMS.find((name) => name === transform.op);
  switch (op) {
    case 'permute':
      check.objectOf(value, ['op', 'axes'], at);
      return { op, axes: permutation(axes, `${at}.axes`, check) };
    case 'gather':
      check.objectOf(value, ['op', 'axis', 'order'], at);
      return { op, axis: axisOf(axis, at, check), order: indices(order, `${at}.order`, check) };
    case 'interleave':
    case 'split':
    case 'deinterleave':
      check.objectOf(value, ['op', 'axis', 'parts'], at);
      return { op, axis: axisOf(axis, at, check), parts: check.integer(parts, 1, `${at}.parts`) };
    case undefined:
      return check.fail(`${at}.op`, TRANSFORMS.join(', '), transform.op);
    default:
      check.objectOf(value, ['op'], at);
      return { op };
  }
}

function permutation(value: unknown, at: string, check: FieldCheck): number[] {
  const axes = indices(value, at, check);
  if (new Set(axes).size !== axes.length || axes.some((axis) => axis >= axes.length))
    check.fail(at, 'each axis once', axes);
  return axes;
}

/** Integers from 0, one at least. */
function indices(value: unknown, at: string, check: FieldCheck): number[] {
  const list = check.integers(value, 0, at);
  if (list.length === 0) check.fail(at, 'integers from 0', list);
  return list;
}

function axisOf(value: unknown, at: string, check: FieldCheck): number {
  if (!Number.isInteger(value) || (value as number) >= 0)
    check.fail(`${at}.axis`, 'an axis counted from the end (-1 is the last)', value);
  return value as number;
}
