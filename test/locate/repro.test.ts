import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { captureSession } from '../../src/capture/capture-session.js';
import { Dump } from '../../src/dump/reader.js';
import type { ZayascopeError } from '../../src/errors.js';
import { type Policy, policy } from '../../src/graph/policy.js';
import { type ReproOptions, writeRepro } from '../../src/locate/repro/repro.js';
import { type ReproReport, type ReproResult, runRepro } from '../../src/locate/repro/run.js';
import { openModel } from '../../src/models/runtime/model.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { SMALL_CONFIG, WIDE_CONFIG, writeRandomModel } from '../models/random-model.js';

const MODEL = 'dumps/tiny/model';
const CONV = 'layers.3.self_attn.qkv_proj.conv_qk_grouped';
const CPU = { backends: ['cpu'] };

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-repro-'));
let count = 0;
const fresh = () => join(scratch, String(count++));
let reference: Dump;
beforeAll(async () => {
  reference = await Dump.open('dumps/tiny/reference-float32');
});
afterAll(async () => {
  await reference.close();
  rmSync(scratch, { recursive: true });
});

/** Writes a folder; gives its path. */
async function write(options: Partial<ReproOptions> & { op: string }): Promise<string> {
  const out = fresh();
  await writeRepro({ dump: reference, model: MODEL, policy: policy('f32'), out, ...options });
  return out;
}

function row({ results }: ReproReport, variant: string): ReproResult {
  const found = results.find((result) => result.variant === variant);
  expect(found, variant).toBeDefined();
  return found!;
}

async function errorOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await work;
  } catch (error) {
    const { code, message } = error as ZayascopeError;
    return { code, message };
  }
  return { code: 'none', message: '' };
}

describe('the grouped convolution, with no model at hand', () => {
  let report: ReproReport;
  beforeAll(async () => {
    const moved = fresh();
    cpSync(await write({ op: CONV }), moved, { recursive: true });
    report = await runRepro(moved, { ...CPU, dtypeVariants: true });
  });

  it('agrees with the reference and with exact arithmetic in F32', () => {
    const { expected, exact, isPolicy, error } = row(report, 'policy f32');
    expect(isPolicy).toBe(true);
    expect(error).toBeUndefined();
    expect(expected!.nmse).toBeLessThan(1e-12);
    expect(exact!.nmse).toBeLessThan(1e-12);
    expect(report.reference64!.nmse).toBeLessThan(1e-12);
    expect(report.graphChanged).toBe(false);
  });

  it('shows the error of an F16 im2col, 10,000 times that of F32', () => {
    const { expected, exact } = row(report, 'self_attn.qkv_proj.conv_qk_grouped#patches=F16');
    for (const { nmse } of [expected!, exact!]) {
      expect(nmse).toBeGreaterThan(1e-9);
      expect(nmse).toBeLessThan(1e-6);
    }
    expect(expected!.nmse).toBeGreaterThan(1e4 * row(report, 'policy f32').expected!.nmse);
    expect(row(report, 'policy llamacpp').expected!.nmse).toBeGreaterThan(1e-9);
  });

  it('shows that an F16 kernel changes nothing where the checkpoint’s BF16 values fit F16', () => {
    const plain = row(report, 'policy f32').expected!;
    expect(row(report, 'self_attn.qkv_proj.conv_qk_grouped#kernel=F16').expected).toEqual(plain);
  });

  it('tries each setting once, of those that matter to it', () => {
    expect(report.results.map(({ variant }) => variant)).toEqual([
      'policy f32',
      // The checkpoint's parameters are BF16: rounding them to F16 changes them.
      '#parameters=F16',
      ...['patches=F16', 'kernel=F16', 'kernel=BF16', 'round=BF16', 'round=F16'].map(
        (each) => `self_attn.qkv_proj.conv_qk_grouped#${each}`,
      ),
      'policy pytorch-f16',
      'policy llamacpp',
    ]);
  });

  it('runs under its own policy alone unless asked for more', async () => {
    const out = await write({ op: CONV, policy: policy('llamacpp') });
    const { results } = await runRepro(out, CPU);
    expect(results.map(({ variant, isPolicy }) => [variant, isPolicy])).toEqual([['policy llamacpp', true]]);
    expect(results[0]!.expected!.nmse).toBe(row(report, 'policy llamacpp').expected!.nmse);
  });
});

