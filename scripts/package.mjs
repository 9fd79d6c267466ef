// `npm run package`: packs the library with the addon of this platform in `prebuilds`, so that installing it
// takes no compiler. A recipe that runs it on several platforms collects their folders before the last one
// packs.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from '../native/build.mjs';
import { PLATFORM } from '../native/libraries.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

build();
const folder = join(ROOT, 'prebuilds', PLATFORM);
mkdirSync(folder, { recursive: true });
copyFileSync(join(ROOT, 'native', 'build', 'Release', 'zayascope.node'), join(folder, 'zayascope.node'));
// The rest of the arguments are npm's, such as --pack-destination.
execFileSync('npm', ['pack', '--ignore-scripts', ...process.argv.slice(2)], { cwd: ROOT, stdio: 'inherit' });
