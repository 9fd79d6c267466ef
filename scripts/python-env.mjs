// Creates `.venv` with the pinned Python packages of the reference, or does nothing if it is up to date.
//
//   node scripts/python-env.mjs
//
// ZAYASCOPE_PYTHON names another interpreter that already has the packages: then nothing is installed.
import { readFileSync } from 'node:fs';
import { runScript, virtualEnv } from './virtual-env.mjs';

const environment = virtualEnv({
  name: 'python-env',
  folder: '.venv',
  lockFile: 'dumps/reference/requirements.lock',
  complete({ pip, imports, lockFile }) {
    if (imports('torch')) return;
    // The default Linux build of torch cannot be imported without its CUDA packages. A CPU build avoids them:
    // see dumps/README.md.
    console.log('python-env: this build of torch needs packages of its own (CUDA), installing them');
    const pin = readFileSync(lockFile, 'utf8').match(/^torch==.+$/m)[0];
    pip(pin, '-c', lockFile);
  },
});

if (process.env.ZAYASCOPE_PYTHON) {
  console.log('python-env: ZAYASCOPE_PYTHON is set, nothing to install');
} else {
  runScript('python-env', environment.prepare);
}
