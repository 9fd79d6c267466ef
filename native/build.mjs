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
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ggmlSource, ggmlVersion, llamaHeaders, PACKAGE_VERSION } from './fetch-headers.mjs';

const NATIVE = dirname(fileURLToPath(import.meta.url));
const BUILD = join(NATIVE, 'build');
const ADDON = 'Release/zayascope.node';
const PACKAGES = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
};
const require = createRequire(import.meta.url);

try {
  build();
} catch (error) {
  console.error(`zayascope: the native addon was not built: ${error.message}`);
  process.exitCode = 1;
}

function build() {
  const fromSource = process.env.ZAYASCOPE_GGML === 'source';
  const libraries = fromSource ? undefined : prebuiltLibraries();
  const stamp = fingerprint(libraries);
  const stampFile = join(BUILD, 'stamp');
  if (existsSync(join(BUILD, ADDON)) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp)
    return;

  const source = ggmlSource();
  const folder = libraries ?? join(BUILD, 'ggml-libraries');
  const origin = process.platform === 'darwin' ? '@loader_path' : '$ORIGIN';
  const rpath = `${origin}/${relative(dirname(join(BUILD, ADDON)), folder)}`;
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

/**
 * Folder of the prebuilt libraries, or undefined on a platform that has no package. Throws if there is one
 * but it is not installed.
 */
function prebuiltLibraries() {
  const name = PACKAGES[`${process.platform}-${process.arch}`];
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
  for (const file of ['CMakeLists.txt', 'build.mjs', ...sources])
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
