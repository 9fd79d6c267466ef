import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ZayascopeError } from '../errors.js';

const sources = new Map<string, string>();

/**
 * Source text of a page's script as `npm run build` bundles it (`scripts/build-pages.mjs`). Read once.
 *
 * @throws `IO` where the library was not built.
 */
export function bundledScript(page: 'figures' | 'report'): string {
  const known = sources.get(page);
  if (known !== undefined) return known;
  // The same place seen from `src`, which tests run, and from `dist`.
  const file = fileURLToPath(new URL(`../../dist/pages/${page}.js`, import.meta.url));
  if (!existsSync(file))
    throw new ZayascopeError(
      'IO',
      `page: expected the script of its pages, which \`npm run build\` makes, got no file (${file})`,
      { op: 'page' },
    );
  const source = readFileSync(file, 'utf8');
  sources.set(page, source);
  return source;
}
