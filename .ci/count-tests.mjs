// Prints `N passed, N failed, N skipped` from vitest's JSON report; fails when a test failed or the report is missing.
import { existsSync, readFileSync } from 'node:fs';

const file = process.argv[2];
if (!existsSync(file)) {
  console.error(`count-tests: expected vitest's report in ${file}, found none`);
  process.exit(1);
}
const { testResults } = JSON.parse(readFileSync(file, 'utf8'));
const count = { passed: 0, failed: 0, skipped: 0 };
for (const { status, assertionResults } of testResults) {
  for (const test of assertionResults)
    count[test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped']++;
  // A file that does not load, or whose hooks fail, has no failed test of its own.
  if (status === 'failed' && assertionResults.every((test) => test.status !== 'failed')) count.failed++;
}
console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
if (count.failed > 0) process.exitCode = 1;
