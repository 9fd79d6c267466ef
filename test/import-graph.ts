import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** One `import` or `export ... from` of a source file; dynamic imports and `import type` are told apart. */
export interface SourceImport {
  /** Path below `src` of the importing file, e.g. `cli/diff.ts`. */
  from: string;
  /** Path below `src` of the imported file, or the name of a package. */
  to: string;
  kind: 'static' | 'type' | 'dynamic';
}

const SOURCE = join(import.meta.dirname, '..', 'src');

/** All files below `src`, e.g. `graph/graph.ts`. */
export function sourceFiles(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
}

/** Text of a source file without its comments. */
export function sourceText(file: string): string {
  return readFileSync(join(SOURCE, file), 'utf8').replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
}

/** All imports of a source file. */
export function importsOf(file: string): SourceImport[] {
  const text = sourceText(file);
  const statements = [...text.matchAll(/^(?:import|export)\s([^;']*?\sfrom\s)?'([^']+)';/gm)];
  const dynamic = [...text.matchAll(/\b(typeof\s+)?import\('([^']+)'\)/g)];
  return [
    ...statements.map(([, clause = '', to]) => entry(file, to!, isTypeOnly(clause) ? 'type' : 'static')),
    ...dynamic.map(([, isType, to]) => entry(file, to!, isType === undefined ? 'dynamic' : 'type')),
  ];
}

/** `import type {...}`, or braces in which every name is marked `type`. */
function isTypeOnly(clause: string): boolean {
  if (/^type\s/.test(clause.trim())) return true;
  const names = /\{([^}]*)\}/.exec(clause)?.[1];
  if (names === undefined || !/^\s*\{/.test(clause)) return false;
  return names.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type '));
}

function entry(from: string, specifier: string, kind: SourceImport['kind']): SourceImport {
  if (!specifier.startsWith('.')) return { from, to: specifier, kind };
  const path = join(SOURCE, dirname(from), specifier).replace(/\.js$/, '.ts');
  return { from, to: relative(SOURCE, path).replaceAll('\\', '/'), kind };
}

/** Source files that importing `file` loads, itself included; dynamic imports count only if asked for. */
export function loadedBy(file: string, options: { dynamic: boolean } = { dynamic: false }): Set<string> {
  const loaded = new Set<string>();
  const queue = [file];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (loaded.has(next) || !next.endsWith('.ts')) continue;
    loaded.add(next);
    for (const { to, kind } of importsOf(next))
      if (kind === 'static' || (kind === 'dynamic' && options.dynamic)) queue.push(to);
  }
  return loaded;
}
