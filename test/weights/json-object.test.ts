import { describe, expect, it } from 'vitest';
import { parseJsonObject, parsePythonJson, withoutNonFinite } from '../../src/weights/json-object.js';

const source = { code: 'BAD_CONFIG', op: 'test', where: 'here' } as const;
const parse = (text: string) => parseJsonObject(new TextEncoder().encode(text), source);

describe('JSON as Python writes it', () => {
  // json.dumps of these values in CPython 3.11.
  it('has NaN and infinities, outside of strings', () => {
    const text =
      '{"a": NaN, "b": [Infinity, -Infinity, 1.5], "c": "NaN", "NaN": "-Infinity", "d": "\\"Infinity"}';
    expect(parse(text)).toEqual({
      a: Number.NaN,
      b: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1.5],
      c: 'NaN',
      NaN: '-Infinity',
      d: '"Infinity',
    });
    expect(parsePythonJson('[NaN, "NaN", "NaN_"]')).toEqual([Number.NaN, 'NaN', 'NaN_']);
    expect(withoutNonFinite(parse(text))).toMatchObject({ a: 'NaN', b: ['Infinity', '-Infinity', 1.5] });
  });

  it.each(['{"a": -NaN}', '{"a": nan}', '{"a": Infinit}', '{"a": NaN1}', '{"a": infinity}'])(
    'refuses %s',
    (text) => {
      expect(() => parse(text)).toThrow(/expected valid JSON, got a syntax error/);
    },
  );

  it('says what a file is that holds none', () => {
    expect(() => parse('\ufeff{"a": 1}')).toThrow(/without a byte-order mark, got one at its start/);
    expect(() => parse('version https://git-lfs.github.com/spec/v1\noid sha256:00\n')).toThrow(
      /expected valid JSON, got a git-lfs pointer instead of the file/,
    );
    expect(() => parse(`{"a": ${'['.repeat(100_000)}`)).toThrow(/nested at most 32 deep/);
  });
});
