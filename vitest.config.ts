import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run test:slow` (test/slow.config.ts) runs these: fuzzing, kills, every planted fault.
    exclude: [...configDefaults.exclude, 'test/**/*.slow.test.ts'],
    // Create .venv and .venv-lab with the pinned Python packages on the first run; checks of 50 ms
    // afterwards.
    globalSetup: ['test/pages-setup.ts', 'test/reference/python-setup.ts', 'test/notebooks/lab-setup.ts'],
    // The addon holds a process-wide ggml registry: one process per file keeps tests independent of each
    // other.
    pool: 'forks',
    // A larger young generation: with V8's 16 MB, collecting takes a quarter of the time in the tests that
    // build many graphs.
    execArgv: ['--max-semi-space-size=64'],
    // Most files wait for a process of their own half of the time; vitest alone takes one worker on two
    // cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Python starts slowly: importing torch and transformers takes seconds.
    testTimeout: 180_000,
    // Containers often forbid Python to keep compiled modules; compiling torch anew costs 9 s of processor
    // time at every start.
    env: { PYTHONDONTWRITEBYTECODE: '' },
    hookTimeout: 240_000,
    reporters: ['default', './test/slowest-files.ts'],
  },
});
