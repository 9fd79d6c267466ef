import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CaptureOptions, capture } from '../../src/capture/capture.js';
import { Dump } from '../../src/dump/reader.js';
import { ZayascopeError } from '../../src/errors.js';
import { axisSize } from '../../src/models/runtime/axes.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { modelTaps } from '../../src/models/runtime/trace.js';
import { root } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-capture-'));
const at = (name: string) => join(scratch, name);
const tokens = Array.from({ length: 24 }, (_, i) => (i * 37 + 11) % 200);
let model: Model;
beforeAll(async () => {
  model = await openModel(join(root, 'dumps', 'tiny', 'model'));
});
afterAll(() => {
  model.close();
  rmSync(scratch, { recursive: true });
});

async function failure(work: Promise<unknown>): Promise<ZayascopeError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ZayascopeError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

describe('capturing does not change the result', () => {
  it('logits are bit-equal with no tap, with all taps, and in every tier', async () => {
    const plain = await model.prefill(tokens);
    const last = plain.slice(-model.config.vocab_size);
    for (const tier of ['full', 'stats', 'hash'] as const) {
      const { logits } = await capture(model, [tokens], { out: at(`equal-${tier}`), tier });
      expect(logits).toEqual([last]);
    }
    for (const taps of ['**.o_proj', 'layers.3.**', 'lm_head']) {
      const { logits } = await capture(model, [tokens], { out: at('equal'), taps, overwrite: true });
      expect(logits).toEqual([last]);
    }
  });

  it.each([1, 2])('with %i threads two captures are bit-equal in every tap', async (threads) => {
    using other = await openModel(join(root, 'dumps', 'tiny', 'model'), { threads });
    const hashes = [];
    for (const name of ['first', 'second']) {
      const out = at(`${name}-${threads}`);
      await capture(other, [tokens], { out, tier: 'hash' });
      hashes.push(readFileSync(join(out, 'hash.arrow')));
    }
    expect(hashes[0]!.equals(hashes[1]!)).toBe(true);
  });
});

describe('what is captured', () => {
  it('the model file makes exactly the taps of the table, in its order, with its sizes', () => {
    using plan = model.plan({ tokens: 5, taps: { wants: () => true } });
    const made = plan.segments.flatMap(({ graph }) =>
      [...graph.outputs]
        .filter(([name]) => name !== '#logits')
        .map(([name, { shape, dtype }]) => ({ name, shape: [...shape], dtype })),
    );
    const listed = modelTaps(model.config).map(({ name, axes, scope, dtype }) => ({
      name,
      shape: [...(scope === 'step' ? [1] : []), ...axes.map((axis) => axisSize(model.config, axis, 5))],
      dtype,
    }));
    expect(made).toEqual(listed);
  });

  it.each([
    ['all', 0, 24],
    ['last', 23, 24],
    ['3:9', 3, 9],
    ['-2:', 22, 24],
  ])('positions %s are rows %i to %i, as in the whole dump', async (positions, start, end) => {
    await capture(model, [tokens], { out: at('whole'), overwrite: true });
    await capture(model, [tokens], { out: at('part'), positions, overwrite: true });
    const [whole, part] = [await Dump.open(at('whole')), await Dump.open(at('part'))];
    for (const tap of [
      'layers.4',
      'layers.2.self_attn:attn_weights',
      'layers.7.mlp.gate:expert',
      'lm_head',
    ]) {
      const all = await whole.read(tap);
      const some = await part.read(tap);
      const width = all.data.length / tokens.length;
      expect([...some.position]).toEqual(Array.from({ length: end - start }, (_, i) => start + i));
      expect([...some.tokenId]).toEqual(tokens.slice(start, end));
      expect(some.data).toEqual(all.data.slice(start * width, end * width));
    }
    await whole.close();
    await part.close();
  });

  it('several sequences of different lengths go into one dump, each as it is alone', async () => {
    const sequences = [tokens, tokens.slice(0, 7), tokens.slice(3, 10)];
    await capture(model, sequences, { out: at('several'), taps: 'layers.6,lm_head' });
    const dump = await Dump.open(at('several'));
    const both = await dump.read('lm_head');
    expect([...new Set(both.sequence)]).toEqual([0, 1, 2]);
    const width = model.config.vocab_size;
    const alone = await model.prefill(sequences[2]!);
    expect(both.data.slice(31 * width)).toEqual(alone);
    await dump.close();
  });

  it.each(['full', 'stats', 'hash'] as const)(
    'the size of tier %s is estimated within a fifth',
    async (tier) => {
      const out = at(`size-${tier}`);
      const sequence = Array.from({ length: 300 }, (_, i) => i % 200);
      const { estimatedBytes } = await capture(model, [sequence], { out, tier });
      const arrow = readdirSync(out).filter((name) => name.endsWith('.arrow'));
      const bytes = arrow.reduce((sum, name) => sum + statSync(join(out, name)).size, 0);
      expect(Math.abs(estimatedBytes / bytes - 1)).toBeLessThan(0.2);
    },
  );
});

