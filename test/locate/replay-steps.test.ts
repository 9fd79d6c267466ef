import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captureSession } from '../../src/capture/capture-session.js';
import { Dump } from '../../src/dump/reader.js';
import { localErrors } from '../../src/locate/faults/local.js';
import { dumpCalls } from '../../src/locate/replay/calls.js';
import { replay } from '../../src/locate/replay/replay.js';
import { blockCount, tapInputs } from '../../src/locate/replay/tap-graph.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-replay-steps-'));
const STEPS = [12, 7, 1, 1];

let model: Model;
beforeAll(async () => {
  model = await openModel(join(tiny, 'model'));
});
afterAll(() => {
  model.close();
  rmSync(scratch, { recursive: true });
});

/** A session's calls of these sizes: over one prompt, or over two in a left-padded batch. */
async function decode(name: string, options: { taps?: string; batch?: 1 | 2 } = {}): Promise<Dump> {
  const out = join(scratch, name);
  const { taps = '**', batch = 1 } = options;
  using session = model.session({ batch, capacity: 64 });
  await using captured = await captureSession(model, session, { out, taps });
  let past = 0;
  for (const size of STEPS) {
    const first = tokens.slice(past, past + size);
    const second = tokens.slice(Math.max(0, past - 4) + 20, past + size - 4 + 20);
    await captured.forwardBatch(batch === 1 ? [first] : [first, second]);
    past += size;
  }
  await captured.finish();
  return Dump.open(out);
}

async function differing(dump: Dump): Promise<string[]> {
  const found = new Set<string>();
  await replay(model, {
    dump,
    visit({ tap, dumped, shown }) {
      expect([tap.name, shown.data.length]).toEqual([tap.name, dumped.data.length]);
      if (!shown.data.every((value, k) => Object.is(value, dumped.data[k]))) found.add(tap.name);
    },
  });
  return [...found];
}

describe('an isolated replay of continued calls', () => {
  it('repeats every bit of a chunked prefill and decode steps, states and caches included', async () => {
    await using dump = await decode('whole');
    expect(dump.taps.filter(({ name }) => /_state$|_cache$/.test(name))).toHaveLength(8 * 4);
    expect(await differing(dump)).toEqual([]);
  });

  it('makes states that the dump lacks of its own values in the calls before', async () => {
    await using dump = await decode('stateless', {
      taps: '**.{q,k}_proj,**:key_rope,**:value,**.v_proj_delayed,**.conv_qk_*,**:value_delayed,**:attn_*,layers.*',
    });
    expect(dump.taps.some(({ name }) => /_state$|_cache$/.test(name))).toBe(false);
    expect(await differing(dump)).toEqual([]);
  });

  it('runs each sequence of a left-padded batch by itself', async () => {
    await using dump = await decode('batch', { batch: 2 });
    const calls = await dumpCalls(dump);
    expect(calls.map(({ sequence, step, past, tokens: own }) => [sequence, step, past, own.length])).toEqual([
      [0, 0, 0, 12],
      [0, 1, 12, 7],
      [0, 2, 19, 1],
      [0, 3, 20, 1],
      [1, 0, 0, 8],
      [1, 1, 8, 7],
      [1, 2, 15, 1],
      [1, 3, 16, 1],
    ]);
    const errors = [...(await localErrors(model, dump, { right: 'dump' })).values()];
    expect(errors).toHaveLength(dump.taps.length);
    expect(errors.filter(({ nmse }) => !(nmse <= 1e-12)).map(({ tap }) => tap.name)).toEqual([]);
  });

  it('goes on from its own states in a plain run', async () => {
    await using dump = await decode('plain');
    let worst = 0;
    await replay(model, {
      dump,
      replace: null,
      visit({ tap, dumped, shown }) {
        if (tap.dtype !== 'F32') return;
        for (let k = 0; k < dumped.data.length; k++)
          worst = Math.max(worst, Math.abs(dumped.data[k]! - shown.data[k]!));
      },
    });
    expect(worst).toBe(0);
  });

  it('shows progress over all calls', async () => {
    await using dump = await decode('progress', { taps: 'embed_tokens,layers.*,lm_head' });
    const progress: string[] = [];
    await replay(model, { dump, visit() {}, onProgress: (done, total) => progress.push(`${done}/${total}`) });
    expect(progress).toHaveLength(4 * 10);
    expect(progress.at(-1)).toBe('40/40');
  });
});

describe('what a continued call reads', () => {
  const QKV = 'layers.1.self_attn.qkv_proj';

  it('are states where a dump holds them, else what they are made of', () => {
    const states = new Set([`${QKV}:conv_state`, `${QKV}:conv_input`, 'layers.1.self_attn:k_cache']);
    expect(tapInputs(`${QKV}.conv_qk_depthwise:lead`, 2, states).inputs).toEqual([`${QKV}:conv_state`]);
    expect(tapInputs('layers.1.self_attn:attn_weights', 2, states).inputs).toContain(
      'layers.1.self_attn:k_cache',
    );
    const values = new Set([`${QKV}:conv_input`]);
    expect(tapInputs(`${QKV}.conv_qk_depthwise:lead`, 2, values).inputs).toEqual([]);
    expect(tapInputs(`${QKV}.conv_qk_depthwise:lead`, 2, values, true).inputs).toEqual([`${QKV}:conv_input`]);
    expect(tapInputs(`${QKV}:conv_state`, 2, values).inputs).toEqual([`${QKV}:conv_input`]);
    expect(blockCount(states)).toBe(2);
  });
});