describe('every value of a reference dump', () => {
  it('is reproduced in F32, and evaluated in double precision', { timeout: 120_000 }, async () => {
    const ops = reference.taps.filter(({ block }) => block === 5);
    expect(ops.length).toBeGreaterThan(44);
    for (const { name } of ops) {
      const { results, reference64 } = await runRepro(await write({ op: name }), CPU);
      const { expected, exact } = results[0]!;
      for (const { nmse } of [expected!, exact!, reference64!]) expect(nmse, name).toBeLessThan(1e-11);
      if (reference.tap(name).dtype === 'I32') expect(expected!.ulp).toBeUndefined();
    }
  });

  it('is reproduced from dumps in BF16, whose dtype is kept', async () => {
    await using dump = await Dump.open('dumps/tiny/reference-bfloat16');
    const out = await write({ op: 'layers.2.mlp.experts:activated', dump, policy: policy('pytorch-bf16') });
    const { results } = await runRepro(out, CPU);
    expect(results[0]!.expected!.ulp!.dtype).toBe('BF16');
    expect(results[0]!.expected!.bitEqual).toBeGreaterThan(0.99);
  });
});

describe('a capture of our own', () => {
  const BASE = { ...SMALL_CONFIG, num_hidden_layers: 2 };
  const CONFIGS: Record<string, { block: number; config: Record<string, unknown> }> = {
    'biases, an untied head with a bias, longer kernels, a sliding window': {
      block: 1,
      config: {
        ...BASE,
        attention_bias: true,
        lm_head_bias: true,
        tie_word_embeddings: false,
        cca_time0: 3,
        cca_time1: 4,
        layer_types: ['hybrid', 'hybrid_sliding'],
        sliding_window: 3,
        rope_parameters: {
          ...BASE.rope_parameters,
          hybrid_sliding: { rope_type: 'default', rope_theta: 1e4, partial_rotary_factor: 1 },
        },
      },
    },
    'kernels of size one, the first block': { block: 0, config: { ...BASE, cca_time0: 1, cca_time1: 1 } },
  };

  it.each(Object.entries(CONFIGS))(
    '%s: has the same bits',
    { timeout: 120_000 },
    async (_, { block, config }) => {
      const folder = await writeRandomModel(fresh(), config, { skipBias: 0.2 });
      const out = fresh();
      {
        using model = await openModel(folder);
        await capture(model, [[1, 2, 3], Array.from({ length: 11 }, (_, i) => (7 * i) % 61)], { out });
      }
      await using dump = await Dump.open(out);
      for (const { name } of dump.taps.filter((tap) => tap.block === block || tap.block === null)) {
        const folderOfOp = await write({ op: name, dump, model: folder, sequence: 1 });
        const { results } = await runRepro(folderOfOp, CPU);
        expect(results[0]!.expected!.bitEqual, name).toBe(1);
        expect(results[0]!.exact!.nmse, name).toBeLessThan(1e-11);
      }
    },
  );

  it('of a session in several calls is put together', async () => {
    const out = fresh();
    {
      using model = await openModel(MODEL);
      using session = model.session();
      await using captured = await captureSession(model, session, { out, taps: 'layers.{1,2}*,layers.2.**' });
      for (const tokens of [[1, 2, 3, 4], [5, 6], [7], [8, 9, 10]]) await captured.forward(tokens);
      await captured.finish();
    }
    await using dump = await Dump.open(out);
    expect(dump.manifest.steps).toBe(4);
    for (const name of [
      ':attn_weights',
      ':attn_output',
      '.qkv_proj.conv_qk_grouped',
      '.qkv_proj:value_delayed',
    ])
      for (const positions of ['all', ':3', '5:8']) {
        const { results } = await runRepro(
          await write({ op: `layers.2.self_attn${name}`, dump, positions }),
          CPU,
        );
        expect(results[0]!.expected!.nmse, `${name} ${positions}`).toBeLessThan(1e-12);
      }
  });

  it('is cut at the nearest values that it holds', async () => {
    const folder = await writeRandomModel(fresh(), BASE);
    const out = fresh();
    {
      using model = await openModel(folder);
      const taps = 'input_affine,layers.0,layers.0.mlp.gate:router_hidden_states,layers.1.self_attn.o_proj';
      await capture(model, [[5, 4, 3, 2, 1]], { out, taps });
    }
    await using dump = await Dump.open(out);
    const op = 'layers.1.self_attn.o_proj';
    const wide = await write({ op, dump, model: folder });
    expect(readFileSync(join(wide, 'README.md'), 'utf8')).toContain('q_proj.weight');
    expect((await runRepro(wide, CPU)).results[0]!.expected!.bitEqual).toBe(1);
    // Its input lies in a block that the dump says nothing of.
    await using bare = await Dump.open(out);
    const taps = bare.taps.filter(({ name }) => name !== 'layers.0');
    Object.assign(bare.manifest, { taps });
    const failure = await errorOf(write({ op, dump: bare, model: folder }));
    expect(failure).toMatchObject({ code: 'BAD_DUMP', message: expect.stringContaining('layers.0') });
  });
});

