import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { captureSession } from '../../src/capture/capture-session.js';
import { diffDumps } from '../../src/diff/diff.js';
import { Dump } from '../../src/dump/reader.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { root } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-session-'));
const at = (name: string) => join(scratch, name);
const LIMIT = 1e-10;
const sequences = [
  Array.from({ length: 20 }, (_, i) => (i * 37 + 11) % 200),
  Array.from({ length: 15 }, (_, i) => (i * 53 + 5) % 200),
];
let model: Model;
beforeAll(async () => {
  model = await openModel(join(root, 'dumps', 'tiny', 'model'));
  await capture(model, sequences, { out: at('single') });
  await capture(model, sequences.slice(0, 1), { out: at('first') });
});
afterAll(() => {
  model.close();
  rmSync(scratch, { recursive: true });
});

/** Tensors of a step and of visible positions differ by how a run is split; those of tokens must not. */
const PER_TOKEN =
  'embed_tokens,input_affine,norm,lm_head,layers.*,layers.*.mlp.**,layers.*.self_attn.{q,k}*,layers.*.self_attn.qkv_proj.{q,k,v}_proj*,layers.*.self_attn.qkv_proj:{query,key,value}*';

async function compare(single: string, tested: string, taps: string) {
  const [reference, other] = [await Dump.open(at(single)), await Dump.open(at(tested))];
  const report = await diffDumps(reference, other, { taps, failAbove: LIMIT });
  await reference.close();
  await other.close();
  const worst = report.tapReports
    .filter((tap) => tap.kind === 'float' && !(tap.metrics.nmse <= LIMIT))
    .map(({ name }) => name);
  return { worst, pass: report.pass, unpaired: report.unpaired, taps: report.tapReports.length };
}

describe('steps of a session are captured as the one-shot run is', () => {
  it('in chunks and decode steps', async () => {
    using session = model.session();
    await using captured = await captureSession(model, session, { out: at('steps'), taps: PER_TOKEN });
    const tokens = sequences[0]!;
    for (const [start, end] of [
      [0, 7],
      [7, 8],
      [8, 17],
      [17, 18],
      [18, 19],
      [19, 20],
    ] as const)
      await captured.forward(tokens.slice(start, end));
    const manifest = await captured.finish();
    expect(manifest).toMatchObject({ status: 'complete', steps: 6, sequences: [{ tokens }] });
    const { taps, ...outcome } = await compare('first', 'steps', PER_TOKEN);
    expect(outcome).toEqual({ worst: [], pass: true, unpaired: [] });
    expect(taps).toBeGreaterThan(8 * 20);
  });

  it('in a left-padded batch, whose rows of padding are left out', async () => {
    using session = model.session({ batch: 2 });
    await using captured = await captureSession(model, session, { out: at('batch'), taps: '**' });
    await captured.forwardBatch(sequences);
    await captured.finish();
    const { taps, ...outcome } = await compare(
      'single',
      'batch',
      `${PER_TOKEN},**:attn_weights,**.conv_qk_grouped,**:conv_input`,
    );
    expect(outcome).toEqual({ worst: [], pass: true, unpaired: [] });
    expect(taps).toBeGreaterThan(8 * 20);
  });
});

it('a batched capture of unequal sequences is as one call each', async () => {
  const { logits } = await capture(model, sequences, { out: at('batched'), batched: true });
  const { taps, ...outcome } = await compare('single', 'batched', '**');
  expect(outcome).toEqual({ worst: [], pass: true, unpaired: [] });
  expect(taps).toBe(4 + 8 * 46);
  for (const [index, tokens] of sequences.entries()) {
    const alone = await model.prefill(tokens);
    const last = alone.slice(-model.config.vocab_size);
    const error = last.reduce((sum, value, i) => sum + (value - logits[index]![i]!) ** 2, 0);
    expect(error / last.reduce((sum, value) => sum + value ** 2, 0)).toBeLessThanOrEqual(LIMIT);
  }
});

describe('states after each step', () => {
  it('are those of the last tokens, and caches hold all positions so far', async () => {
    using session = model.session({ batch: 2 });
    await using captured = await captureSession(model, session, { out: at('states') });
    await captured.forwardBatch(sequences);
    await captured.forwardBatch([[1], [2]]);
    await captured.finish();
    const dump = await Dump.open(at('states'));
    const prefix = 'layers.3.self_attn';
    for (const [sequence, tokens] of sequences.entries())
      for (const step of [0, 1]) {
        const pick = (name: string) => dump.read(name, { step, sequence });
        const rows = step === 0 ? tokens.length : 1;
        const positions = tokens.length + step;
        const { nk, d, C } = { nk: 2, d: 16, C: 160 };
        // KV cache: the last rows are this step's keys and values
        const cached = await pick(`${prefix}:k_cache`);
        expect(cached.shape.slice(-3)).toEqual([positions, nk, d]);
        const keys = await pick(`${prefix}:key_rope`);
        expect([...cached.data.slice(-rows * nk * d)]).toEqual([...keys.data]);
        const values = await pick(`${prefix}:v_cache`);
        const value = await pick(`${prefix}.qkv_proj:value`);
        expect([...values.data.slice(-rows * nk * d)]).toEqual([...value.data]);
        // convolution state [C, 2]: the last two raw rows, oldest first
        const state = await pick(`${prefix}.qkv_proj:conv_state`);
        const input = await pick(`${prefix}.qkv_proj:conv_input`);
        const newest = Array.from({ length: C }, (_, channel) => state.data[channel * 2 + 1]);
        expect(newest).toEqual([...input.data.slice(-C)]);
        // delayed value: the projection of the last token
        const delayed = await pick(`${prefix}.qkv_proj:delayed_state`);
        const projected = await pick(`${prefix}.qkv_proj.v_proj_delayed`);
        expect([...delayed.data]).toEqual([...projected.data.slice((-nk * d) / 2)]);
      }
    await dump.close();
  });
});

it('`last` takes the last token of each call', async () => {
  using session = model.session();
  await using captured = await captureSession(model, session, {
    out: at('last'),
    taps: 'layers.7',
    positions: 'last',
  });
  await captured.forward([1, 2, 3]);
  await captured.forward([4]);
  await captured.finish();
  const dump = await Dump.open(at('last'));
  expect([...(await dump.read('layers.7')).position]).toEqual([2, 3]);
  await dump.close();
});
