import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { pythonJson, root } from '../reference/python.js';
import { nmse } from './nmse.js';

const folder = join(root, 'dumps', 'tiny', 'model');
const ids = Array.from({ length: 50 }, (_, i) => (i * 37 + 11) % 200);
const LIMIT = 1e-10;
let model: Model;
let vocabulary: number;
let oneShot: Float32Array;

beforeAll(async () => {
  model = await openModel(folder);
  vocabulary = model.config.vocab_size;
  oneShot = await model.prefill(ids);
});
afterAll(() => model.close());

const row = (logits: Float32Array, index: number) =>
  logits.slice(index * vocabulary, (index + 1) * vocabulary);

describe('any split of a sequence gives the numbers of the one-shot run', () => {
  it.each([
    ['in one call', [50]],
    ['in chunks of odd sizes', [7, 13, 1, 29]],
    ['token by token', new Array(50).fill(1)],
  ])('%s', async (_, sizes: number[]) => {
    using session = model.session();
    let at = 0;
    for (const size of sizes) {
      const logits = await session.forwardAll(ids.slice(at, at + size));
      for (let i = 0; i < size; i++)
        expect(nmse(row(oneShot, at + i), row(logits, i))).toBeLessThanOrEqual(LIMIT);
      at += size;
    }
    expect(session.tokens).toEqual([ids]);
  });

  it('across the steps in which the visible span grows', async () => {
    const long = Array.from({ length: 200 }, (_, i) => (i * 31 + 7) % 200);
    const expected = await model.prefill(long);
    using session = model.session({ capacity: 200 });
    await session.forward(long.slice(0, 60));
    for (let at = 60; at < 200; at++) {
      const logits = await session.forward([long[at]!]);
      expect(nmse(row(expected, at), logits)).toBeLessThanOrEqual(LIMIT);
    }
  });
});

describe('against transformers', () => {
  const prompts = [ids.slice(0, 20), ids.slice(5, 17), ids.slice(30, 31), ids.slice(10, 40)];
  let reference: { logits: string; tokens: number; greedy: number[] };
  beforeAll(() => {
    const request = { prompts, greedy: { prompt: ids.slice(0, 9), tokens: 64 } };
    reference = pythonJson([join('test', 'reference', 'batch_logits.py'), folder], JSON.stringify(request));
  });

  it('64 greedy tokens are the same', async () => {
    using session = model.session();
    let logits = await session.forward(ids.slice(0, 9));
    const tokens: number[] = [];
    while (tokens.length < 64) {
      tokens.push(logits.indexOf(Math.max(...logits)));
      logits = await session.forward(tokens.slice(-1));
    }
    expect(tokens).toEqual(reference.greedy);
  });

  it('a left-padded batch of unequal prompts gives its batch logits for every real token', async () => {
    const bytes = Buffer.from(reference.logits, 'base64');
    const theirs = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    using session = model.session({ batch: prompts.length });
    const ours = await session.forwardBatch(prompts, { logits: 'all' });
    for (const [sequence, prompt] of prompts.entries())
      for (let i = reference.tokens - prompt.length; i < reference.tokens; i++) {
        const at = sequence * reference.tokens + i;
        expect(nmse(row(theirs, at), row(ours, at))).toBeLessThanOrEqual(LIMIT);
      }
  });
});

it('sequences of a batch equal single runs, in the prefill and in later steps, padded or not', async () => {
  for (const prompts of [
    [ids.slice(0, 12), ids.slice(20, 32)],
    [ids.slice(0, 20), ids.slice(5, 17), ids.slice(30, 33)],
  ]) {
    using session = model.session({ batch: prompts.length });
    let logits = await session.forwardBatch(prompts);
    const sofar = prompts.map((prompt) => [...prompt]);
    for (let step = 0; step < 4; step++) {
      for (const [index, tokens] of sofar.entries()) {
        const alone = await model.prefill(tokens);
        expect(nmse(row(alone, tokens.length - 1), row(logits, index))).toBeLessThanOrEqual(LIMIT);
      }
      const next = sofar.map((_, index) => [(index * 17 + step * 5) % 200]);
      logits = await session.forwardBatch(next);
      for (const [index, tokens] of sofar.entries()) tokens.push(...next[index]!);
    }
  }
});

