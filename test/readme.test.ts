import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codeBlocks } from './documented-commands.js';
import { pythonPath } from './reference/python.js';

const root = join(import.meta.dirname, '..');
const DOCUMENTS = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'docs/attribution.md',
  'docs/backends.md',
  'docs/bisect.md',
  'docs/commands.md',
  'docs/conformance.md',
  'docs/dump-format.md',
  'docs/import.md',
  'docs/locate.md',
  'docs/notebooks.md',
  'docs/performance.md',
  'docs/policies.md',
  'docs/python.md',
  'docs/quantisation.md',
  'docs/report.md',
  'docs/repro.md',
  'docs/stepping.md',
  'dumps/README.md',
  'python/README.md',
];
/** The documents whose commands are run, in this order and one folder. */
const RUN = ['README.md', 'docs/commands.md'];

const COMMANDS = [
  'capture',
  'convert',
  'diff',
  'diff-weights',
  'doctor',
  'evaluate',
  'export',
  'generate',
  'inspect',
  'port',
  'synth',
  'verify-logits',
];

/** First words of the lines that are not indented: what does not vary between machines. */
function firstWords(text: string): string[] {
  const words = text.split('\n').map((line) => /^\S+/.exec(line)?.[0] ?? '');
  return [...new Set(words)].filter((word) => word !== '').sort();
}

describe('README.md and docs/commands.md', () => {
  // A folder that looks like the checkout to the commands, so that what they write does not touch a user's
  // `out/`.
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-readme-'));
    mkdirSync(join(folder, 'node_modules'));
    mkdirSync(join(folder, 'out'));
    symlinkSync(root, join(folder, 'node_modules', 'zayascope'));
    symlinkSync(join(root, 'dumps'), join(folder, 'dumps'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  // The demo has a test of its own, in test/cli/demo.test.ts.
  const examples = RUN.flatMap((document) => codeBlocks(document)).filter((text) => /^\$ (?!npm)/.test(text));

  it('show each command with a real output', () => {
    const shown = examples.map((text) => /^\$ npx zayascope (\S+)/.exec(text)?.[1]);
    expect(shown).toEqual(expect.arrayContaining(COMMANDS));
  });

  // One test: later commands read what earlier ones wrote.
  it('show what their commands print', { timeout: 300_000 }, () => {
    // What a port wrote is unpacked in test/llamacpp/port/docs.test.ts, which runs this one and compares its
    // output.
    for (const example of examples.filter((text) => !text.startsWith('$ npx zayascope port '))) {
      const [first, ...output] = example.split('\n');
      const command = first!
        .slice(2)
        .replace(/^npx zayascope/, `'${process.execPath}' '${join(root, 'dist', 'cli', 'main.js')}'`)
        .replace(/^\.venv\/bin\/python/, `'${pythonPath()}'`);
      const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: folder, encoding: 'utf8' });
      const fails = output.some((line) => line.startsWith('FAIL'));
      expect({ first, status, stderr }).toMatchObject({ status: fails ? 1 : 0 });
      expect({ first, words: firstWords(stdout) }).toEqual({ first, words: firstWords(output.join('\n')) });
    }
  });

  it('have JavaScript and Python that run', () => {
    const [script] = codeBlocks('README.md', 'js');
    writeFileSync(join(folder, 'example.mjs'), script!);
    const js = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
    expect(js).toMatch(/^\[ 56, 128 \] -?\d/);
    expect(js).toMatch(/^PASS {2}energy NMSE at most 1e-10; 8 taps compared/m);
    const python = execFileSync(pythonPath(), ['-c', codeBlocks('README.md', 'python')[0]!], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(python).toBe('(56, 128) float32\n');
  });
});

describe.each(DOCUMENTS)('%s', (document) => {
  it('links to files that exist', () => {
    const text = readFileSync(join(root, document), 'utf8');
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target]) => target!);
    const broken = links.filter((target) => !existsSync(join(root, dirname(document), target)));
    expect(broken).toEqual([]);
  });
});
