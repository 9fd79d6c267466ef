import { expect, it } from 'vitest';
import { tapPattern } from '../../src/tap-pattern.js';
import { randomNumbers } from '../diff/random-numbers.js';
import { pythonJson } from '../reference/python.js';

it.each([
  ['**', 'layers.3.mlp.gate:expert', true],
  ['**', 'any\nname\u2028at all', true],
  ['*', 'lm_head', true],
  ['*', 'layers.3', false],
  ['layers.*', 'layers.3', true],
  ['layers.*', 'layers.3.mlp', false],
  ['layers.*.mlp.gate:*', 'layers.12.mlp.gate:margin', true],
  ['layers.*.mlp.gate*', 'layers.12.mlp.gate:margin', false],
  ['layers.?', 'layers.7', true],
  ['layers.?', 'layers.17', false],
  ['layers.{0..3}.**', 'layers.3.self_attn.o_proj', true],
  ['layers.{0..3}.**', 'layers.30.self_attn.o_proj', false],
  ['layers.{0..3}.**', 'layers.4.self_attn.o_proj', false],
  ['layers.{9..11}', 'layers.10', true],
  ['layers.{1,5,1{2,4}}', 'layers.14', true],
  ['layers.{1,5}', 'layers.15', false],
  ['layers.3{,.mlp}', 'layers.3', true],
  ['norm, lm_head', 'lm_head', true],
  ['norm,lm_head', 'norm,lm_head', false],
  ['layersx3', 'layers.3', false],
  ['layers.3', 'layersx3', false],
  ['**.o_proj', 'layers.0.self_attn.o_proj', true],
  ['**.o_proj', 'layers.0.self_attn.o_proj:x', false],
])('%s on %s: %s', (pattern, name, matches) => {
  expect(tapPattern(pattern)(name)).toBe(matches);
});

it.each(['', 'a,,b', 'a,', '{a', 'a}', '{}', '{3..1}', '{0..99999999}', 'layers.{0..{1}'])(
  'refuses %j',
  (pattern) => {
    expect(() => tapPattern(pattern)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  },
);

it.each([
  ['**?'.repeat(14), 'a'.repeat(1000)],
  ['{0..9999}'.repeat(300), '1'.repeat(299)],
  [`${'*a'.repeat(60)}b`, 'a'.repeat(1024)],
  [`${'**a'.repeat(60)}b`, 'a'.repeat(1024)],
  [`${'{*,**}'.repeat(200)}x`, 'a'.repeat(1024)],
  [`${'{a,aa,aaa}'.repeat(200)}b`, 'a'.repeat(500)],
])('matches %j in time', (pattern, name) => {
  const started = performance.now();
  const matches = tapPattern(pattern);
  expect([matches(name), matches(`${name}\u0000`)]).toEqual([
    pattern.startsWith('**?'),
    pattern.startsWith('**?'),
  ]);
  // A backtracking expression takes years; this is seconds on the slowest machine.
  expect(performance.now() - started).toBeLessThan(10_000);
});

it.each([
  [`${'{a,'.repeat(2000)}b${'}'.repeat(2000)}`, 'braces nested at most 100 deep'],
  ['{'.repeat(2000), 'balanced braces'],
  ['x'.repeat(1_000_001), 'at most 1000000 characters'],
  ['{0..99999999999999999999999}', 'a rising range'],
  [`{${Array(1000).fill('**.**.**').join()}}`, 'at most 1000 of * and ?'],
])('refuses a long pattern with a short sentence', (pattern, expected) => {
  expect(() => tapPattern(pattern)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  try {
    tapPattern(pattern);
  } catch (error) {
    expect((error as Error).message).toContain(expected);
    expect((error as Error).message.length).toBeLessThan(400);
  }
});

it('means the same as the Python side on random patterns and names', () => {
  const random = randomNumbers(11);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const text = (pieces: readonly string[], most: number): string =>
    Array.from({ length: 1 + Math.floor(random() * most) }, () => pick(pieces)).join('');
  const pieces = [
    'a',
    'b',
    '.',
    ':',
    '*',
    '**',
    '?',
    '{a,b}',
    '{0..12}',
    '{,a{b,*}}',
    '{7..7}',
    ',',
    ' ',
    '1',
    '0',
    '{',
    '}',
    '😀',
    '\n',
    '***',
    '{a..b}',
    '(',
    '+',
  ];
  const letters = ['a', 'b', '.', ':', '1', '0', '12', '😀', '\n', ' ', '(', '+', ','];
  const cases = Array.from({ length: 3000 }, () => [text(pieces, 7), text(letters, 6)] as const);
  const answers = pythonJson<(boolean | null)[]>(['-c', PYTHON], JSON.stringify(cases));
  const ours = cases.map(([pattern, name]) => {
    try {
      return tapPattern(pattern)(name);
    } catch (error) {
      expect(error).toMatchObject({ code: 'BAD_ARGUMENT' });
      return null;
    }
  });
  expect(ours.map((answer, k) => [...cases[k]!, answer])).toEqual(
    answers.map((answer, k) => [...cases[k]!, answer]),
  );
  // And as a regular expression means it, for those of which one is written down easily.
  expect(new Set(answers)).toEqual(new Set([true, false, null]));
});

const PYTHON = `
import json, sys
sys.path.insert(0, "dumps/reference")
from errors import DumpError
from tap_pattern import compile_pattern

def answer(pattern, name):
    try:
        return compile_pattern(pattern).fullmatch(name)
    except DumpError:
        return None

print(json.dumps([answer(*case) for case in json.load(sys.stdin)]))
`;
