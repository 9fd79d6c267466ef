import { expect, it } from 'vitest';
import { compileNamePattern } from '../../src/dump/names/name-pattern.js';
import { randomNumbers } from '../diff/random-numbers.js';

/** What a pattern means, as a regular expression: fine for the short ones here. */
function asExpression(pattern: string): (name: string) => { block: number; rest: string } | undefined {
  const source = pattern.replace(/\{2l\+1\}|\{l\}|\{rest\}|\*|[.+-]/g, (part) =>
    part === '*'
      ? '[^.:]*'
      : part === '{rest}'
        ? '(?<rest>.*)'
        : part.startsWith('{')
          ? '(?<number>0|[1-9]\\d{0,6})'
          : `\\${part}`,
  );
  const expression = new RegExp(`^${source}$`, 's');
  return (name) => {
    const groups = expression.exec(name)?.groups ?? (expression.test(name) ? {} : undefined);
    if (groups === undefined) return undefined;
    const { rest = '', number } = groups;
    const block =
      number === undefined ? 0 : pattern.includes('2l') ? (Number(number) - 1) / 2 : Number(number);
    return Number.isInteger(block) && block >= 0 ? { block, rest } : undefined;
  };
}

it('means what a regular expression means, number and rest included', () => {
  const random = randomNumbers(4);
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)]!;
  const text = (pieces: readonly string[], most: number): string =>
    Array.from({ length: 1 + Math.floor(random() * most) }, () => pick(pieces)).join('');
  let matched = 0;
  for (let k = 0; k < 8000; k++) {
    const pattern =
      text(['a', '.', ':', '*', '1', '0', '-'], 3) +
      pick(['{l}', '{2l+1}', '']) +
      text(['a', '*', '.'], 2) +
      pick(['{rest}', '']);
    const name = text(['a', '.', ':', '1', '0', '12', '3', '-', '\n'], 7);
    const expected = asExpression(pattern)(name);
    if (expected !== undefined) matched++;
    expect([pattern, name, compileNamePattern(pattern).match(name)]).toEqual([pattern, name, expected]);
  }
  expect(matched).toBeGreaterThan(50);
});

it('takes no time for patterns that a backtracking expression never ends with', () => {
  const started = performance.now();
  expect(compileNamePattern(`${'*a'.repeat(60)}b`).match('a'.repeat(1024))).toBeUndefined();
  expect(compileNamePattern(`${'*'.repeat(200)}{rest}x`).match('a'.repeat(1024))).toBeUndefined();
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(() => compileNamePattern('{'.repeat(10_001))).toThrow(
    expect.objectContaining({ code: 'BAD_ARGUMENT' }),
  );
});
