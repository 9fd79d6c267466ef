import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from './python.js';

it("Python's list of taps is that of the model files", () => {
  const printed = execFileSync(process.execPath, [join(root, 'scripts', 'tap-list.mjs')], {
    encoding: 'utf8',
  });
  const stored = readFileSync(join(root, 'dumps', 'reference', 'taps.json'), 'utf8');
  expect(stored, 'run `npm run taps`').toBe(printed);
  const { zaya, qwen3 } = JSON.parse(stored);
  expect(zaya.block['.self_attn:attn_weights']).toEqual({ axes: 'T,nq,S' });
  expect(qwen3.block['.mlp.gate:expert']).toEqual({ axes: 'T,k', dtype: 'I32' });
  expect(qwen3.block['.self_attn:k_cache']).toEqual({ axes: 'S,nk,d', scope: 'step' });
});
