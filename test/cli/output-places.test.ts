/**
 * Every option that names what a command writes: a pipe, a device or a file of another kind there is refused
 * at once, stays as it is, and never is waited for.
 */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-places-'));
const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const dump = join(tiny, 'reference-float32');
const gguf = join(tiny, 'lfm2.gguf');
const values = join(scratch, 'values.npy');
const tokens = ['--tokens', '1,2,3'];
const out = (name = 'out') => ['--out', join(scratch, name)];

/** Commands by the place that they write. */
const WRITERS: Readonly<Record<string, readonly string[]>> = {
  'align --out': ['align', dump, dump, ...out()],
  'bisect --state': [
    ...['bisect', '--model', model, ...tokens, '--good', 'f32', '--bad', 'bf16-weights'],
    ...['--state', join(scratch, 'out')],
  ],
  'capture --out': ['capture', '--model', model, ...tokens, '--overwrite', ...out()],
  'compare --out': ['compare', '--model', model, ...tokens, '--backends', 'cpu,cpu:2', ...out()],
  'convert --out': ['convert', model, '--type', 'f16', ...out('out.gguf')],
  'export --out': ['export', dump, '--taps', 'norm', ...out()],
  'import --out': ['import', values, '--keep-unmapped', '--overwrite', ...out()],
  'noise-floor --out': ['noise-floor', '--model', model, ...tokens, '--policy', 'pytorch-bf16', ...out()],
  'port --out': ['port', join(scratch, 'port'), '--model', model, '--reference', dump, ...out()],
  'record --out': ['record', gguf, ...tokens, '--overwrite', ...out()],
  'report --out': ['report', dump, dump, ...out()],
  'repro --out': ['repro', dump, '--op', 'norm', '--model', model, ...out()],
  'synth --out': ['synth', '--size', 'tiny', '--type', 'q8_0', ...out('out.gguf')],
};

mkdirSync(join(scratch, 'port'));
writeFileSync(join(scratch, 'port', 'index.jsonl'), '');
writeFileSync(
  values,
  Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'),
    Buffer.from(`${"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }".padEnd(117)}\n`),
    Buffer.alloc(4),
  ]),
);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const KINDS: Readonly<Record<string, (path: string) => void>> = {
  'a pipe': (path) => execFileSync('mkfifo', [path]),
  'a device': (path) => symlinkSync('/dev/null', path),
  'a file of another kind': (path) => writeFileSync(path, 'precious'),
};

it('are all known here', async () => {
  const { stdout: help } = await runCommand(['--help']);
  const found: string[] = [];
  for (const [, command] of help.matchAll(/^ {2}([a-z-]+) (?:\[|<|Shows|[A-Z])/gm)) {
    const { stdout } = await runCommand([command!, '--help']);
    for (const [, option] of stdout.matchAll(/^ +(--out|--state) <(?:file|folder)>/gm))
      found.push(`${command} ${option}`);
  }
  expect(found.sort()).toEqual(Object.keys(WRITERS).sort());
});

describe.each(Object.entries(WRITERS))('%s', (_name, args) => {
  it.each(Object.entries(KINDS))('refuses %s', async (kind, make) => {
    const path = args.at(-1)!;
    rmSync(path, { recursive: true, force: true });
    make(path);
    const before = lstatSync(path);
    const { code, stdout, stderr } = await runCommand(args);
    expect(stderr).toMatch(/^zayascope: (IO|BAD_ARGUMENT): /);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(path);
    const { ino, mode } = lstatSync(path);
    expect([ino, mode]).toEqual([before.ino, before.mode]);
    if (kind === 'a file of another kind') expect(readFileSync(path, 'utf8')).toBe('precious');
  });
});
