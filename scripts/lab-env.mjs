// Creates `.venv-lab` with the pinned JupyterLab and what executes and exports notebooks, or does nothing if
// it is up to date.
//
//   node scripts/lab-env.mjs
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, runScript, virtualEnv } from './virtual-env.mjs';

const FOLDER = '.venv-lab';

function writeJson(path, value) {
  const file = join(root, FOLDER, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(value)}\n`);
}

/** The environment of the notebooks. */
export const labEnvironment = virtualEnv({
  name: 'lab-env',
  folder: FOLDER,
  lockFile: 'notebooks/requirements.lock',
  complete() {
    // JupyterLab brings a CommonJS script, and asks it for its settings at each start; our package.json would
    // make it an ES module.
    writeJson('package.json', { type: 'commonjs' });
    // Else JupyterLab asks at its first start whether it may fetch news.
    writeJson('share/jupyter/lab/settings/overrides.json', {
      '@jupyterlab/apputils-extension:notification': { fetchNews: 'false', checkForUpdates: false },
    });
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) runScript('lab-env', labEnvironment.prepare);
