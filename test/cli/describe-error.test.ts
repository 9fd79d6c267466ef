import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeError, errorLine } from '../../src/cli/describe-error.js';
import { ZayascopeError } from '../../src/errors.js';

const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');

function overflow(): number {
  return 1 + overflow();
}

it.each<[string, () => unknown, RegExp]>([
  [
    'one of ours',
    () => Promise.reject(new ZayascopeError('BAD_DUMP', 'open: no\n  lines\u001b[2J')),
    /^zayascope: BAD_DUMP: open: no lines\\u001b\[2J\n$/,
  ],
  ['too deep a nesting', overflow, /^zayascope: UNEXPECTED: .* nested less deeply/],
  [
    'a slip of ours',
    () => (undefined as unknown as { x: number }).x,
    /^zayascope: UNEXPECTED: .* TypeError: .*; please report it\n$/,
  ],
  [
    'what is no error',
    () => Promise.reject('text'),
    /^zayascope: UNEXPECTED: .* got text; please report it\n$/,
  ],
  ['the system', () => openSync('/absent/file', 'r'), /^zayascope: IO: ENOENT: /],
])('%s is a code and one line, without a stack', async (_name, fail, expected) => {
  const error = await (async () => fail())().catch((caught: unknown) => caught);
  const line = errorLine(describeError(error));
  expect(line).toMatch(expected);
  expect(line.trimEnd().split('\n')).toHaveLength(1);
  expect(line).not.toMatch(/ at .*[(:]\d+/);
});

it.runIf(process.platform === 'linux')('a full disk behind stdout ends with 2 and a sentence', () => {
  const { status, stderr } = spawnSync(process.execPath, [main, '--help'], {
    stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([2, expect.stringMatching(/^zayascope: IO: .*ENOSPC/)]);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});
