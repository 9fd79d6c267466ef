import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

/** What `native.ts` gets from `require`, by the end of the path. */
let modules: Record<string, unknown> = {};

vi.mock('node:module', () => ({
  createRequire: () => (path: string) => {
    const found = Object.entries(modules).find(([end]) => path.endsWith(end));
    if (found === undefined) throw new Error(`Cannot find module ${path}`);
    return found[1];
  },
}));

beforeEach(() => vi.resetModules());
afterEach(() => {
  modules = {};
});

function addonOf(
  ggml: string,
  headers: string,
): { loadBackends: (folder: string) => void } & Record<string, unknown> {
  return { setErrorClass: vi.fn(), version: () => ({ ggml, commit: 'abc', headers }), loadBackends: vi.fn() };
}

it('refuses ggml libraries of another version than the headers, and loads no backend', async () => {
  const addon = addonOf('0.25.0', '0.25.1');
  modules = { 'zayascope.node': addon };
  const { native } = await import('../../src/native.js');
  expect(() => native()).toThrow(
    expect.objectContaining({
      code: 'VERSION_MISMATCH',
      message: expect.stringMatching(/0\.25\.1.*0\.25\.0.*npm ci/),
    }),
  );
  expect(addon.loadBackends).not.toHaveBeenCalled();
});

it('names the command that builds the addon when it is missing', async () => {
  const { native } = await import('../../src/native.js');
  expect(() => native()).toThrow(
    expect.objectContaining({ code: 'BACKEND', message: expect.stringContaining('npm run build:native') }),
  );
});

it('loads backends once, from the folder that the build names', async () => {
  const addon = addonOf('1', '1');
  modules = { 'zayascope.node': addon };
  const { native } = await import('../../src/native.js');
  expect(native()).toBe(native());
  expect(addon.loadBackends).toHaveBeenCalledTimes(1);
  const build = join(import.meta.dirname, '..', '..', 'native', 'build');
  const { libraries } = JSON.parse(readFileSync(join(build, 'paths.json'), 'utf8'));
  expect(addon.loadBackends).toHaveBeenCalledWith(join(build, libraries));
});
