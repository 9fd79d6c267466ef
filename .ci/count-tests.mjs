// Prints `N passed, N failed, N skipped` of vitest's JSON reports added up; fails when a test failed or a
// report is missing.
import { existsSync, readFileSync } from 'node:fs';

const count = { passed: 0, failed: 0, skipped: 0 };
for (const file of process.argv.slice(2)) {
  if (!existsSync(file)) {
    console.error(`count-tests: expected vitest's report in ${file}, found none`);
    count.failed++;
    continue;
  }
  const { testResults } = JSON.parse(readFileSync(file, 'utf8'));
  for (const { status, assertionResults } of testResults) {
    for (const test of assertionResults)
      count[test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped']++;
    // A file that does not load, or whose hooks fail, has no failed test of its own.
    if (status === 'failed' && assertionResults.every((test) => test.status !== 'failed')) count.failed++;
  }
}
console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
if (count.failed > 0) process.exitCode = 1;
