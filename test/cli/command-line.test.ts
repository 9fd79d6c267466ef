import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

const COMMANDS = [
  'capture',
  'generate',
  'evaluate',
  'compare',
  'diff',
  'verify-logits',
  'diff-weights',
  'convert',
  'synth',
  'export',
  'inspect',
  'doctor',
];

describe('the command line', () => {
  it('prints its version', async () => {
    const file = join(import.meta.dirname, '..', '..', 'package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    expect(await runCommand(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('lists all commands and the exit codes in its help', async () => {
    const { code, stdout } = await runCommand(['--help']);
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'));
    expect(stdout).toContain('Exit codes: 0 pass, 1 differs, 2 misuse or bad input.');
  });

  it.each(COMMANDS)('has help for %s that offers --json and fits 110 columns', async (command) => {
    const { code, stdout } = await runCommand([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--json');
    expect(stdout.split('\n').filter((line) => line.length > 110)).toEqual([]);
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['frobnicate']],
    ['an unknown option', ['doctor', '--frobnicate']],
    ['a missing required option', ['capture', '--tokens', '1']],
    ['a missing argument', ['inspect']],
    ['an argument too many', ['inspect', 'a', 'b']],
    [
      'two sources of tokens',
      ['capture', '--model', 'm', '--out', 'o', '--tokens', '1', '--tokens-file', 'f'],
    ],
    ['a thread count of zero', ['capture', '--model', 'm', '--out', 'o', '--tokens', '1', '--threads', '0']],
    [
      'a fractional thread count',
      ['capture', '--model', 'm', '--out', 'o', '--tokens', '1', '--threads', '1.5'],
    ],
    ['an unknown tier', ['capture', '--model', 'm', '--out', 'o', '--tokens', '1', '--tier', 'huge']],
    ['a threshold that is no number', ['diff', 'a', 'b', '--fail-above', 'tiny']],
    ['a negative threshold', ['diff', 'a', 'b', '--fail-above', '-1']],
  ])('exits with 2 for %s and prints no result', async (_what, args) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect(code).toBe(2);
    expect(stderr).not.toBe('');
    expect(stdout).toBe('');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('says what a wrong number should have been', async () => {
    const { stderr } = await runCommand([
      'capture',
      '--model',
      'm',
      '--out',
      'o',
      '--tokens',
      '1',
      '--threads',
      '513',
    ]);
    expect(stderr).toContain('Expected an integer from 1 to 512.');
  });

  it('prints errors as one line with their code', async () => {
    const { code, stdout, stderr } = await runCommand(['inspect', 'no/such/folder']);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^zayascope: IO: inspect: expected .*no\/such\/folder\)\n$/);
  });

  it('prints errors as a JSON document too when asked for JSON', async () => {
    const { code, stdout } = await runCommand(['inspect', 'no/such/folder', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'IO', op: 'inspect' } });
  });
});
