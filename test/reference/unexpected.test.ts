import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { pythonJson } from './python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-unexpected-'));
const at = (name: string) => join(scratch, name);
let printed: Record<string, string>;

beforeAll(() => {
  printed = pythonJson([join('test', 'reference', 'unexpected_models.py'), scratch]);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const values = async (name: string, tap: string) => {
  await using dump = await Dump.open(at(name));
  return [...((await dump.read(tap)).data as Float32Array)];
};

it('records a value in the dtype that it has', async () => {
  await using dump = await Dump.open(at('dtype'));
  expect(dump.manifest).toMatchObject({ version: 2, status: 'complete' });
  expect(dump.tap('layers.2.post_attention_residual_scale').dtype).toBe('F64');
  expect(dump.tap('layers.2').dtype).toBe('F64');
  expect(dump.tap('layers.2.self_attn.o_proj').dtype).toBe('F32');
  const { data } = await dump.read('layers.2');
  expect(data).toBeInstanceOf(Float64Array);
});

it('reports a module that does not run, and dumps the rest', async () => {
  await using dump = await Dump.open(at('not-run'));
  const missing = Array.from({ length: 8 }, (_, block) => `layers.${block}.mlp.gate.router_mlp.fc1`);
  expect(dump.manifest.version).toBe(2);
  expect(dump.manifest.notRun?.map(({ name }) => name)).toEqual(missing);
  expect(dump.manifest.notRun?.[0]?.reason).toContain('module layers.0.mlp.gate.router_mlp.fc1 to run');
  expect(dump.taps).toHaveLength(372 - 8);
  expect(printed['not-run']).toContain('layers.7.mlp.gate.router_mlp.fc1 is not in the dump');
  expect((await dump.read('layers.7.mlp.gate.router_mlp.fc2')).shape).toEqual([3, 32]);
});

it('shows an edit right behind a module at its value', async () => {
  // twice the product of the final norm with the tied embedding
  const [right, head, norm] = [
    await values('not-run', 'embed_tokens'),
    await values('behind', 'lm_head'),
    await values('behind', 'norm'),
  ];
  const logit = norm.slice(0, 128).reduce((sum, value, k) => sum + value * right[k]!, 0);
  expect(head[257]! / logit).toBeCloseTo(2, 4);
  // the row in front of the first token is the bias, which was taken off
  expect(new Set(await values('behind', 'layers.0.self_attn.qkv_proj.conv_qk_depthwise:lead'))).toEqual(
    new Set([0]),
  );
  expect(printed.behind).toMatch(
    /changed after the module that made them.*layers\.0\.self_attn\.qkv_proj\.conv_qk_depthwise:lead.*lm_head/,
  );
});

it.each(['two-lines', 'in-place', 'nested', 'renamed', 'argument'])(
  'shows it however the source is written: %s',
  async (way) => {
    const name = `behind-${way}`;
    expect(new Set(await values(name, 'layers.0.self_attn.qkv_proj.conv_qk_depthwise:lead'))).toEqual(
      new Set([0]),
    );
    const convolved = 'layers.1.self_attn.qkv_proj.conv_qk_depthwise';
    expect(await values(name, convolved)).toEqual(await values('behind-argument', convolved));
    // what goes into the convolution is held, though the source has other variables
    const input = 'layers.0.self_attn.qkv_proj:conv_input';
    expect(await values(name, input)).toEqual(await values('not-run', input));
    await using dump = await Dump.open(at(name));
    expect(dump.manifest.notRun ?? []).toEqual([]);
  },
);

it('does not shift names where an op does nothing', async () => {
  expect(await values('behind', 'input_affine')).toEqual(await values('behind', 'embed_tokens'));
});
