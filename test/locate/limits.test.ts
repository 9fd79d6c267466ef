/**
 * Right programs are not accused: their limits are measured over the values and in the dtypes in which they
 * are judged.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Dump,
  exportSafetensors,
  importDump,
  locateDumps,
  NAME_MAPS,
  openForeignSource,
  policy,
} from '../../src/index.js';
import type { LocateOptions } from '../../src/locate/faults/options.js';
import { root, runPython } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-limits-'));
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };

/** A random half of the values, the same on every run, and the logits. */
const RANDOM_HALF = [
  'embed_tokens,lm_head',
  'layers.*.{input_layernorm,post_attention_layernorm}',
  'layers.{0..3}.self_attn.qkv_proj*',
  'layers.*.self_attn.qk_norm:key',
  'layers.{1..6}.self_attn:attn_output',
  'layers.{0,3,5}.post_*',
  'layers.*.mlp.gate.router_mlp:act2',
  'layers.{2..7}.mlp.experts*',
].join(',');
const SPARSE = {
  'block outputs only': 'embed_tokens,input_affine,layers.*,norm,lm_head',
  'module outputs only':
    'layers.*.{input_layernorm,self_attn.o_proj,post_attention_layernorm,post_attention_residual_scale,mlp.experts,mlp.gate.down_proj},layers.*,norm,lm_head',
  'a half of the values': RANDOM_HALF,
};

/** Values of a dump as another program's: nothing is known of its dtypes. */
async function foreign(source: string, name: string, taps: string, ids = tokens): Promise<Dump> {
  await using dump = await Dump.open(source);
  const file = join(scratch, `${name}.safetensors`);
  await exportSafetensors(dump, taps, file);
  return await imported(file, name, ids);
}

async function imported(file: string, name: string, ids: number[] | undefined): Promise<Dump> {
  await using values = await openForeignSource(file);
  const out = join(scratch, name);
  await importDump(values, {
    out,
    map: NAME_MAPS.zaya!,
    ...(ids === undefined ? {} : { tokens: ids }),
    importer: { name: 'test', version: '1' },
  });
  return await Dump.open(out);
}

/** Recomputed so, the right dump is the wrong one. */
const withTanh = {
  name: 'tanh',
  description: 'tanh GELUs in the router',
  rules: [{ sites: '**.router_mlp:act*#form', set: 'tanh' }],
};

const open: Dump[] = [];
const [reference, low] = await Promise.all(
  ['float32', 'bfloat16'].map((dtype) => Dump.open(join(tiny, `reference-${dtype}`))),
);
afterAll(async () => {
  for (const dump of [...open, reference!, low!]) await dump.close();
  rmSync(scratch, { recursive: true });
});

const accused = async (tested: Dump, options: LocateOptions = {}) => {
  const { found, firstFault, mismatch } = await locateDumps(reference!, tested, model, options);
  return { found, firstFault, mismatch };
};
const nobody = { found: false, firstFault: null, mismatch: null };

describe('the BF16 values of a program of unknown policy', () => {
  let stored: Dump;
  let widened: Dump;

  beforeAll(async () => {
    stored = await foreign(join(tiny, 'reference-bfloat16'), 'stored', '**');
    // as llama.cpp writes them: the same values in F32; widened by another reader than ours
    const [from, to] = ['stored', 'widened'].map((name) => join(scratch, `${name}.safetensors`));
    runPython([
      '-c',
      'import sys, torch\nfrom safetensors.torch import load_file, save_file\nsave_file({k: v.float() if v.is_floating_point() else v for k, v in load_file(sys.argv[1]).items()}, sys.argv[2])',
      from!,
      to!,
    ]);
    widened = await imported(to!, 'widened', tokens);
    open.push(stored, widened);
  }, 60_000);

  it.each(['stored', 'widened'])('are not accused, %s, with their own bits as noise', async (which) => {
    expect(await accused(which === 'stored' ? stored : widened, { noise: low! })).toEqual(nobody);
  });

  it.each(['stored', 'widened'])('are not accused without noise, %s', async (which) => {
    expect(await accused(which === 'stored' ? stored : widened)).toEqual(nobody);
  });

  it('are not accused under the policy that they follow, widened', async () => {
    expect(widened.taps.every(({ dtype }) => dtype !== 'BF16')).toBe(true);
    expect(await accused(widened, { recompute: policy('pytorch-bf16') })).toEqual(nobody);
  });
});

it('a value in BF16 of an F32 run is at fault, and tells nothing of the others', async () => {
  (await foreign(join(tiny, 'reference-float32'), 'single', '**')).close();
  const [from, to] = ['single', 'one-in-bf16'].map((name) => join(scratch, `${name}.safetensors`));
  runPython([
    '-c',
    'import sys, torch\nfrom safetensors.torch import load_file, save_file\nsave_file({k: v.bfloat16() if k.endswith(":router_probs") else v for k, v in load_file(sys.argv[1]).items()}, sys.argv[2])',
    from!,
    to!,
  ]);
  const unknown = await imported(to!, 'one-in-bf16', tokens);
  open.push(unknown);
  // A program that is not known may have rounded what it wrote.
  expect((await locateDumps(reference!, unknown, model)).notes.join()).not.toContain('may round to');
  const manifest = join(scratch, 'one-in-bf16', 'manifest.json');
  const { policy: _, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
  writeFileSync(manifest, JSON.stringify({ ...rest, policy: { name: 'transformers-float32' } }));
  const own = await Dump.open(join(scratch, 'one-in-bf16'));
  open.push(own);
  const report = await locateDumps(reference!, own, model);
  expect(report.firstFault).toBe('layers.0.mlp.gate:router_probs');
  expect(report.notes.join()).not.toContain('may round to');
});

describe.each(Object.entries(SPARSE))('a dump with %s', (name, taps) => {
  it.each([
    ['float32', false],
    ['float32', true],
    ['bfloat16', false],
    ['bfloat16', true],
  ] as const)('of %s is not accused, noise %s', async (dtype, withNoise) => {
    const tested = await foreign(
      join(tiny, `reference-${dtype}`),
      `${name} ${dtype} ${withNoise}`.replaceAll(' ', '-'),
      taps,
    );
    open.push(tested);
    expect(await accused(tested, withNoise ? { noise: low! } : {})).toEqual(nobody);
  });
});

it('a fault between two values that are held is named by all that lies between', async () => {
  const tested = await foreign(
    join(tiny, 'reference-float32'),
    'tanh',
    'layers.*.mlp.gate.router_mlp.{fc1,fc2,out_proj}',
  );
  open.push(tested);
  const report = await locateDumps(reference!, tested, model, { recompute: withTanh });
  const [first] = report.kinds;
  expect(first).toMatchObject({
    kind: '.mlp.gate.router_mlp.fc2',
    inside: ['.mlp.gate.router_mlp:act1', '.mlp.gate.router_mlp.fc2'],
  });
  expect(first!.sentence).toContain("the router's first GELU, the router's second layer");
  // Recomputed with the tanh form: the other one is the cause.
  expect(first!.sentence).toMatch(
    /the exact GELU stands in the place of the tanh form of GELU in every block/,
  );
});
