/**
 * What `npm install` runs: takes the addon that the package brings for this platform where it loads, builds
 * it where that can be done, and otherwise says in one sentence what works without. In a checkout, whose
 * users build it, a failed build is an error.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { PLATFORM } from './libraries.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
// Packed files are without the sources in TypeScript.
const isCheckout = existsSync(join(ROOT, 'tsconfig.json'));

const problem = prebuiltProblem();
if (isCheckout || problem !== undefined)
  try {
    build();
  } catch (error) {
    console.error(`zayascope: the native addon was not built: ${error.message}`);
    if (isCheckout) process.exitCode = 1;
    else
      console.error(
        `zayascope: installed without the addon (${problem}): diff, report, import, inspect, verify-logits and export work; for capture, locate and record install a C++17 compiler, CMake 3.18 and git, then run \`npm rebuild zayascope\``,
      );
  }

/** Why the addon in `prebuilds` does not load, tried in a process of its own: a library can end it. */
function prebuiltProblem() {
  const file = join(ROOT, 'prebuilds', PLATFORM, 'zayascope.node');
  if (!existsSync(file)) return `the package has none for ${PLATFORM}`;
  const { status, signal, stderr } = spawnSync(
    process.execPath,
    ['-e', 'require(process.argv[1]).version()', file],
    { encoding: 'utf8', timeout: 60_000 },
  );
  if (status === 0) return undefined;
  const error = stderr.split('\n').find((line) => line.includes('Error:')) ?? signal ?? `exit code ${status}`;
  return `the one for ${PLATFORM} does not load: ${error.replace(/^Error: /, '')}`;
}
