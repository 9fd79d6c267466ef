import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { parsePositions } from '../../src/positions.js';
import { tapPattern } from '../../src/tap-pattern.js';
import { allTapNames } from './e2-taps.js';
import { pythonJson } from './python.js';

const names = allTapNames(12);
const patterns = [
  ...[
    '**',
    '*',
    'layers.*',
    'layers.?',
    'layers.1?',
    'layers.{0..3}',
    '**:expert',
    '**.mlp.**',
    'lm_head, norm',
    '***',
  ],
  ...[
    'layers.{2,{5..6}}.self_attn:*',
    '{norm,layers.3.mlp.gate*}',
    '**{:query,_rope}',
    'layers.3.mlp.gate:router_?robs',
  ],
  ...['embed.tokens', 'layers.1{,0}', '', 'a,,b', '{', 'a}', '{}', '{3..1}', '{0..99999}', '{,}'],
];
const positions = ['all', 'last', '2:5', ':', '3:', ':-1', '-2:', '0:99', '5:5', '9:', 'first', '', '1:2:3'];

function attempt<T>(f: () => T): T | null {
  try {
    return f();
  } catch (error) {
    if (error instanceof ZayascopeError) return null;
    throw error;
  }
}

it('selects the same taps and positions in Python as in TypeScript', () => {
  const input = JSON.stringify({ patterns, names, positions, tokens: 8 });
  const python = pythonJson([join('test', 'reference', 'selection.py')], input);
  expect(python).toEqual({
    patterns: patterns.map((pattern) => attempt(() => names.filter(tapPattern(pattern)))),
    positions: positions.map((text) =>
      attempt(() => {
        const { start, end } = parsePositions(text, 8);
        return [start, end];
      }),
    ),
  });
});

it('refuses malformed selections and no others', () => {
  const refused = patterns.filter((pattern) => attempt(() => tapPattern(pattern)) === null);
  expect(refused).toEqual(['', 'a,,b', '{', 'a}', '{}', '{3..1}', '{0..99999}', '{,}']);
});