describe('a run that does not end well', () => {
  it('is cancelled at once and leaves a partial dump that reads', async () => {
    const stop = new AbortController();
    const onProgress = (done: number) => done === 5 && stop.abort();
    const error = await failure(
      capture(model, [tokens], { out: at('cancelled'), signal: stop.signal, onProgress }),
    );
    expect(error.code).toBe('CANCELLED');
    const dump = await Dump.open(at('cancelled'));
    expect(dump.manifest.status).toBe('partial');
    expect((await dump.read('layers.0')).position).toHaveLength(24);
    await dump.close();
    // and the model still works
    expect((await model.prefill(tokens)).some(Number.isNaN)).toBe(false);
  });

  it('refuses bad input before anything is written', async () => {
    const cases: [number[][], Partial<CaptureOptions>, string][] = [
      [[], {}, 'BAD_ARGUMENT'],
      [[[]], {}, 'BAD_ARGUMENT'],
      [[[1, 100_000]], {}, 'BAD_ARGUMENT'],
      [[[1, -1]], {}, 'BAD_ARGUMENT'],
      [[[1, 1.5]], {}, 'BAD_ARGUMENT'],
      [[tokens], { taps: 'layers.99' }, 'BAD_ARGUMENT'],
      [[tokens], { positions: '30:40' }, 'BAD_ARGUMENT'],
      [[tokens], { positions: 'first' }, 'BAD_ARGUMENT'],
    ];
    for (const [sequences, options, code] of cases) {
      const error = await failure(capture(model, sequences, { out: at('refused'), ...options }));
      expect([error.code, error.message]).toEqual([code, expect.stringMatching(/expected .*, got /)]);
      expect(existsSync(at('refused'))).toBe(false);
    }
  });

  it('names the token, its position and the vocabulary', async () => {
    const error = await failure(capture(model, [[5, 1, 999]], { out: at('refused') }));
    expect(error.message).toContain('999');
    expect(error.message).toContain('position 2');
    expect(error.message).toContain(`${model.config.vocab_size - 1}`);
  });

  it('refuses a folder that holds something else, and one it cannot write', async () => {
    mkdirSync(at('mine'));
    writeFileSync(join(at('mine'), 'thesis.txt'), 'precious');
    for (const overwrite of [false, true]) {
      const error = await failure(capture(model, [tokens], { out: at('mine'), overwrite }));
      expect(error.code).toBe('IO');
      expect(readFileSync(join(at('mine'), 'thesis.txt'), 'utf8')).toBe('precious');
    }
    writeFileSync(at('file'), '');
    expect((await failure(capture(model, [tokens], { out: join(at('file'), 'dump') }))).code).toBe('IO');
  });

  it.skipIf(process.getuid?.() === 0)(
    'refuses a folder without permission (skipped as root, who may write anywhere)',
    async () => {
      mkdirSync(at('locked'));
      chmodSync(at('locked'), 0o500);
      expect((await failure(capture(model, [tokens], { out: join(at('locked'), 'dump') }))).code).toBe('IO');
    },
  );

  it('refuses a dump that is larger than the free space, naming both', async () => {
    const sequences = Array.from({ length: 4_000_000 }, () => tokens);
    const error = await failure(capture(model, sequences, { out: at('huge') }));
    expect(error.code).toBe('NO_SPACE');
    expect(existsSync(at('huge'))).toBe(false);
  });
});
