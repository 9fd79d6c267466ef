// Rewrites the tables of docs/conformance.md from runs on this machine:
//
//   node scripts/conformance-docs.mjs [SECTION...]
//
// Sections: "CPU", "lavapipe, as it is", "lavapipe, strict F32"; default: all. Mesa keeps compiled kernels:
// the first run on lavapipe takes most of an hour, later ones a minute or two.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DOCS = fileURLToPath(new URL('../docs/conformance.md', import.meta.url));
const COMMAND = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SECTIONS = {
  CPU: [],
  'lavapipe, as it is': ['--backend', 'lavapipe'],
  'lavapipe, strict F32': ['--backend', 'lavapipe', '--strict-f32'],
};
const REASONS = '| op | why the tolerance |';

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(SECTIONS);
for (const title of wanted) {
  const args = SECTIONS[title];
  if (args === undefined)
    throw new Error(`expected one of ${Object.keys(SECTIONS).join('; ')}, got ${title}`);
  const run = [COMMAND, 'conformance', ...args, '--markdown'];
  const { status, stdout, stderr } = spawnSync(process.execPath, run, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0 && status !== 1) throw new Error(`${title}: ${stderr}`);
  const at = stdout.indexOf(REASONS);
  replace(title, `\`\`\`\nnpx zayascope ${run.slice(1).join(' ')}\n\`\`\`\n\n${stdout.slice(0, at).trim()}`);
  replace('Tolerances', stdout.slice(at).trim());
  console.log(`${title}: exit code ${status}`);
}

/** Replaces what stands below the heading, from its first table or command on. */
function replace(title, body) {
  const text = readFileSync(DOCS, 'utf8');
  const start = text.indexOf(`\n## ${title}\n`);
  if (start < 0) throw new Error(`docs/conformance.md has no section "${title}"`);
  const end = text.indexOf('\n## ', start + 1);
  const section = text.slice(start, end < 0 ? undefined : end);
  const from = start + section.search(/\n(```|\| )/) + 1;
  const rest = end < 0 ? '' : `\n${text.slice(end)}`;
  writeFileSync(DOCS, `${text.slice(0, from)}${body}${rest === '' ? '\n' : rest}`);
}
