// Creates `.venv-lab` with the pinned JupyterLab and what executes and exports notebooks, or does nothing if it is up to date.
//
//   node scripts/lab-env.mjs
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, runScript, virtualEnv } from './virtual-env.mjs';

const FOLDER = '.venv-lab';

/** The environment of the notebooks. */
export const labEnvironment = virtualEnv({
  name: 'lab-env',
  folder: FOLDER,
  lockFile: 'notebooks/requirements.lock',
  complete() {
    // JupyterLab brings a CommonJS script, and asks it for its settings at each start; our package.json would make it an ES module.
    writeFileSync(join(root, FOLDER, 'package.json'), '{ "type": "commonjs" }\n');
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) runScript('lab-env', labEnvironment.prepare);