describe('matrices', () => {
  it('are tried as stored and quantised, where rows allow', async () => {
    const folder = await writeRandomModel(fresh(), { ...WIDE_CONFIG, num_hidden_layers: 1 });
    const out = fresh();
    {
      using model = await openModel(folder);
      await capture(model, [[1, 2, 3, 4]], { out });
    }
    await using dump = await Dump.open(out);
    const report = await runRepro(await write({ op: 'layers.0.mlp.experts:gate_up', dump, model: folder }), {
      ...CPU,
      dtypeVariants: true,
    });
    const errors = [
      'policy f32',
      ...['stored', 'Q8_0', 'Q4_K'].map((dtype) => `mlp.experts.gate_up_proj#weight=${dtype}`),
    ].map((variant) => row(report, variant).exact!.nmse);
    expect(errors[0]).toBeLessThan(1e-12);
    expect(errors).toEqual([...errors].sort((a, b) => a - b));
    expect(errors[3]).toBeGreaterThan(1e-4);
    const narrow = await runRepro(
      await write({ op: 'layers.0.mlp.gate.router_mlp.fc1', dump, model: folder }),
      {
        ...CPU,
        dtypeVariants: true,
      },
    );
    const labels = narrow.results.map(({ variant }) => variant.slice(variant.indexOf('=') + 1));
    expect(labels).toContain('Q8_0'); // 32 columns
    expect(labels).not.toContain('Q4_K');
  });
});

describe('positions', () => {
  it('are compared alone, with all tokens before them in the folder', async () => {
    const op = 'layers.1.self_attn:attn_output';
    const out = await write({ op, positions: '4:6' });
    const report = await runRepro(out, CPU);
    expect(report.positions).toEqual({ start: 4, end: 6 });
    const description = JSON.parse(readFileSync(join(out, 'repro.json'), 'utf8'));
    expect(description.tokens).toBe(6);
    expect(report.results[0]!.expected!.nmse).toBeLessThan(1e-12);
    expect(report.results[0]!.expected!.ulp!.elements).toBe(2 * 128);
  });

  it('that a dump does not hold from the start are named', async () => {
    const out = fresh();
    {
      using model = await openModel(MODEL);
      await capture(model, [[1, 2, 3, 4]], { out, positions: '2:4' });
    }
    await using dump = await Dump.open(out);
    const failure = await errorOf(write({ op: CONV, dump }));
    expect(failure).toMatchObject({ code: 'BAD_DUMP', message: expect.stringContaining('position 0') });
  });
});

describe('writing refuses', () => {
  it.each<[string, Partial<ReproOptions> & { op: string }, string]>([
    ['a name that is no value', { op: 'layers.3.nothing' }, 'BAD_ARGUMENT'],
    ['a state of a cached run', { op: 'layers.3.self_attn:k_cache' }, 'BAD_ARGUMENT'],
    ['a sequence that is not there', { op: CONV, sequence: 3 }, 'BAD_ARGUMENT'],
    ['positions that are none', { op: CONV, positions: '900:' }, 'BAD_ARGUMENT'],
    ['a model that is none', { op: CONV, model: 'nowhere' }, 'IO'],
    [
      'a policy for another model',
      {
        op: CONV,
        policy: {
          name: 'x',
          description: '',
          rules: [{ sites: 'layers.77.**#round', set: 'F16' }],
        } satisfies Policy,
      },
      'BAD_ARGUMENT',
    ],
  ])('%s', async (_, options, code) => {
    const out = fresh();
    expect((await errorOf(write({ ...options, out }))).code).toBe(code);
    expect(existsSync(out)).toBe(false);
  });

  it('a model of other sizes than the dump', async () => {
    const model = await writeRandomModel(fresh(), { ...SMALL_CONFIG, num_hidden_layers: 4 });
    expect((await errorOf(write({ op: CONV, model }))).code).toBe('SHAPE_MISMATCH');
  });

  it('a folder with something in it, and leaves it alone', async () => {
    const out = await write({ op: CONV });
    const before = readFileSync(join(out, 'repro.json'));
    expect((await errorOf(write({ op: 'norm', out }))).code).toBe('IO');
    expect(readFileSync(join(out, 'repro.json'))).toEqual(before);
    expect(readdirSync(out).sort()).toEqual([
      'README.md',
      'expected.safetensors',
      'inputs.safetensors',
      'repro.json',
      'weights.safetensors',
    ]);
  });
});

