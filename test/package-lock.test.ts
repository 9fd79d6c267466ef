/** What npm installs is what was locked: every package by the hash of its archive. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

/**
 * Packages of other platforms, which the registry that the file was made with does not serve: npm leaves
 * their archive's address and hash out. They are optional parts of packages that are locked at the same exact
 * version, and npm on such a platform takes them from its own registry. Regenerating the file where all are
 * served adds the hashes.
 */
const OF_OTHER_PLATFORMS = /^node_modules\/(@biomejs\/cli-|@node-llama-cpp\/mac-arm64-metal$)/;

interface Locked {
  version?: string;
  integrity?: string;
  optional?: boolean;
  os?: string[];
}

const { packages } = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'package-lock.json'), 'utf8'),
) as { packages: Record<string, Locked> };

it('locks every package by a SHA-512 hash, but optional ones of other platforms', () => {
  const without = Object.entries(packages).filter(
    ([path, { integrity }]) => path !== '' && !integrity?.startsWith('sha512-'),
  );
  for (const [path, { optional, os, version }] of without) {
    expect(path).toMatch(OF_OTHER_PLATFORMS);
    expect([path, optional, os?.length, /^\d+\.\d+\.\d+$/.test(version!)]).toEqual([path, true, 1, true]);
  }
});

it('depends on exact versions alone', () => {
  const root = packages[''] as Record<string, Record<string, string>>;
  for (const kind of ['dependencies', 'optionalDependencies', 'devDependencies'])
    for (const [name, version] of Object.entries(root[kind]!))
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
});
