import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NAME_MAPS, readNameMap } from '../../../src/dump/names/file.js';
import { compileNameMap, type NameRule } from '../../../src/dump/names/name-map.js';
import { parseConfig } from '../../../src/models/architectures.js';
import { modelTaps } from '../../../src/models/runtime/trace.js';
import { readZayaConfig } from '../../../src/models/zaya/config.js';
import { QWEN3_MOE_CONFIG } from '../../models/random-model.js';
import { temporaryFolder } from '../dump-fixture.js';

const model = join(import.meta.dirname, '..', '..', '..', 'dumps', 'tiny', 'model');

function taps(rules: NameRule[], name: string, blocks?: number): string[] {
  return compileNameMap({ name: 'x', rules })
    .resolve(name, blocks)
    .map(({ tap }) => tap);
}

describe('a name map', () => {
  it('counts half-layers', () => {
    const rules = [
      { from: 'a-{2l}', tap: 'layers.{l}.a' },
      { from: 'a-{2l+1}', tap: 'layers.{l}.m' },
      { from: 'out-{2l+2}', tap: 'layers.{l}' },
      { from: 'end', tap: 'layers.{last}' },
    ];
    expect(taps(rules, 'a-6')).toEqual(['layers.3.a']);
    expect(taps(rules, 'a-7')).toEqual(['layers.3.m']);
    expect(taps(rules, 'out-2')).toEqual(['layers.0']);
    expect(taps(rules, 'out-0')).toEqual([]);
    expect(taps(rules, 'end', 8)).toEqual(['layers.7']);
    expect(taps(rules, 'end')).toEqual([]);
    expect(taps(rules, 'a-6x')).toEqual([]);
    expect(taps(rules, 'a-06')).toEqual([]);
  });

  it('takes what is left only where no rule of its own matches', () => {
    const rules = [
      { from: 'model.layers.{l}.*.v1', tap: 'layers.{l}.v' },
      { from: 'model.layers.{l}.{rest}', tap: 'layers.{l}.{rest}' },
    ];
    expect(taps(rules, 'model.layers.2.cca.v1')).toEqual(['layers.2.v']);
    expect(taps(rules, 'model.layers.2.mlp.gate:$&')).toEqual(['layers.2.mlp.gate:$&']);
  });

  it.each([
    [{ from: 'a-{k}', tap: 'b' }, '{k}'],
    [{ from: 'a', tap: 'layers.{l}' }, 'none'],
    [{ from: 'a-{l}', tap: 'layers.{n}' }, '{n}'],
    [{ from: '{l}-{l}', tap: 'b' }, '{l}'],
  ])('is refused for the rule %j', (rule, got) => {
    expect(() => taps([rule], 'a')).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT', message: expect.stringContaining(`got ${got} `) }),
    );
  });
});

describe('the built-in maps', () => {
  it.each(Object.values(NAME_MAPS))('lead to taps of the model: $name', async (map) => {
    const config = map.family === 'zaya' ? await readZayaConfig(model) : parseConfig(QWEN3_MOE_CONFIG);
    const known = new Set(modelTaps(config, true).map(({ name }) => name));
    const compiled = compileNameMap(map);
    for (const { from, tap, scope } of map.rules) {
      if (from.includes('{rest}')) continue;
      const name = from
        .replace(/\{(\d*)l([+-]\d+)?\}/, (_all, factor, offset) =>
          String(Number(factor || 1) * 1 + Number(offset ?? 0)),
        )
        .replace('*', 'qkv_proj');
      const found = compiled.resolve(name, 8).map((entry) => entry.tap);
      expect(found, from).toContain(tap.replace('{l}', '1').replace('{last}', '7'));
      for (const each of found) expect(known).toContain(each);
      const isStep = /:lead$|_state$|_cache$/.test(tap);
      expect(scope === 'step', tap).toBe(isStep);
    }
  });

  it('knows both dialects of llama.cpp apart', () => {
    const [half, blocks] = [NAME_MAPS.llamacpp!, NAME_MAPS['llamacpp-blocks']!].map(compileNameMap);
    expect(half!.resolve('Qraw-6', 40)[0]?.tap).toBe('layers.3.self_attn.qkv_proj.q_proj');
    expect(blocks!.resolve('Qraw-6', 40)[0]?.tap).toBe('layers.6.self_attn.qkv_proj.q_proj');
    expect(half!.resolve('QK_grp-6', 40)[0]?.rule.layout).toEqual([{ op: 'permute', axes: [1, 0] }]);
    expect(blocks!.resolve('QK_grp-6', 40)[0]?.rule.layout).toBeUndefined();
    expect(half!.ignores('Qcur-0 (reshaped)')).toBe(true);
    expect(half!.ignores('Qnew-0')).toBe(false);
    expect(half!.mayBePrefix('lm_head')).toBe(true);
    expect(half!.mayBePrefix('norm')).toBe(false);
  });
});

describe('a map file', () => {
  const write = (content: unknown): string => {
    const file = join(temporaryFolder(), 'map.json');
    writeFileSync(file, JSON.stringify(content));
    return file;
  };

  it('holds what a built-in map holds', async () => {
    for (const map of Object.values(NAME_MAPS)) {
      const read = await readNameMap(write(map));
      const names = ['QK_dw-4', 'result_output', 'model.layers.3.mlp', 'layers.3.self_attn:k_cache'];
      for (const name of names)
        expect(
          compileNameMap(read)
            .resolve(name, 8)
            .map(({ tap }) => tap),
        ).toEqual(
          compileNameMap(map)
            .resolve(name, 8)
            .map(({ tap }) => tap),
        );
      expect(read.rules.map(({ layout = [] }) => layout)).toEqual(map.rules.map(({ layout = [] }) => layout));
    }
  });

  it.each<[string, unknown, string]>([
    ['no rules', { name: 'x' }, 'an array of rules'],
    ['a misspelled key', { name: 'x', rules: [{ from: 'a', tap: 'b', layouts: [] }] }, "'layouts'"],
    [
      'an unknown transform',
      { name: 'x', rules: [{ from: 'a', tap: 'b', layout: [{ op: 'flip' }] }] },
      '"flip"',
    ],
    [
      'an axis twice',
      { name: 'x', rules: [{ from: 'a', tap: 'b', layout: [{ op: 'permute', axes: [0, 0] }] }] },
      'each axis once',
    ],
    [
      'an axis from the front',
      { name: 'x', rules: [{ from: 'a', tap: 'b', layout: [{ op: 'gather', axis: 0, order: [0] }] }] },
      'counted from the end',
    ],
    [
      'no parts',
      { name: 'x', rules: [{ from: 'a', tap: 'b', layout: [{ op: 'interleave', axis: -1 }] }] },
      'parts',
    ],
    ['another scope', { name: 'x', rules: [{ from: 'a', tap: 'b', scope: 'token' }] }, '"step"'],
  ])('is refused for %s', async (_what, content, message) => {
    await expect(readNameMap(write(content))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining(message),
    });
  });
});
