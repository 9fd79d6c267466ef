import { existsSync } from 'node:fs';
import { describe } from 'vitest';

/**
 * Debian's Chromium and what else a test may drive; the first that exists. `ZAYASCOPE_CHROMIUM` names another
 * one.
 */
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Path of a Chromium, or undefined when none is installed. */
export function chromiumPath(): string | undefined {
  return [process.env.ZAYASCOPE_CHROMIUM ?? '', ...CHROMIUM].find((path) => path !== '' && existsSync(path));
}

/**
 * `describe` for tests that need a system package. Without the package they are skipped visibly, naming it;
 * under `ZAYASCOPE_REQUIRE_ALL=1` (`.ci/run`) they run and fail instead.
 */
export function describeWith(what: string, present: boolean, title: string, body: () => void): void {
  if (present || process.env.ZAYASCOPE_REQUIRE_ALL === '1') describe(title, body);
  else describe.skip(`${title} (skipped: ${what} is not installed)`, body);
}
