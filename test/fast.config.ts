import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { configDefaults, defineConfig } from 'vitest/config';

const root = join(import.meta.dirname, '..');

/** Helpers that start Python or a browser, and folders whose tests start other programs or long runs. */
const SLOW_HELPERS = ['test/reference/python.ts', 'test/browser.ts', 'test/system-package.ts'];
const SLOW_FOLDERS = ['test/notebooks/', 'test/reference/', 'test/gpu/', 'test/conformance/', 'test/cli/'];

/** Files that take more than five seconds of a processor. */
const SLOW_FILES = [
  'test/locate/repro.test.ts',
  'test/locate/bisect.test.ts',
  'test/models/zaya-convert.test.ts',
  'test/models/zaya-gguf.test.ts',
  'test/models/zaya-repack.test.ts',
  'test/models/zaya-synth.test.ts',
  'test/graph/ops.test.ts',
  'test/graph/conv1d.test.ts',
  'test/dump/mutation.test.ts',
];

/** True where a file, or a helper that it imports, starts Python, a browser or a command. */
function isSlow(file: string, seen = new Set<string>()): boolean {
  if (seen.has(file)) return false;
  seen.add(file);
  if (
    SLOW_HELPERS.includes(file) ||
    SLOW_FILES.includes(file) ||
    SLOW_FOLDERS.some((folder) => file.startsWith(folder))
  )
    return true;
  const text = readFileSync(join(root, file), 'utf8');
  if (/node:child_process/.test(text)) return true;
  return [...text.matchAll(/from '(\.[^']+)\.js'/g)]
    .map(([, specifier]) => relative(root, join(root, dirname(file), `${specifier}.ts`)))
    .filter((imported) => imported.startsWith('test/'))
    .some((imported) => isSlow(imported, seen));
}

const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .map((file) => `test/${file}`)
  .filter((file) => file.endsWith('.test.ts') && !file.endsWith('.slow.test.ts') && !isSlow(file));

// `npm run test:fast`, for the inner loop: no Python, no browser, no command line. Under a minute on two
// cores.
export default defineConfig({
  root,
  test: {
    include: files,
    exclude: [...configDefaults.exclude],
    globalSetup: [join(root, 'test', 'pages-setup.ts')],
    pool: 'forks',
    // Two processes for all files: starting one for each and loading the library in it was a third of the
    // processor time. `npm test` keeps files apart.
    isolate: false,
    maxWorkers: 2,
    testTimeout: 60_000,
    reporters: ['default', join(root, 'test', 'slowest-files.ts')],
  },
});
