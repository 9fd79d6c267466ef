import { expect, it } from 'vitest';
import { tapPattern } from '../../src/tap-pattern.js';

it.each([
  ['**', 'layers.3.mlp.gate:expert', true],
  ['**', 'any\nname\u2028at all', true],
  ['*', 'lm_head', true],
  ['*', 'layers.3', false],
  ['layers.*', 'layers.3', true],
  ['layers.*', 'layers.3.mlp', false],
  ['layers.*.mlp.gate:*', 'layers.12.mlp.gate:margin', true],
  ['layers.*.mlp.gate*', 'layers.12.mlp.gate:margin', false],
  ['layers.?', 'layers.7', true],
  ['layers.?', 'layers.17', false],
  ['layers.{0..3}.**', 'layers.3.self_attn.o_proj', true],
  ['layers.{0..3}.**', 'layers.30.self_attn.o_proj', false],
  ['layers.{0..3}.**', 'layers.4.self_attn.o_proj', false],
  ['layers.{9..11}', 'layers.10', true],
  ['layers.{1,5,1{2,4}}', 'layers.14', true],
  ['layers.{1,5}', 'layers.15', false],
  ['layers.3{,.mlp}', 'layers.3', true],
  ['norm, lm_head', 'lm_head', true],
  ['norm,lm_head', 'norm,lm_head', false],
  ['layersx3', 'layers.3', false],
  ['layers.3', 'layersx3', false],
  ['**.o_proj', 'layers.0.self_attn.o_proj', true],
  ['**.o_proj', 'layers.0.self_attn.o_proj:x', false],
])('%s on %s: %s', (pattern, name, matches) => {
  expect(tapPattern(pattern)(name)).toBe(matches);
});

it.each(['', 'a,,b', 'a,', '{a', 'a}', '{}', '{3..1}', '{0..99999999}', 'layers.{0..{1}'])(
  'refuses %j',
  (pattern) => {
    expect(() => tapPattern(pattern)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  },
);
