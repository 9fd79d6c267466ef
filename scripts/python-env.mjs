// Creates `.venv` with the pinned Python packages of the reference, or does nothing if it is up to date.
//
//   node scripts/python-env.mjs
//
// ZAYASCOPE_PYTHON names another interpreter that already has the packages: then nothing is installed.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const venv = join(root, '.venv');
const python = join(venv, 'bin', 'python');
const stampFile = join(venv, 'zayascope-stamp');
const lockFile = join(root, 'dumps', 'reference', 'requirements.lock');
const MINIMUM_PYTHON = [3, 11];

// One retry: pip's default of five costs minutes where an index cannot be reached and another one serves the packages.
const env = { PIP_RETRIES: '1', PIP_DISABLE_PIP_VERSION_CHECK: '1', ...process.env };

function run(command, args) {
  console.log(`> ${[command, ...args].join(' ').replaceAll(`${root}/`, '')}`);
  execFileSync(command, args, { env, cwd: root, stdio: 'inherit' });
}

function read(command, args) {
  return execFileSync(command, args, {
    env,
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
  }).trim();
}

function fail(message) {
  console.error(`python-env: ${message}`);
  process.exit(1);
}

function basePython() {
  let version;
  try {
    version = read('python3', ['-c', 'import sys; print(sys.version.split()[0])']);
  } catch {
    return fail(`expected python3 (${MINIMUM_PYTHON.join('.')} or newer) on the PATH, found none`);
  }
  const [major, minor] = version.split('.').map(Number);
  if (major < MINIMUM_PYTHON[0] || (major === MINIMUM_PYTHON[0] && minor < MINIMUM_PYTHON[1])) {
    fail(`expected Python ${MINIMUM_PYTHON.join('.')} or newer, python3 is ${version}`);
  }
  return version;
}

function torchImports() {
  try {
    read(python, ['-c', 'import torch']);
    return true;
  } catch {
    return false;
  }
}

function install(stamp) {
  rmSync(stampFile, { force: true });
  if (!existsSync(python)) {
    rmSync(venv, { recursive: true, force: true });
    run('python3', ['-m', 'venv', venv]);
  }
  run(python, ['-m', 'pip', 'install', '-qq', '--no-deps', '--no-compile', '-r', lockFile]);
  if (!torchImports()) {
    // The default Linux build of torch cannot be imported without its CUDA packages. A CPU build avoids them: see dumps/README.md.
    console.log('python-env: this build of torch needs packages of its own (CUDA), installing them');
    const pin = readFileSync(lockFile, 'utf8').match(/^torch==.+$/m)[0];
    run(python, ['-m', 'pip', 'install', '-qq', pin, '-c', lockFile]);
  }
  writeFileSync(stampFile, stamp);
}

if (process.env.ZAYASCOPE_PYTHON) {
  console.log('python-env: ZAYASCOPE_PYTHON is set, nothing to install');
} else {
  const stamp = createHash('sha256').update(readFileSync(lockFile)).update(basePython()).digest('hex');
  if (existsSync(stampFile) && existsSync(python) && readFileSync(stampFile, 'utf8') === stamp) {
    console.log('python-env: .venv is up to date');
  } else {
    try {
      install(stamp);
    } catch (error) {
      fail(`installing the Python packages failed: ${error.message}`);
    }
    console.log('python-env: .venv is ready');
  }
}
