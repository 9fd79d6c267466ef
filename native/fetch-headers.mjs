/**
 * Gets ggml's source of the exact release that the prebuilt libraries were made from.
 *
 * The npm package `node-llama-cpp` carries it as a git bundle. Installing that package would also pull every
 * platform's binaries, so only its archive is fetched, checked against the pinned hash, and `ggml/` and
 * `llama.h` taken out of the bundle. The result is kept in `native/.ggml/<version>`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const PACKAGE_VERSION = '3.22.1';
const INTEGRITY =
  'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==';
const BUNDLE = 'package/llama/gitRelease.bundle';
const CACHE = join(dirname(fileURLToPath(import.meta.url)), '.ggml');

/**
 * Folder with ggml's `include/`, `src/` and `CMakeLists.txt`. `ZAYASCOPE_GGML_SOURCE` may name a checkout of
 * ggml or llama.cpp to use instead. Throws an Error that says what to install or set.
 */
export function ggmlSource() {
  const given = process.env.ZAYASCOPE_GGML_SOURCE;
  if (given !== undefined && given !== '') {
    for (const folder of [given, join(given, 'ggml')])
      if (existsSync(join(folder, 'include', 'ggml.h'))) return folder;
    throw new Error(
      `ZAYASCOPE_GGML_SOURCE: expected a checkout of ggml or llama.cpp, got no include/ggml.h in ${given}`,
    );
  }
  return releaseSource({ version: PACKAGE_VERSION, integrity: INTEGRITY });
}

/**
 * The same of any release that a version of the npm package carries: what headers for other programs are
 * compiled against in tests. `llama.h` lies in its folder `llama`.
 */
export function releaseSource(release) {
  const target = join(CACHE, release.version);
  if (!existsSync(join(target, 'include', 'ggml.h'))) fetchInto(target, release);
  return target;
}

/**
 * Folder with `llama.h` of the same release, for programs that link the prebuilt libllama. A checkout of
 * llama.cpp in `ZAYASCOPE_GGML_SOURCE` has it too.
 */
export function llamaHeaders() {
  const source = ggmlSource();
  for (const folder of [join(source, '..', 'include'), join(source, 'llama')])
    if (existsSync(join(folder, 'llama.h'))) return folder;
  if (dirname(source) !== CACHE)
    throw new Error(
      `ZAYASCOPE_GGML_SOURCE: expected a checkout of llama.cpp, got no include/llama.h beside ${source}`,
    );
  // A cache of an earlier version of this file holds ggml alone.
  fetchInto(source, { version: PACKAGE_VERSION, integrity: INTEGRITY });
  return join(source, 'llama');
}

/** Version that a source folder declares, e.g. `0.25.1`. */
export function ggmlVersion(source) {
  const cmake = readFileSync(join(source, 'CMakeLists.txt'), 'utf8');
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => cmake.match(new RegExp(`set\\(GGML_VERSION_${part} (\\d+)\\)`))?.[1],
  );
  if (parts.includes(undefined))
    throw new Error(`expected GGML_VERSION_MAJOR, _MINOR and _PATCH in ${join(source, 'CMakeLists.txt')}`);
  return parts.join('.');
}

function fetchInto(target, { version, integrity }) {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'fetch-'));
  try {
    run('git', ['--version'], work, 'git is needed to unpack ggml headers');
    const archive = pack(work, version);
    const actual = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (actual !== integrity)
      throw new Error(`node-llama-cpp@${version}: expected ${integrity}, got ${actual}`);
    extract(archive, work);
    run(
      'git',
      ['clone', '--quiet', '--no-checkout', join(work, BUNDLE), 'clone'],
      work,
      'the bundle could not be read',
    );
    run(
      'git',
      ['archive', '--format=tar', '--output=ggml.tar', 'HEAD', 'ggml', 'include/llama.h'],
      work,
      'the bundle could not be read',
      { GIT_DIR: join(work, 'clone', '.git') },
    );
    extract('ggml.tar', work);
    renameSync(join(work, 'include'), join(work, 'ggml', 'llama'));
    rmSync(target, { recursive: true, force: true });
    renameSync(join(work, 'ggml'), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

// `npm pack` honours the user's registry, proxy and credentials, which a plain download would not.
function pack(work, version) {
  const npm = process.env.npm_execpath;
  const args = ['pack', `node-llama-cpp@${version}`, '--silent', '--pack-destination', work];
  const advice =
    'fetching node-llama-cpp (for the ggml headers) needs npm and the registry; ZAYASCOPE_GGML_SOURCE can name a local ggml checkout';
  // Inside `npm install` npm exports its own settings, and with `dry-run` or `json` set the archive would not
  // appear or be named differently.
  const clean = { npm_config_dry_run: '', npm_config_json: '', npm_config_ignore_scripts: 'true' };
  if (npm !== undefined && /npm-cli\.[cm]?js$/.test(npm))
    run(process.execPath, [npm, ...args], work, advice, clean);
  else run('npm', args, work, advice, clean);
  return join(work, `node-llama-cpp-${version}.tgz`);
}

function extract(archive, work) {
  const members = archive.endsWith('.tgz') ? [BUNDLE] : [];
  const tar = spawnSync('tar', ['-xf', archive, ...members], { cwd: work, stdio: 'ignore' });
  if (tar.status === 0) return;
  const script =
    'import sys, tarfile\nwith tarfile.open(sys.argv[1]) as archive:\n  for name in (sys.argv[2:] or archive.getnames()): archive.extract(name)';
  run(
    'python3',
    ['-c', script, archive, ...members],
    work,
    'unpacking the ggml headers needs tar or Python 3',
  );
}

function run(command, args, cwd, advice, env = {}) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
  });
  if (result.status === 0) return;
  const detail = result.error?.message ?? (result.stderr ?? '').trim();
  throw new Error(`${advice} (\`${command} ${args[0]}\` failed: ${detail})`);
}
