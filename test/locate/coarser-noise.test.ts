/** F32 programs beside a noise run in BF16: its rounding is not theirs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateDumps } from '../../src/locate/faults/locate.js';
import { KeptDump } from '../planted/kept-dump.js';
import { PlantServer } from '../planted/plant-server.js';
import { root } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-coarser-'));
const server = new PlantServer();
const dumps = new Map<string, KeptDump>();
const tokens = join(scratch, 'tokens.json');
let model: string;

// Weights in F16, which BF16 rounds: the tiny model's are BF16 already.
const VARIANTS = {
  reference: { dtype: 'float32' },
  noise: { dtype: 'bfloat16' },
  'router-softmax-bf16': { dtype: 'float32', fault: 'router-softmax-bf16' },
  'rope-table-in-bf16': { dtype: 'float32', fault: 'rope-table-in-bf16' },
  'weights-in-bf16': { dtype: 'float32', program: 'weights-in-bf16' },
  'linears-round': { dtype: 'float32', program: 'linears-round' },
} as const;

beforeAll(async () => {
  const { tokens: ids } = JSON.parse(readFileSync(join(root, 'dumps', 'tiny', 'prompt.json'), 'utf8')) as {
    tokens: number[];
  };
  writeFileSync(tokens, JSON.stringify({ tokens: ids.map((id) => 3 + (id % 120)) }));
  model = await server.checkpoint('F16', ['--seed', '13', '--dtype', 'f16']);
  for (const [name, planting] of Object.entries(VARIANTS))
    dumps.set(name, await KeptDump.open(await server.plant({ ...planting, model, tokens })));
}, 120_000);
afterAll(async () => {
  for (const dump of dumps.values()) await dump.close();
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

/** Of a dump of transformers, or (`foreign`) of a program that nothing is known of. */
async function judged(name: keyof typeof VARIANTS, foreign: boolean, withNoise = true) {
  const view = (of: keyof typeof VARIANTS) => dumps.get(of)!;
  const { found, firstFault, mismatch, notes } = await locateDumps(
    view('reference').as(),
    view(name).as({ foreign }),
    model,
    { explain: false, threads: 1, ...(withNoise ? { noise: view('noise').as() } : {}) },
  );
  return { found, firstFault, mismatch, notes: notes.join('\n') };
}

it.each([false, true])('a soft-max in BF16 is named, of an unknown program: %s', async (foreign) => {
  expect(await judged('router-softmax-bf16', foreign)).toMatchObject({
    found: true,
    firstFault: 'layers.0.mlp.gate:router_probs',
    notes: expect.stringMatching(/rounds to BF16, .* computes in F32/),
  });
});

it.each([false, true])('a table in BF16 is named, of an unknown program: %s', async (foreign) => {
  expect(await judged('rope-table-in-bf16', foreign)).toMatchObject({
    firstFault: 'layers.0.self_attn:query_rope',
  });
});

it('products that round are no fault of a program that is not known', async () => {
  expect(await judged('linears-round', true)).toMatchObject({ found: false, mismatch: null });
});

it.each([true, false])('weights in BF16 are found and are no fault, with noise: %s', async (withNoise) => {
  expect(await judged('weights-in-bf16', true, withNoise)).toMatchObject({
    found: false,
    mismatch: null,
    notes: expect.stringContaining('has its weights in BF16, and computes with them in F32'),
  });
});

it.each([false, true])('the unaltered model is silent, of an unknown program: %s', async (foreign) => {
  expect(await judged('reference', foreign)).toMatchObject({ found: false, mismatch: null });
});
