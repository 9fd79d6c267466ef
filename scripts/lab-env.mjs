// Creates `.venv-lab` with the pinned JupyterLab and what executes and exports notebooks, or does nothing if it is up to date.
//
//   node scripts/lab-env.mjs
import { fileURLToPath } from 'node:url';
import { runScript, virtualEnv } from './virtual-env.mjs';

/** The environment of the notebooks. */
export const labEnvironment = virtualEnv({
  name: 'lab-env',
  folder: '.venv-lab',
  lockFile: 'notebooks/requirements.lock',
});

if (process.argv[1] === fileURLToPath(import.meta.url)) runScript('lab-env', labEnvironment.prepare);
