/**
 * Every `zayascope` command of the pages about ports, as written, in a folder where its paths lead to the
 * branch's files; what the pages show of the output is compared.
 */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../../cli/run-command.js';
import { type DocumentedCommand, documentedCommands, firstMismatch } from '../../documented-commands.js';
import { root } from '../../reference/python.js';
import { portFolder, portModel, portScratch } from './port-folders.js';

/** The whole journey and the import come first: commands before them in a page may read what they make. */
const FIRST = /^(npx )?zayascope port /;
const SECOND = /^(npx )?zayascope import /;

/**
 * The pages whose commands are run in one folder; of the README only the command that needs what a port
 * wrote: test/readme.test.ts runs the others.
 */
const PAGES: [page: string, commands: readonly DocumentedCommand[]][] = [
  [
    'docs/import.md',
    [
      ...documentedCommands('docs/import.md'),
      ...documentedCommands('README.md').filter(({ command }) => FIRST.test(command)),
    ],
  ],
  ['docs/locate.md', documentedCommands('docs/locate.md')],
];

function inOrder(commands: readonly DocumentedCommand[]): DocumentedCommand[] {
  const rank = ({ command }: DocumentedCommand) => (FIRST.test(command) ? 0 : SECOND.test(command) ? 1 : 2);
  return [...commands].sort((a, b) => rank(a) - rank(b));
}

describe.each(PAGES)('%s', (page, found) => {
  const before = process.cwd();
  beforeAll(async () => {
    const cwd = portScratch(page.replace('/', '-'));
    mkdirSync(join(cwd, 'out'), { recursive: true });
    symlinkSync(join(root, 'dumps'), join(cwd, 'dumps'));
    symlinkSync(portFolder('before-f32'), join(cwd, 'out', 'port'));
    symlinkSync(await portModel('before-f32'), join(cwd, 'model.gguf'));
    process.chdir(cwd);
  });
  afterAll(() => process.chdir(before));

  const commands = inOrder(found);
  const results = new Map<string, Promise<CommandResult>>();
  /** Runs a command once, however often it is shown. */
  const run = (words: readonly string[]): Promise<CommandResult> => {
    const known = results.get(words.join(' ')) ?? runCommand(words);
    results.set(words.join(' '), known);
    return known;
  };
  it('has commands, and shows what they print', () => {
    expect(commands.length).toBeGreaterThanOrEqual(3);
    expect(commands.filter(({ output }) => output !== undefined).length).toBeGreaterThanOrEqual(1);
  });

  it.each(commands)('$command', async ({ command, output }) => {
    const words = command.replace(/^npx /, '').split(' ').slice(1);
    const { code, stdout, stderr } = await run(words);
    // `locate` says with 1 that an op is at fault.
    expect({ code, stderr }).toEqual({ code: /^FAULT /m.test(stdout) ? 1 : 0, stderr: '' });
    expect(stdout).not.toBe('');
    if (output !== undefined) expect(firstMismatch(output, stdout)).toBeUndefined();
  });
});

describe('the comparison of what is shown and printed', () => {
  const printed = 'FAULT  6 kinds\nfirst fault: a\n  own 3.8e-8  limit 1.2e-13  0.01 %\nlast';
  it.each([
    ['the same', printed],
    ['other spaces', 'FAULT 6 kinds\nfirst fault: a\nown 3.8e-8 limit 1.2e-13 0.01 %\nlast'],
    ['last digits', 'FAULT  6 kinds\nfirst fault: a\n  own 3.6e-8  limit 0  0.01 %\nlast'],
    ['lines left out', '...\nfirst fault: a\n...'],
  ])('passes over %s', (_, shown) => {
    expect(firstMismatch(shown, printed)).toBeUndefined();
  });
  it.each([
    ['another whole number', printed.replace('6', '5')],
    ['another word', printed.replace('first', 'last')],
    ['another figure', printed.replace('3.8e-8', '5.8e-8')],
    ['a line too many', `${printed}\nmore`],
    ['a line that is missing', printed.replace('first fault: a\n', '')],
    ['the end missing', printed.replace('\nlast', '')],
  ])('finds %s', (_, shown) => {
    expect(firstMismatch(shown, printed)).toBeDefined();
  });
});
