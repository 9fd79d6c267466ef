import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { allCases } from '../../src/conformance/cases.js';
import { TOLERANCES } from '../../src/conformance/tolerances.js';
import { OP_NAMES } from '../../src/graph/ops.js';

const sections = readFileSync('docs/conformance.md', 'utf8').split(/^## /m);

function rows(title: string): string[][] {
  const section = sections.find((each) => each.startsWith(title));
  if (section === undefined) throw new Error(`docs/conformance.md has no section "${title}"`);
  const lines = section.split('\n').filter((line) => line.startsWith('| '));
  // The heading and the line below it.
  return lines.slice(2).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('docs/conformance.md', () => {
  const known = [...new Set(allCases().map(({ op, dtype }) => `${op} ${dtype}`))];

  it.each(['CPU', 'lavapipe, as it is', 'lavapipe, strict F32'])(
    'has a row for every op, in the order of the command: %s',
    (title) => {
      const documented = rows(title).map(([op, dtype]) => `${op} ${dtype}`);
      expect(new Set(rows(title).map(([op]) => op))).toEqual(new Set(OP_NAMES));
      expect(documented).toEqual(known.filter((row) => documented.includes(row)));
    },
  );

  it('has every dtype of every op on the CPU, all of which pass', () => {
    expect(rows('CPU').map(([op, dtype]) => `${op} ${dtype}`)).toEqual(known);
    expect(new Set(rows('CPU').map((cells) => cells.at(-1)))).toEqual(new Set(['pass']));
  });

  it('gives the reason of every tolerance', () => {
    const reasons = rows('Tolerances').map(([op, reason]) => [op, reason!.replaceAll('\\|', '|')]);
    expect(reasons).toEqual(OP_NAMES.map((op) => [op, TOLERANCES[op].reason]));
  });
});
