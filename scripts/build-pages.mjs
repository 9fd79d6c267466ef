// Bundles the scripts of the pages that the library writes into dist/pages, one plain script each: figures.js
// (any page with figures) and report.js.
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = join(ROOT, 'dist', 'pages');
const PAGES = { figures: 'src/plot/page/main.ts', report: 'src/report/page/main.ts' };

/** Bundles every page; fails on whatever a browser lacks, such as a module of Node. */
export async function buildPages() {
  await mkdir(OUT, { recursive: true });
  for (const [name, input] of Object.entries(PAGES)) {
    const bundle = await rolldown({
      cwd: ROOT,
      input,
      platform: 'browser',
      onLog(_level, { message }) {
        throw new Error(`${input}: ${message}`);
      },
    });
    const { output } = await bundle.generate({ format: 'iife' });
    await bundle.close();
    if (output.length !== 1 || output[0].imports.length > 0)
      throw new Error(`${input}: expected one script without imports, got ${output.length} files`);
    // Renamed into place: runs beside this one read a whole file.
    const partial = join(OUT, `.${name}.${process.pid}.js`);
    try {
      // It stands in a script element, which this would end; the string means the same.
      await writeFile(partial, output[0].code.replaceAll('</script', '<\\/script'));
      await rename(partial, join(OUT, `${name}.js`));
    } finally {
      await rm(partial, { force: true });
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPages();
