import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Bundles the scripts of pages (a tenth of a second), so that tests never see those of an older source. */
export default function setup(): void {
  execFileSync(process.execPath, [join(import.meta.dirname, '..', 'scripts', 'build-pages.mjs')]);
}
