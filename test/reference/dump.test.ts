import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allTapNames, BLOCK_TAPS, F32_TAPS } from './e2-taps.js';
import { readReferenceManifest } from './manifest.js';
import { type PythonResult, pythonJson, root, runScripts } from './python.js';

const tiny = join(root, 'dumps', 'tiny');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-reference-'));
const at = (name: string) => join(scratch, name);

interface Comparison {
  taps: { name: string; nmse: number; maxAbs: number; equal: boolean }[];
  missing: string[];
  extra: string[];
}

/** Configurations that differ from the tiny model in as many ways as fit. */
const MODELS = {
  odd: '--cca-time0 3 --cca-time1 4 --heads 6 --kv-heads 6 --head-dim 12 --experts 7 --vocab 301 --untied --attention-bias --lm-head-bias --sliding-layers 1,2 --shards 3 --dtype f32',
  mqa: '--heads 5 --kv-heads 1 --head-dim 14 --experts 3 --layers 2 --cca-time1 1 --skip-share 0.3 --partial-rotary 1 --dtype f16',
} as const;
const TOKENS = Array.from({ length: 40 }, (_, i) => (i * i * 7 + 11 * i + 3) % 199).join(',');

let results: PythonResult[];

beforeAll(() => {
  const prompt = ['--tokens-file', join(tiny, 'prompt.json')];
  const model = ['--model', join(tiny, 'model')];
  const random = Object.entries(MODELS).map(([name, flags]) => ({
    script: 'random_checkpoint' as const,
    args: ['--out', at(name), '--seed', '5', ...flags.split(' ')],
  }));
  const dump = (...args: string[]) => ({ script: 'dump' as const, args });
  results = runScripts([
    dump(...model, ...prompt, '--dtype', 'float32', '--out', at('tiny-f32')),
    { script: 'compare', args: [join(tiny, 'reference-float32'), at('tiny-f32')] },
    ...random,
    dump('--model', at('odd'), '--tokens', TOKENS, '--dtype', 'float32', '--out', at('odd-f32')),
    dump('--model', at('mqa'), '--tokens', TOKENS, '--dtype', 'float32', '--out', at('mqa-f32')),
    dump('--model', at('mqa'), '--tokens', '5', '--dtype', 'float16', '--out', at('mqa-f16'), '--no-verify'),
    dump(
      ...[...model, ...prompt, '--dtype', 'float32', '--out', at('some'), '--positions', '3:7'],
      ...['--taps', 'layers.{2..3}.mlp.gate:*,layers.5.self_attn.qkv_proj.conv_qk_*,layers.?,norm'],
    ),
    { script: 'compare', args: [join(tiny, 'reference-float32'), join(tiny, 'reference-bfloat16')] },
  ]);
}, 240_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('dump.py', () => {
  it('succeeds on every configuration', () => {
    expect(results.map(({ status, stderr }) => ({ status, stderr }))).toEqual(
      results.map(() => ({ status: 0, stderr: '' })),
    );
  });

  it('reproduces the committed F32 reference', () => {
    const comparison = JSON.parse(results[1]!.stdout) as Comparison;
    expect(comparison.missing).toEqual([]);
    expect(comparison.extra).toEqual([]);
    expect(comparison.taps).toHaveLength(allTapNames(8).length);
    expect(comparison.taps.filter((tap) => tap.nmse > 1e-12)).toEqual([]);
  });

  it('gives the logits of an unobserved run bit for bit, and says so', () => {
    expect(readReferenceManifest(at('tiny-f32')).producer.logitsEqualUntraced).toBe(true);
    expect(readReferenceManifest(at('mqa-f16')).producer.logitsEqualUntraced).toBe(false);
  });

  it.each(['float32', 'bfloat16'])(
    'has every tap of the notes in the committed %s dump, for every block',
    (dtype) => {
      const names = readReferenceManifest(join(tiny, `reference-${dtype}`)).taps.map((tap) => tap.name);
      expect(names.toSorted()).toEqual(allTapNames(8).toSorted());
    },
  );

  it('gives every tap the axes and sizes of the notes', () => {
    const { nq, nk, d } = { nq: 6, nk: 6, d: 12 };
    const sizes: Record<string, number | null> = {
      ...{ H: 96, nq, nk, d, C: (nq + nk) * d, 'nq*d': nq * d, 'nk*d': nk * d, 'nk*d/2': (nk * d) / 2 },
      ...{ R: 24, 'E+1': 8, '2F': 96, F: 48, S: null, leads: 3 },
    };
    const manifest = readReferenceManifest(at('odd-f32'));
    for (const tap of manifest.taps.filter((entry) => entry.block === 1)) {
      const suffix = tap.name.replace('layers.1', '');
      const axes = BLOCK_TAPS[suffix]!.split(',').filter(Boolean);
      expect([tap.name, tap.axes]).toEqual([tap.name, tap.scope === 'step' ? axes : ['T', ...axes]]);
      const shape = axes.map((axis) => sizes[axis]);
      expect([tap.name, tap.shape]).toEqual([tap.name, shape]);
    }
    expect(manifest.taps).toHaveLength(allTapNames(3).length);
  });

  it('leaves out the lead rows of a convolution that has none', () => {
    const names = readReferenceManifest(at('mqa-f32')).taps.map((tap) => tap.name);
    expect(allTapNames(2).filter((name) => !names.includes(name))).toEqual([
      'layers.0.self_attn.qkv_proj.conv_qk_depthwise:lead',
      'layers.1.self_attn.qkv_proj.conv_qk_depthwise:lead',
    ]);
  });

  it.each([
    ['reference-bfloat16', 'BF16'],
    ['mqa-f16', 'F16'],
  ])('keeps the dtypes that the reference has in %s', (name, low) => {
    const manifest = readReferenceManifest(name.startsWith('reference') ? join(tiny, name) : at(name));
    const f32 = new Set<string>(F32_TAPS.map((suffix) => `layers.1${suffix}`));
    for (const tap of manifest.taps.filter((entry) => entry.block === 1)) {
      const expected = tap.name === 'layers.1.mlp.gate:expert' ? 'I32' : f32.has(tap.name) ? 'F32' : low;
      expect([tap.name, tap.dtype]).toEqual([tap.name, expected]);
    }
  });

  it.each([
    ['tiny-f32', join(tiny, 'model'), 200],
    ['odd-f32', at('odd'), 100],
    ['mqa-f32', at('mqa'), 60],
  ])('records values that follow from each other in %s', (dump, model, relations) => {
    const errors = pythonJson<Record<string, number>>([
      join('test', 'reference', 'relations.py'),
      at(dump),
      model,
    ]);
    expect(Object.keys(errors).length).toBeGreaterThan(relations);
    expect(Object.entries(errors).filter(([, error]) => !(error < 5e-6))).toEqual([]);
  });

  it('writes the selected taps and positions only, and states the selection', () => {
    const manifest = readReferenceManifest(at('some'));
    const blocks = Array.from({ length: 8 }, (_, n) => `layers.${n}`);
    const expected = [
      ...blocks,
      ...[2, 3].flatMap((n) =>
        [
          'biased_router_probs',
          'expert',
          'expert_weight',
          'margin',
          'router_hidden_states',
          'router_probs',
        ].map((name) => `layers.${n}.mlp.gate:${name}`),
      ),
      'layers.5.self_attn.qkv_proj.conv_qk_depthwise',
      'layers.5.self_attn.qkv_proj.conv_qk_grouped',
      'norm',
    ];
    expect(manifest.taps.map((tap) => tap.name).toSorted()).toEqual(expected.toSorted());
    expect(manifest.selection).toEqual({
      taps: 'layers.{2..3}.mlp.gate:*,layers.5.self_attn.qkv_proj.conv_qk_*,layers.?,norm',
      positions: '3:7',
    });
    const inspected = pythonJson<Record<string, { name: string; rows: number }[]>>([
      join('test', 'reference', 'inspect_dump.py'),
      at('some'),
    ]);
    const rows = Object.fromEntries(inspected[at('some')]!.map((file) => [file.name, file.rows]));
    expect(rows).toMatchObject({ 'layers.0.arrow': 4, 'layers.5.arrow': 4, 'model.arrow': 4 });
    expect(rows['stats.arrow']).toBe(4 * expected.length);
  });

  it('names no machine path in its manifests', () => {
    const texts = ['tiny-f32', 'odd-f32'].map((name) =>
      readFileSync(join(at(name), 'manifest.json'), 'utf8'),
    );
    for (const text of texts) expect(text).not.toContain(scratch);
    expect(texts.join()).not.toMatch(/"\/|[ ']\//);
  });
});

describe('compare.py', () => {
  it('tells the BF16 run from the F32 run', () => {
    const comparison = JSON.parse(results.at(-1)!.stdout) as Comparison;
    const logits = comparison.taps.find((tap) => tap.name === 'lm_head')!;
    expect(logits.nmse).toBeGreaterThan(1e-7);
    expect(logits.equal).toBe(false);
  });
});
