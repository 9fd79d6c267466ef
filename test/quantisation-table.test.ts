import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { GGUF_TYPES } from '../src/index.js';

const root = join(import.meta.dirname, '..');

/** Cells of the rows of Markdown tables, and the row that names the columns. */
function tableRows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => /^\| \w/.test(line));
  return lines.map((line) => line.slice(2, -2).split(' | '));
}

it('prints a row for every weight type, from no error to the most, as docs/quantisation.md shows', () => {
  const args = [join(root, 'scripts', 'quantisation-table.mjs'), '--tokens', '24'];
  const model = join(root, 'dumps', 'tiny', 'model');
  const stdout = execFileSync(process.execPath, [...args, '--model', model], { encoding: 'utf8' });
  const [head, ...rows] = tableRows(stdout);
  expect(rows.map(([type]) => type)).toEqual(GGUF_TYPES);
  const [f32, f16, bf16, q8_0, , , q4_k_m] = rows.map((cells) => Number(cells[2]));
  expect(f32).toBe(0);
  expect(Number(rows[2]![6])).toBe(0);
  expect(f16).toBeGreaterThan(0);
  expect(bf16).toBeGreaterThan(f16!);
  expect(q4_k_m).toBeGreaterThan(q8_0!);

  const [shownHead, ...shown] = tableRows(readFileSync(join(root, 'docs', 'quantisation.md'), 'utf8'));
  expect(shownHead).toEqual(head);
  expect(shown.map(([type]) => type)).toEqual(GGUF_TYPES);
});
