import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-atomic-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const dump = join(root, 'dumps', 'tiny', 'reference-float32');

const exported = (out: string) => runCommand(['export', dump, '--taps', 'lm_head', '--out', out]);

it('writes through a link, and refuses what is no file', async () => {
  const [file, link, pipe, place] = ['file', 'link', 'pipe', 'folder'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  writeFileSync(file, '');
  symlinkSync(file, link);
  expect((await exported(link)).code).toBe(0);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(file, 'latin1')).toContain('lm_head');

  execFileSync('mkfifo', [pipe]);
  mkdirSync(place);
  for (const [path, what] of [
    [pipe, 'a pipe'],
    [place, 'a folder'],
  ] as const) {
    const { code, stderr } = await exported(path);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`expected a regular file, or none, got ${what}`),
    ]);
  }
  expect(lstatSync(pipe).isFIFO()).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(['file', 'folder', 'link', 'pipe']);
});
