/** Known vulnerabilities of what is installed, where the registry tells. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

interface Audit {
  metadata?: { vulnerabilities: Record<string, number> };
}

it('npm audit finds nothing of high severity in what users install', async (context) => {
  const answer = await new Promise<string>((resolve) => {
    const options = { cwd: join(import.meta.dirname, '..'), timeout: 60_000 };
    execFile('npm', ['audit', '--omit=dev', '--json'], options, (_, stdout) => resolve(stdout));
  });
  let audit: Audit = {};
  try {
    audit = JSON.parse(answer) as Audit;
  } catch {
    // Ended by the time limit.
  }
  const found = audit.metadata?.vulnerabilities;
  if (found === undefined) return context.skip('the registry does not answer npm audit');
  expect([found.high, found.critical]).toEqual([0, 0]);
}, 90_000);
