import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** vitest globalSetup: the environment of the notebooks exists before any test file starts. */
export function setup(): void {
  execFileSync(process.execPath, [join(root, 'scripts', 'lab-env.mjs')], { cwd: root, stdio: 'inherit' });
}
