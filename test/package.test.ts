import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

describe('the package that npm packs', () => {
  let files: string[] = [];
  beforeAll(() => {
    const printed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      cwd: root,
    });
    // A list of packages, or an object with one for each name, as the version of npm has it.
    const packages = JSON.parse(printed) as Record<string, { files: { path: string }[] }>;
    files = Object.values(packages).flatMap((each) => each.files.map(({ path }) => path));
  });

  it('holds the scripts of its pages', () => {
    expect(files).toEqual(expect.arrayContaining(['dist/pages/figures.js', 'dist/pages/report.js']));
  });

  it('holds whatever its map of exports names', async () => {
    const { default: manifest } = (await import('../package.json', { with: { type: 'json' } })) as {
      default: { exports: Record<string, string | Record<string, string>> };
    };
    const named = Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry),
    );
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((file) => !files.includes(file.slice(2)))).toEqual([]);
    expect(named.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });
});
