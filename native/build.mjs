/**
 * Builds the addon: finds the prebuilt ggml libraries of this platform, gets the matching headers, runs
 * cmake-js into `native/build`, and writes `native/build/paths.json` for `src/native.ts`. Does nothing when
 * neither sources nor versions have changed.
 *
 * `ZAYASCOPE_GGML=source` builds ggml itself too; platforms without a prebuilt package always do.
 * `ZAYASCOPE_CMAKE_OPTIONS` then passes on options of ggml, such as
 * `GGML_HIP=ON GGML_CPU_ALL_VARIANTS=ON CMAKE_BUILD_TYPE=Debug`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ggmlSource, ggmlVersion, llamaHeaders, PACKAGE_VERSION } from './fetch-headers.mjs';
import { placesFromPrebuild, prebuiltLibraries } from './libraries.mjs';

const NATIVE = dirname(fileURLToPath(import.meta.url));
const BUILD = join(NATIVE, 'build');
const ADDON = 'Release/zayascope.node';
/** What a path of libraries begins with that is relative to the addon. */
const ORIGIN = process.platform === 'darwin' ? '@loader_path' : '$ORIGIN';
const require = createRequire(import.meta.url);

if (process.argv[1] === fileURLToPath(import.meta.url))
  try {
    build();
  } catch (error) {
    console.error(`zayascope: the native addon was not built: ${error.message}`);
    process.exitCode = 1;
  }

/** Builds the addon where something has changed. Throws an Error that says what is missing. */
export function build() {
  const fromSource = process.env.ZAYASCOPE_GGML === 'source';
  const libraries = fromSource ? undefined : prebuiltLibraries();
  const stamp = fingerprint(libraries);
  const stampFile = join(BUILD, 'stamp');
  if (existsSync(join(BUILD, ADDON)) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp)
    return;

  const source = ggmlSource();
  const folder = libraries ?? join(BUILD, 'ggml-libraries');
  const rpath = [relative(dirname(join(BUILD, ADDON)), folder), ...placesFromPrebuild()]
    .map((path) => `${ORIGIN}/${path}`)
    .join(';');
  compile({
    ...Object.fromEntries(extraOptions().map((option) => option.split(/=(.*)/s))),
    ZAYASCOPE_GGML: libraries === undefined ? 'source' : 'prebuilt',
    ZAYASCOPE_GGML_SOURCE: source,
    ZAYASCOPE_GGML_LIBRARIES: folder,
    ZAYASCOPE_LLAMA_HEADERS: llamaHeadersIfAny(),
    ZAYASCOPE_GGML_RPATH: rpath,
    ZAYASCOPE_GGML_VERSION: ggmlVersion(source),
  });
  writeFileSync(
    join(BUILD, 'paths.json'),
    `${JSON.stringify({ addon: ADDON, libraries: relative(BUILD, folder) })}\n`,
  );
  writeFileSync(stampFile, stamp);
}

/** Empty for a checkout of ggml alone, which has no libllama either: the addon is then built without. */
function llamaHeadersIfAny() {
  try {
    return llamaHeaders();
  } catch (error) {
    if (!process.env.ZAYASCOPE_GGML_SOURCE) throw error;
    console.error(`zayascope: built without \`record\`: ${error.message}`);
    return '';
  }
}

function extraOptions() {
  const options = (process.env.ZAYASCOPE_CMAKE_OPTIONS ?? '').split(/\s+/).filter((option) => option !== '');
  for (const option of options)
    if (!/^\w+=./.test(option))
      throw new Error(`ZAYASCOPE_CMAKE_OPTIONS: expected NAME=VALUE, got ${option}`);
  return options;
}

/** Changes whenever a rebuild is needed. Headers are pinned by their version. */
function fingerprint(libraries) {
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([
      PACKAGE_VERSION,
      process.platform,
      process.arch,
      libraries === undefined ? 'source' : relative(BUILD, libraries),
    ]),
  );
  hash.update(JSON.stringify([process.env.ZAYASCOPE_GGML_SOURCE, extraOptions()]));
  for (const name of ['cmake-js', 'node-addon-api'])
    hash.update(JSON.parse(readFileSync(packageFile(name), 'utf8')).version);
  const sources = readdirSync(join(NATIVE, 'src'))
    .sort()
    .map((file) => join('src', file));
  for (const file of ['CMakeLists.txt', 'build.mjs', 'libraries.mjs', 'platform-packages.json', ...sources])
    hash.update(file).update(readFileSync(join(NATIVE, file)));
  return hash.digest('hex');
}

function packageFile(name) {
  for (const folder of require.resolve.paths(name)) {
    const file = join(folder, name, 'package.json');
    if (existsSync(file)) return file;
  }
  throw new Error(`expected the package ${name}; run \`npm ci\``);
}

function compile(definitions) {
  mkdirSync(BUILD, { recursive: true });
  const cli = join(dirname(packageFile('cmake-js')), 'bin', 'cmake-js');
  const options = Object.entries(definitions).map(([key, value]) => `--CD${key}=${value}`);
  const args = [
    cli,
    'build',
    '--directory',
    NATIVE,
    '--out',
    BUILD,
    '--parallel',
    String(availableParallelism()),
  ];
  // A changed option must reach an existing CMake cache, so configure runs each time; it takes a second.
  for (const command of ['configure', 'build']) {
    const result = spawnSync(process.execPath, [cli, command, ...args.slice(2), ...options], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (result.status !== 0)
      throw new Error(`cmake-js ${command} failed; it needs CMake 3.18 or newer and a C++17 compiler`);
  }
}
