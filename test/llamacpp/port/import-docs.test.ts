/** Every `zayascope` command of docs/import.md, as written, in a folder where its paths lead to the branch's files. */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { root } from '../../reference/python.js';
import { portFolder, portScratch, TINY_MODEL } from './port-folders.js';

it('runs every command of docs/import.md', async () => {
  const text = readFileSync(join(root, 'docs', 'import.md'), 'utf8');
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => block!.split('\n'));
  const found = blocks.filter((line) => line.startsWith('zayascope '));
  // The journey comes first: a command before it in the page may read what it makes.
  const commands = [...found].sort(
    (a, b) => Number(b.startsWith('zayascope port')) - Number(a.startsWith('zayascope port')),
  );
  commands.sort(
    (a, b) => Number(b.startsWith('zayascope import')) - Number(a.startsWith('zayascope import')),
  );
  expect(commands.length).toBeGreaterThanOrEqual(6);
  const cwd = portScratch('docs');
  mkdirSync(join(cwd, 'out'), { recursive: true });
  symlinkSync(join(root, 'dumps'), join(cwd, 'dumps'));
  symlinkSync(portFolder('before-f32'), join(cwd, 'out', 'port'));
  const before = process.cwd();
  process.chdir(cwd);
  try {
    const made = await runCommand(['convert', TINY_MODEL, '--type', 'f32', '--out', 'model.gguf']);
    expect(made.code).toBe(0);
    for (const command of commands) {
      const { code, stderr } = await runCommand(command.split(' ').slice(1));
      // The branch differs: locate says so with 1.
      const differs = /^zayascope (port|locate) /.test(command) ? 1 : 0;
      expect([command, code, stderr]).toEqual([command, differs, '']);
    }
  } finally {
    process.chdir(before);
  }
});
