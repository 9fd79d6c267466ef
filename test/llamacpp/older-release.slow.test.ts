import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { describeWith } from '../system-package.js';
import { hasLibllama } from './libllama.js';

const root = join(import.meta.dirname, '..', '..');

/**
 * llama.cpp b6845 of October 2025, as a package of 25 MB on the registry carries it. Headers of the release
 * that the addon uses, of 2026, compile the programs of the other tests.
 */
const LAST_YEAR = {
  version: '3.14.2',
  integrity:
    'sha512-g3EttYX6VqdP55JS4ZBWnh6loWM7RBwxffPoeQvUJl1VTZ1MoubAMLzL6DUaXRoXtIilxEAFNdVVXJx6AKAVNQ==',
};

describeWith('a C++ compiler or libllama', hasLibllama, "headers for others' builds", () => {
  it('compile against last year’s llama.cpp', async () => {
    const script = pathToFileURL(join(root, 'native', 'fetch-headers.mjs')).href;
    const { releaseSource } = (await import(script)) as { releaseSource: (release: object) => string };
    const source = releaseSource(LAST_YEAR);
    for (const program of ['record.cpp', 'example.cpp'])
      expect(() =>
        execFileSync(process.env.CXX ?? 'g++', [
          '-std=c++17',
          ...['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fsyntax-only'],
          ...['-isystem', join(source, 'include'), '-isystem', join(source, 'llama')],
          join(root, 'dumps', 'llamacpp', program),
        ]),
      ).not.toThrow();
  }, 240_000);
});
