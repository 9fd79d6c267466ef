import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { root } from '../reference/python.js';

const CASES = 300;

const { KINDS } = (await import('./kinds.mjs' as string)) as { KINDS: readonly { kind: string }[] };

it('has every kind of file that a user may hand us', () => {
  expect(KINDS.length).toBeGreaterThanOrEqual(16);
});

it.each(KINDS)(
  `${CASES} mutants of $kind end in a reading or an error with a code, within time and memory`,
  async ({ kind }) => {
    const main = join(root, 'test', 'fuzz', 'main.mjs');
    const args = [main, kind, '--cases', String(CASES), '--seed', '1'];
    const done = await promisify(execFile)(process.execPath, args, { cwd: root }).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    expect(done.stderr).toBe('');
    expect(done.stdout).toMatch(new RegExp(`^${kind} +${CASES} cases: .* 0 failed, [\\d.]+ s\\n$`));
  },
);
