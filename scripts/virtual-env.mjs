// Keeps a project-local virtual environment at the pins of its lock file: shared by `python-env.mjs` and
// `lab-env.mjs`.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of the repository. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const MINIMUM_PYTHON = [3, 11];

// One retry: pip's default of five costs minutes where an index cannot be reached and another one serves the
// packages.
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

function basePython() {
  let version;
  try {
    version = read('python3', ['-c', 'import sys; print(sys.version.split()[0])']);
  } catch {
    throw new Error(`expected python3 (${MINIMUM_PYTHON.join('.')} or newer) on the PATH, found none`);
  }
  const [major, minor] = version.split('.').map(Number);
  if (major < MINIMUM_PYTHON[0] || (major === MINIMUM_PYTHON[0] && minor < MINIMUM_PYTHON[1])) {
    throw new Error(`expected Python ${MINIMUM_PYTHON.join('.')} or newer, python3 is ${version}`);
  }
  return version;
}

/**
 * A virtual environment: `folder` and `lockFile` are paths below the root, `name` is who speaks in messages.
 * `complete({ pip, imports, lockFile })` runs after the locked packages were installed:
 * `pip(...args)` installs more, `imports(module)` says whether the environment's Python can import a module.
 */
export function virtualEnv({ name, folder, lockFile, complete = () => {} }) {
  const venv = join(root, folder);
  const lock = join(root, lockFile);
  const python = join(venv, 'bin', 'python');
  const stampFile = join(venv, 'zayascope-stamp');
  const stamp = () => createHash('sha256').update(readFileSync(lock)).update(basePython()).digest('hex');
  const pip = (...args) => run(python, ['-m', 'pip', 'install', '-qq', ...args]);

  function imports(module) {
    try {
      read(python, ['-c', `import ${module}`]);
      return true;
    } catch {
      return false;
    }
  }

  /** Whether the environment exists and holds what the lock file says. Throws without a usable python3. */
  function isUpToDate() {
    return existsSync(stampFile) && existsSync(python) && readFileSync(stampFile, 'utf8') === stamp();
  }

  /** Installs what is missing, or does nothing. Throws if that fails. */
  function prepare() {
    if (isUpToDate()) {
      console.log(`${name}: ${folder} is up to date`);
      return;
    }
    rmSync(stampFile, { force: true });
    if (!existsSync(python)) {
      rmSync(venv, { recursive: true, force: true });
      run('python3', ['-m', 'venv', venv]);
    }
    try {
      pip('--no-deps', '--no-compile', '-r', lock);
      complete({ pip, imports, lockFile: lock });
    } catch (error) {
      throw new Error(`installing the Python packages failed: ${error.message}`);
    }
    writeFileSync(stampFile, stamp());
    console.log(`${name}: ${folder} is ready`);
  }

  return { folder: venv, bin: (command) => join(venv, 'bin', command), isUpToDate, prepare };
}

/** Runs a script's main function; prints an error as one line and exits with 1. */
export function runScript(name, main) {
  try {
    main();
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exit(1);
  }
}
