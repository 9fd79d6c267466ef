import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const src = fileURLToPath(new URL('../../src', import.meta.url));

/**
 * Files of `src` that a module imports at run time: type imports vanish when compiled, dynamic ones count.
 */
function imports(file: string): string[] {
  const statements = readFileSync(file, 'utf8').matchAll(
    /(?:^(?:import|export)\s(?!type\b)[^;]*?from\s+|^import\s+|import\()'(\.[^']+)'/gm,
  );
  return [...statements].map(([, specifier]) => resolve(dirname(file), specifier!.replace(/\.js$/, '.ts')));
}

/** Everything reachable from some modules, themselves included, relative to `src`. */
function reachable(entries: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const queue = [...entries];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    queue.push(...imports(file));
  }
  return new Set([...seen].map((file) => relative(src, file)));
}

function modulesOf(folder: string): string[] {
  return readdirSync(join(src, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(src, folder, name));
}

it('reaches the addon from capture, so that the walk below would see it', () => {
  expect(reachable(modulesOf('capture'))).toContain('native.ts');
});

it.each(['dump', 'diff'])('never reaches the addon from %s', (folder) => {
  const files = reachable(modulesOf(folder));
  expect(files).toContain('errors.ts');
  expect(files).not.toContain('native.ts');
});
