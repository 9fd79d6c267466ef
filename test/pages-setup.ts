import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * Bundles the scripts of pages (a tenth of a second) and compiles the SIMD loops if they changed, so that
 * tests never see those of an older source.
 */
export default function setup(): void {
  for (const script of ['build-pages.mjs', 'build-wasm.mjs'])
    execFileSync(process.execPath, [join(import.meta.dirname, '..', 'scripts', script)]);
}
