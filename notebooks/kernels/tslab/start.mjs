// Starts the tslab kernel of this repository; Jupyter passes the connection file.
//
// Cells import the library by its name. Node resolves that to the repository itself, but the TypeScript 5.0.4
// inside tslab knows no self-reference: for it, `node_modules/zayascope` links to the repository. The link is
// made here, so that every way of opening a notebook has it.
import { existsSync, lstatSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const link = join(root, 'node_modules', 'zayascope');

for (const [file, command] of [
  ['node_modules/tslab', 'npm ci'],
  ['dist/index.d.ts', 'npm run build'],
]) {
  if (!existsSync(join(root, file))) {
    console.error(`kernel: expected ${file}, found none: run \`${command}\` in ${root}`);
    process.exit(1);
  }
}

if (!lstatSync(link, { throwIfNoEntry: false })) {
  try {
    symlinkSync('..', link, 'junction');
  } catch (error) {
    if (error.code !== 'EEXIST') throw error; // another kernel was faster
  }
}

// A page that was loaded anew takes the script of the figures from here, where Jupyter serves it.
try {
  const parts = ['node_modules/plotly.js-dist-min/plotly.min.js', 'dist/pages/figures.js'];
  const [plotly, own] = parts.map((file) => readFileSync(join(root, file), 'utf8'));
  const file = fileURLToPath(new URL('figures.js', import.meta.url));
  const text = `if (!globalThis.Plotly) {\n${plotly}\n}\n${own}\ndispatchEvent(new Event('zayascope-ready'));\n`;
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    const partial = `${file}.${process.pid}`;
    writeFileSync(partial, text);
    renameSync(partial, file);
  }
} catch {
  // A folder that cannot be written to: the first figure brings the script along, as everywhere else.
}

// What a cell imports is loaded once and stays as it is, so nobody has to watch its files. TypeScript would
// watch some hundreds of them, and tslab stops with "Unexpected pending rebuildTimer" where two change at
// once.
const require = createRequire(join(root, 'node_modules', 'tslab', 'dist', 'main.js'));
const { sys } = require('@tslab/typescript-for-tslab');
sys.watchFile = () => ({ close() {} });
sys.watchDirectory = () => ({ close() {} });

const { startKernel } = require('./main.js');
startKernel({ configPath: process.argv[2], enableFindLocal: false });
