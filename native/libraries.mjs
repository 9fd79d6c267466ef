// Where the prebuilt ggml libraries are: a package of this platform.
import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PACKAGE_VERSION } from './fetch-headers.mjs';

/** Names of the packages by platform; `src/native.ts` reads them too. */
const PACKAGES = JSON.parse(readFileSync(new URL('./platform-packages.json', import.meta.url), 'utf8'));
const require = createRequire(import.meta.url);

/** This platform's name in `prebuilds`, e.g. `linux-x64`. */
export const PLATFORM = `${process.platform}-${process.arch}`;

/**
 * Folder of the prebuilt libraries, or undefined on a platform that has no package. Throws if there is one
 * but it is not installed.
 */
export function prebuiltLibraries() {
  const name = PACKAGES[PLATFORM];
  if (name === undefined) return undefined;
  let entry;
  try {
    entry = require.resolve(`@node-llama-cpp/${name}`);
  } catch {
    throw new Error(
      `expected the package @node-llama-cpp/${name} ${PACKAGE_VERSION}; run \`npm ci\` without --omit=optional, or set ZAYASCOPE_GGML=source`,
    );
  }
  const root = dirname(dirname(realpathSync(entry)));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  if (version !== PACKAGE_VERSION)
    throw new Error(`expected @node-llama-cpp/${name} ${PACKAGE_VERSION}, got ${version}; run \`npm ci\``);
  return join(root, 'bins', name);
}

/**
 * The same folder as seen from `prebuilds/PLATFORM` of an installed package: beside the package, or among its
 * own dependencies.
 */
export function placesFromPrebuild() {
  const name = PACKAGES[PLATFORM];
  if (name === undefined) return [];
  const library = `@node-llama-cpp/${name}/bins/${name}`;
  return [`../../../${library}`, `../../node_modules/${library}`];
}
