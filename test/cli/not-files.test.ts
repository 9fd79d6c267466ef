/**
 * What is no regular file, or cannot be written: refused at once with a sentence and exit code 2, never a
 * hang.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-not-files-'));
const root = join(import.meta.dirname, '..', '..');
const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const dump = join(tiny, 'reference-float32');
const at = (name: string) => join(scratch, name);
const main = join(root, 'dist', 'cli', 'main.js');

type Kind = 'a pipe' | 'a device' | 'a folder';
const KINDS: readonly Kind[] = ['a pipe', 'a device', 'a folder'];

/** Puts something that is no regular file at a path. */
function put(kind: Kind, path: string): string {
  rmSync(path, { recursive: true, force: true });
  if (kind === 'a pipe') execFileSync('mkfifo', [path]);
  else if (kind === 'a device') symlinkSync('/dev/zero', path);
  else mkdirSync(path);
  return path;
}

beforeAll(() => {
  cpSync(dump, at('manifest'), { recursive: true });
  cpSync(dump, at('arrow'), { recursive: true });
  cpSync(dump, at('stats'), { recursive: true });
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(KINDS)('%s', (kind) => {
  const prompt = ['--tokens', '1,2,3', '--out', at('out')];
  const inside = (folder: string, file: string): string => {
    put(kind, join(at(folder), file));
    return at(folder);
  };
  it.each<[string, () => string[]]>([
    ['a manifest', () => ['inspect', inside('manifest', 'manifest.json')]],
    ['a data file', () => ['diff', inside('arrow', 'layers.1.arrow'), dump]],
    ['statistics', () => ['inspect', inside('stats', 'stats.arrow'), '--taps', 'norm']],
    ['a policy', () => ['capture', '--model', model, ...prompt, '--policy', put(kind, at('policy.json'))]],
    [
      'tokens',
      () => ['capture', '--model', model, '--tokens-file', put(kind, at('tokens.json')), '--out', at('out')],
    ],
    ['a name map', () => ['diff', dump, dump, '--map', put(kind, at('map.json'))]],
    ['a text', () => ['evaluate', '--model', model, '--text', put(kind, at('text.txt'))]],
    [
      'an imatrix',
      () => [
        'convert',
        model,
        '--type',
        'q4_k_m',
        '--imatrix',
        put(kind, at('imatrix.dat')),
        '--out',
        at('m.gguf'),
      ],
    ],
    ['logits', () => ['verify-logits', put(kind, at('logits.bin')), dump]],
    [
      'a state',
      () => [
        'bisect',
        '--model',
        model,
        '--tokens',
        '1,2,3',
        '--good',
        'f32',
        '--bad',
        'bf16-weights',
        '--state',
        put(kind, at('state.json')),
      ],
    ],
    ...(kind === 'a folder'
      ? []
      : ([
          ['a GGUF file', () => ['inspect', put(kind, at('x.gguf'))]],
          ['a GGUF model', () => ['capture', '--model', put(kind, at('y.gguf')), ...prompt]],
          ['values', () => ['import', put(kind, at('v.safetensors')), '--map', 'zaya', '--out', at('out')]],
        ] as [string, () => string[]][])),
  ])(
    'as %s is refused at once',
    async (_what, args) => {
      const { code, stdout, stderr } = await runCommand(args());
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^zayascope: |^error: /);
      expect(stderr).not.toMatch(/\n +at /);
      expect(existsSync(at('out'))).toBe(false);
    },
    20_000,
  );
});

describe('the program', () => {
  it.skipIf(!existsSync('/dev/full'))('ends with 2 where its results cannot be written', () => {
    const full = openSync('/dev/full', 'w');
    const { status, stderr } = spawnSync(process.execPath, [main, 'inspect', dump], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
    expect(stderr).toMatch(
      /^zayascope: IO: expected to write the results, got ENOSPC: no space left on device/,
    );
    expect(stderr).not.toMatch(/\n +at /);
    expect(status).toBe(2);
  });

  it('says so where too many files are open', () => {
    // The command is loaded by a first run; then all descriptors but a few are taken.
    const script = `
      const { runCommandLine } = await import(${JSON.stringify(join(root, 'dist', 'cli', 'command-line.js'))});
      const { openSync, closeSync } = await import('node:fs');
      const terminal = { result() {}, stream() {}, notice: (text) => process.stderr.write(text), columns: 80 };
      const args = ['diff', ${JSON.stringify(dump)}, ${JSON.stringify(dump)}].map(String);
      if ((await runCommandLine(args, terminal)) !== 0) process.exit(3);
      const taken = [];
      try { for (;;) taken.push(openSync('/dev/null')); } catch {}
      for (const fd of taken.slice(0, 5)) closeSync(fd);
      process.exitCode = await runCommandLine(args, terminal);`;
    const { status, stderr } = spawnSync(
      'bash',
      ['-c', 'ulimit -n 256; exec "$0" --input-type=module -e "$1"', process.execPath, script],
      { encoding: 'utf8' },
    );
    expect(stderr).toMatch(
      /EMFILE: the process has as many files open as it may; raise the limit \(ulimit -n\)/,
    );
    expect(stderr).toMatch(/^zayascope: /);
    expect(status).toBe(2);
  });

  it('says so where too few files may be open to load the commands', () => {
    const codes: (number | null)[] = [];
    for (const most of [22, 26, 32, 40, 48, 256]) {
      const { status, stderr } = spawnSync(
        'bash',
        ['-c', 'ulimit -n "$0"; exec "$@"', String(most), process.execPath, main, 'diff', dump, dump],
        { encoding: 'utf8' },
      );
      codes.push(status);
      if (status !== 0)
        expect([status, stderr]).toEqual([
          2,
          expect.stringMatching(/^zayascope: IO: EMFILE: .*raise the limit .*\(ulimit -n\)\n$/),
        ]);
    }
    expect([codes[0], codes.at(-1)]).toEqual([2, 0]);
  });
});
