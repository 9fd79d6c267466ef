/** Runs a file of Python checks as one process, and shows each check as a test of its own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pythonJson, root } from '../reference/python.js';

/**
 * One test per `check_*` function of a file in `test/python`. @returns the folder that the checks write to,
 * known once they ran.
 */
export function runChecks(file: string): { folder: string } {
  const path = join(root, 'test', 'python', file);
  const names = [...readFileSync(path, 'utf8').matchAll(/^def (check_\w+)/gm)].map(([, name]) => name!);
  const place = { folder: '' };
  let results: Record<string, string> = {};
  beforeAll(() => {
    place.folder = mkdtempSync(join(tmpdir(), 'zayascope-python-'));
    results = pythonJson([join('test', 'python', 'checks.py'), file, place.folder]);
  });
  afterAll(() => rmSync(place.folder, { recursive: true, force: true }));
  it.each(names)('%s', (name) => {
    expect(results[name]).toBe('ok');
  });
  return place;
}
