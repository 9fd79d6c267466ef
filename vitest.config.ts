import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The addon holds a process-wide ggml registry: one process per file keeps tests independent of each other.
    pool: 'forks',
    testTimeout: 60_000,
  },
});
