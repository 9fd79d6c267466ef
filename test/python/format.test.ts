import { describe } from 'vitest';
import { runChecks } from './run-checks.js';

describe("the Python package's dumps, patterns and metrics", () => {
  runChecks('format_checks.py');
});
