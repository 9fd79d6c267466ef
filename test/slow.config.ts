import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from '../vitest.config.js';

// What is too slow for `npm test`: fuzzing, kills, every architecture, every planted fault in every kind of
// dump.
const config = mergeConfig(
  base,
  defineConfig({
    root: fileURLToPath(new URL('..', import.meta.url)),
    test: { testTimeout: 900_000, hookTimeout: 900_000 },
  }),
);
// Lists are joined by a merge: these two have to replace those of the base.
config.test!.include = ['test/**/*.slow.test.ts'];
config.test!.exclude = [...configDefaults.exclude];
export default config;