describe('going back', () => {
  it.each([0, 1, 19, 20, 21, 33, 39])(
    'truncation to position %i restores caches and both states',
    async (position) => {
      using session = model.session();
      await session.forward(ids.slice(0, 20));
      for (let at = 20; at < 40; at++) await session.forward([(at * 3) % 200]);
      await session.truncate(position);
      expect(session.position).toBe(position);
      const expected = await model.prefill([...session.tokens[0]!, ...ids.slice(0, 5)]);
      const logits = await session.forward(ids.slice(0, 5));
      expect(nmse(row(expected, position + 4), logits)).toBeLessThanOrEqual(LIMIT);
    },
  );

  it('a fork goes on alone, and the original is not touched', async () => {
    using session = model.session();
    await session.forward(ids.slice(0, 30));
    using fork = session.fork();
    await fork.forward([1, 2, 3]);
    const logits = await session.forward(ids.slice(30, 31));
    expect(nmse(row(oneShot, 30), logits)).toBeLessThanOrEqual(LIMIT);
    const expected = await model.prefill([...ids.slice(0, 30), 1, 2, 3, 4]);
    expect(nmse(row(expected, 33), await fork.forward([4]))).toBeLessThanOrEqual(LIMIT);
  });

  it('a padded batch can be emptied and used again', async () => {
    using session = model.session({ batch: 2 });
    await session.forwardBatch([ids.slice(0, 9), ids.slice(0, 4)]);
    await session.truncate(0);
    const logits = await session.forwardBatch([ids.slice(0, 3), ids.slice(0, 10)]);
    expect(nmse(row(oneShot, 9), row(logits, 1))).toBeLessThanOrEqual(LIMIT);
  });

  it('a call that fails leaves the session as it was', async () => {
    using session = model.session();
    await session.forward(ids.slice(0, 20));
    const taps = { wants: (name: string) => name === 'layers.5' };
    const sink = () => Promise.reject(new Error('full disk'));
    await expect(session.forward(ids.slice(20, 25), { taps, sink })).rejects.toThrow('full disk');
    expect(session.position).toBe(20);
    const logits = await session.forward(ids.slice(20, 21));
    expect(nmse(row(oneShot, 20), logits)).toBeLessThanOrEqual(LIMIT);
  });
});

describe('misuse is BAD_ARGUMENT or CLOSED and harms nothing', () => {
  const code = async (work: () => unknown) => {
    try {
      await work();
    } catch (error) {
      if (error instanceof ZayascopeError) return error.code;
      throw error;
    }
    return undefined;
  };

  it('ids, lengths, capacity, overlapping calls, use after close', async () => {
    const session = model.session({ batch: 2, capacity: 16 });
    expect(await code(() => session.forwardBatch([[1], [vocabulary]]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.forwardBatch([[1], [-1]]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.forwardBatch([[1]]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.forwardBatch([[1], []]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.forwardBatch([new Array(17).fill(1), [1]]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.forward([1]))).toBe('BAD_ARGUMENT');
    await session.forwardBatch([[1, 2], [3]]);
    expect(await code(() => session.forwardBatch([[1, 2], [3]]))).toBe('BAD_ARGUMENT');
    expect(await code(() => session.truncate(3))).toBe('BAD_ARGUMENT');
    const first = session.forwardBatch([[1], [2]]);
    expect(await code(() => session.forwardBatch([[1], [2]]))).toBe('BAD_ARGUMENT');
    await first;
    session.close();
    expect(await code(() => session.forwardBatch([[1], [2]]))).toBe('CLOSED');
    expect(await code(() => session.fork())).toBe('CLOSED');
  });

  it.each([[{ batch: 0 }], [{ capacity: 0 }], [{ capacity: 1.5 }], [{ capacity: 2 ** 40 }]])(
    '%j',
    async (options) => {
      expect(await code(() => model.session(options))).toBe('BAD_ARGUMENT');
    },
  );
});
