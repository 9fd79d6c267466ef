import { describe, expect, it } from 'vitest';
import { FieldCheck } from '../src/field-check.js';

const text = { code: 'BAD_CONFIG', op: 'readThing', where: 'folder/thing.json' } as const;
const check = new FieldCheck(text);

describe('FieldCheck', () => {
  it.each<[string, () => unknown, string]>([
    ['an object', () => check.object([1, 2], 'model'), 'an object in model, got [1, 2]'],
    ['no misspelled key', () => check.objectOf({ nmae: 1 }, ['name'], 'it'), "only name in it, got 'nmae'"],
    ['an array', () => check.array({}, 'taps'), 'an array in taps, got an object'],
    ['a string', () => check.string(undefined, 'name'), 'a string in name, got nothing'],
    ['strings', () => check.strings(['a', 1], 'order'), 'an array of strings in order, got [a, 1]'],
    ['a boolean', () => check.boolean(0, 'masked'), 'true or false in masked, got 0'],
    ['an integer', () => check.integer(2.5, 1, 'size'), 'an integer from 1 in size, got 2.5'],
    ['a bounded one', () => check.integer(9, 1, 'size', 8), 'an integer from 1 to 8 in size, got 9'],
    ['integers', () => check.integers([1, -1], 0, 'axes'), 'integers from 0 in axes, got [1, -1]'],
    ['an index', () => check.index(3, 3, 'id'), 'an integer below 3 in id, got 3'],
    ['a known value', () => check.equal('c', ['a', 'b'], 'op'), '"a" or "b" in op, got "c"'],
  ])('expects %s, and says what, what came and where', (_, run, said) => {
    expect(run).toThrow(
      expect.objectContaining({
        code: 'BAD_CONFIG',
        op: 'readThing',
        tensor: 'folder/thing.json',
        message: `readThing: expected ${said} (folder/thing.json)`,
      }),
    );
  });

  it('gives what it has checked', () => {
    expect(check.integer(2 ** 53 - 1, 0, 'count')).toBe(2 ** 53 - 1);
    expect(() => check.integer(2 ** 53, 0, 'count')).toThrow('an integer from 0');
    expect(check.equal(2, [1, 2], 'version')).toBe(2);
  });

  it('words expectations as its caller does', () => {
    const keys = new FieldCheck({ ...text, wording: (field, expected) => `${field}: ${expected}` });
    expect(() => keys.string(1, 'name')).toThrow(
      'readThing: expected name: a string, got 1 (folder/thing.json)',
    );
  });
});