describe('a damaged folder is an error, never an abort', () => {
  const EXPERT_WEIGHT = 'layers.3.mlp.gate:expert_weight';
  type Json = Record<string, unknown>;
  const edit = (change: (json: Json) => void) => (folder: string) => {
    const file = join(folder, 'repro.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as Json;
    change(json);
    writeFileSync(file, JSON.stringify(json));
  };
  const cut = (name: string, bytes: number) => (folder: string) =>
    writeFileSync(join(folder, name), readFileSync(join(folder, name)).subarray(0, bytes));
  const inputs = (name: string, value: number, length: number) => (folder: string) =>
    writeSafetensors(join(folder, 'inputs.safetensors'), [
      {
        name,
        dtype: 'I32',
        shape: [length],
        chunks: [new Uint8Array(new Int32Array(length).fill(value).buffer)],
      },
    ]);

  it.each<[string, (folder: string) => unknown, string]>([
    ['no repro.json', (folder) => rmSync(join(folder, 'repro.json')), 'IO'],
    ['half a repro.json', cut('repro.json', 900), 'BAD_DUMP'],
    [
      'another format',
      edit((json) => {
        json.format = 'other';
      }),
      'BAD_DUMP',
    ],
    [
      'another version',
      edit((json) => {
        json.version = 2;
      }),
      'BAD_DUMP',
    ],
    [
      'an op that is none',
      edit((json) => {
        json.op = 'layers.3.nothing';
      }),
      'BAD_ARGUMENT',
    ],
    [
      'an op of another block',
      edit((json) => {
        json.op = 'layers.2.self_attn.o_proj';
      }),
      'BAD_DUMP',
    ],
    [
      'tokens that are none',
      edit((json) => {
        json.tokens = -1;
      }),
      'BAD_DUMP',
    ],
    [
      'more tokens than there are values',
      edit((json) => {
        json.tokens = 99;
      }),
      'BAD_DUMP',
    ],
    [
      'positions beyond the tokens',
      edit((json) => {
        json.positions = { start: 0, end: 1000 };
      }),
      'BAD_DUMP',
    ],
    [
      'entries of rows that are none',
      edit((json) => {
        json.prefixes = { 'layers.3.self_attn.o_proj': 0 };
      }),
      'BAD_DUMP',
    ],
    [
      'a config of other sizes',
      edit((json) => {
        (json.config as Json).head_dim = 32;
      }),
      'BAD_DUMP',
    ],
    [
      'a config that is none',
      edit((json) => {
        json.config = {};
      }),
      'BAD_CONFIG',
    ],
    [
      'a setting that is none',
      edit((json) => {
        (json.policy as Json).settings = { 'a#patches': 'Q4_K' };
      }),
      'BAD_DUMP',
    ],
    [
      'a kind of setting that is none',
      edit((json) => {
        (json.policy as Json).settings = { 'a#toString': 'x' };
      }),
      'BAD_DUMP',
    ],
    [
      'weights without entries',
      edit((json) => {
        json.weights = {};
      }),
      'BAD_DUMP',
    ],
    [
      'a vector in a quantised dtype',
      edit((json) => {
        for (const entry of Object.values(json.weights as Json)) (entry as Json).dtype = 'Q8_0';
      }),
      'BAD_DUMP',
    ],
    ['no inputs', (folder) => rmSync(join(folder, 'inputs.safetensors')), 'IO'],
    ['half the inputs', cut('inputs.safetensors', 5000), 'BAD_CHECKPOINT'],
    ['half the weights', cut('weights.safetensors', 5000), 'BAD_CHECKPOINT'],
    ['other inputs', inputs('tap:other', 0, 3), 'BAD_DUMP'],
  ])('%s', async (_, damage, code) => {
    const out = await write({ op: CONV });
    await damage(out);
    expect((await errorOf(runRepro(out, CPU))).code).toBe(code);
    expect((await errorOf(runRepro(out, { ...CPU, dtypeVariants: true }))).code).toBe(code);
  });

  it.each([-1, 9, 2 ** 31 - 1])('expert %i of 0 to 8', async (expert) => {
    const out = await write({ op: EXPERT_WEIGHT, positions: ':5' });
    const damaged = fresh();
    cpSync(out, damaged, { recursive: true });
    await inputs('tap:layers.3.mlp.gate:expert', expert, 5)(damaged);
    expect((await errorOf(runRepro(damaged, CPU))).code).toBe('BAD_DUMP');
  });

  it('a token id outside the vocabulary', async () => {
    const out = await write({ op: 'embed_tokens', positions: ':5' });
    await inputs('tokens', 259, 5)(out);
    expect((await errorOf(runRepro(out, CPU))).code).toBe('BAD_DUMP');
  });
});

describe('running', () => {
  it('refuses a device that is not there', async () => {
    expect((await errorOf(runRepro(await write({ op: CONV }), { backends: ['abacus'] }))).code).toBe(
      'BACKEND',
    );
  });

  it('says that the stored graph is another than today’s', async () => {
    const out = await write({ op: CONV });
    const file = join(out, 'repro.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as { graph: unknown[] };
    json.graph.pop();
    writeFileSync(file, JSON.stringify(json));
    expect((await runRepro(out, CPU)).graphChanged).toBe(true);
  });
});
