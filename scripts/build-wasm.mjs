// Compiles native/wasm into dist/wasm/loops.wasm: SIMD loops that need no addon and no C++ compiler. Does
// nothing when no source has changed since: the compiler takes seconds.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCES = join(ROOT, 'native', 'wasm');
const OUT = join(ROOT, 'dist', 'wasm');
const STAMP = join(OUT, 'sources.sha256');
/** 64 KiB each: constants and scratch memory, then what a reader of two dumps fills (src/simd.ts). */
const PAGES = 4 + 4 * 64;

/** Compiles the module. */
export async function buildWasm() {
  await mkdir(OUT, { recursive: true });
  const stamp = await fingerprint();
  if ((await readFile(STAMP, 'utf8').catch(() => '')) === stamp) return;
  const { default: asc } = await import('assemblyscript/asc');
  const { error, stderr } = await asc.main(
    [
      'native/wasm/main.ts',
      ...['--baseDir', ROOT, '--outFile', 'loops.wasm', '-O3', '--enable', 'simd', '--runtime', 'stub'],
      // Of fixed size: views of it stay valid.
      ...['--initialMemory', String(PAGES), '--maximumMemory', String(PAGES), '--zeroFilledMemory'],
    ],
    {
      writeFile: async (_name, contents) => {
        // Renamed into place: runs beside this one read a whole file.
        const partial = join(OUT, `.loops.${process.pid}.wasm`);
        await writeFile(partial, contents);
        await rename(partial, join(OUT, 'loops.wasm'));
      },
    },
  );
  if (error !== null) throw new Error(`native/wasm: ${stderr.toString()}`, { cause: error });
  await writeFile(STAMP, stamp);
}

async function fingerprint() {
  const hash = createHash('sha256').update(await readFile(import.meta.filename));
  for (const name of (await readdir(SOURCES)).sort()) hash.update(await readFile(join(SOURCES, name)));
  return hash.digest('hex');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
