// Opens the notebooks in JupyterLab, on localhost and with a token.
//
//   npm run lab                  sets up .venv-lab, builds, opens a browser
//   npm run lab -- --no-browser  the same without a browser: prints the address
//   npm run lab -- --check       says what is missing, changes nothing; exit code 1 if something is
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { labEnvironment } from './lab-env.mjs';
import { root } from './virtual-env.mjs';

const notebooks = join(root, 'notebooks');
const ADDON = join(root, 'native', 'build', 'Release', 'zayascope.node');

/** What a notebook needs: its name, whether it is there, and the command that gets it. */
const NEEDS = [
  ['tslab, the TypeScript kernel', () => resolves('tslab/dist/main.js'), 'npm ci'],
  ['plotly', () => resolves('plotly.js-dist-min/plotly.min.js'), 'npm ci'],
  ['the native addon', () => existsSync(ADDON), 'npm run build:native'],
  ['the library, as new as its source', isCompiled, 'npm run build'],
  ['JupyterLab in .venv-lab', labEnvironment.isUpToDate, 'node scripts/lab-env.mjs'],
];

function resolves(specifier) {
  try {
    createRequire(import.meta.url).resolve(specifier);
    return true;
  } catch {
    return false;
  }
}

/** The compiler writes every file anew, so one of them tells the time of the build. */
function isCompiled() {
  const built = join(root, 'dist', 'index.js');
  if (!existsSync(built)) return false;
  const time = statSync(built).mtimeMs;
  return readdirSync(join(root, 'src'), { recursive: true }).every(
    (file) => !file.endsWith('.ts') || statSync(join(root, 'src', file)).mtimeMs <= time,
  );
}

/** One line per need; true if all are there. */
function check() {
  const results = NEEDS.map(([what, isThere, command]) => {
    const [there, problem] = attempt(isThere);
    console.log(there ? `ok       ${what}` : `missing  ${what}: ${problem ?? `run \`${command}\``}`);
    return there;
  });
  return results.every(Boolean);
}

function attempt(isThere) {
  try {
    return [isThere(), undefined];
  } catch (error) {
    return [false, error.message];
  }
}

/**
 * Options of JupyterLab: reachable from this computer only, nothing fetched from the network, and room for
 * plotly (4.8 MB) in one output. The token is Jupyter's default: a new one each time, which it prints with
 * the address.
 */
function labArguments(browser) {
  return [
    `--ServerApp.root_dir=${notebooks}`,
    '--ServerApp.ip=127.0.0.1',
    '--ServerApp.allow_remote_access=False',
    '--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=1000000000',
    '--LabApp.default_url=/lab/tree/01-quickstart.ipynb',
    '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate',
    '--LabApp.news_url=None',
    '--LabApp.extension_manager=readonly',
    '--log-level=WARN',
    ...(browser ? [] : ['--no-browser']),
    ...(process.getuid?.() === 0 ? ['--allow-root'] : []),
  ];
}

function openLab(browser) {
  if (!existsSync(ADDON) || !isCompiled())
    execFileSync('npm', ['run', '--silent', 'prepare'], { cwd: root, stdio: 'inherit' });
  labEnvironment.prepare();
  const env = {
    ...process.env,
    JUPYTER_PATH: [notebooks, process.env.JUPYTER_PATH].filter(Boolean).join(delimiter),
  };
  const lab = spawn(labEnvironment.bin('jupyter-lab'), labArguments(browser), {
    cwd: notebooks,
    env,
    stdio: 'inherit',
  });
  // Ctrl-C reaches Jupyter as well, which asks whether it is meant; this process waits for the answer.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => lab.kill('SIGTERM'));
  lab.on('exit', (code) => process.exit(code ?? 1));
}

try {
  const { values } = parseArgs({
    options: { check: { type: 'boolean' }, 'no-browser': { type: 'boolean' } },
  });
  if (values.check) process.exitCode = check() ? 0 : 1;
  else openLab(!values['no-browser']);
} catch (error) {
  console.error(`lab: ${error.message}`);
  process.exitCode = 1;
}
