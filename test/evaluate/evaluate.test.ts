import { describe, expect, it } from 'vitest';
import { type EvaluatedModel, evaluate } from '../../src/evaluate/evaluate.js';
import { summariseChanges } from '../../src/evaluate/probability-change.js';
import { logProbability, summariseScores } from '../../src/evaluate/scores.js';
import { seededIntegers } from '../weights/fixtures.js';

/**
 * A model whose logits depend on a token and how many stand before it in the window. Records what it is fed.
 */
function fakeModel(vocabulary: number, seed: number, wrong = 0) {
  const calls: (number[] | 'truncate' | 'close')[] = [];
  const logits = (token: number, position: number): number[] => {
    const random = seededIntegers(1000 * seed + 37 * token + position);
    return Array.from({ length: vocabulary }, () => random(1000) / 200 + wrong);
  };
  const model: EvaluatedModel = {
    config: { vocab_size: vocabulary },
    session({ capacity }) {
      let position = 0;
      return {
        async forwardAll(tokens) {
          calls.push([...tokens]);
          const rows = tokens.flatMap((token) => logits(token, position++));
          if (position > capacity) throw new Error('beyond the capacity');
          return Float32Array.from(rows);
        },
        async truncate(to) {
          calls.push('truncate');
          position = to;
        },
        close: () => void calls.push('close'),
      };
    },
  };
  return { model, calls, logits };
}

const text = Array.from({ length: 23 }, (_, at) => (at * 7 + (at >> 2)) % 11);

/** ln p of the next token for every scored place, computed window by window with plain soft-max. */
function naive(logits: (token: number, position: number) => number[], context: number, columns = 99) {
  const rows: { place: number; logP: number[]; next: number }[] = [];
  for (let start = 0; start < text.length; start += context)
    for (let at = start; at + 1 < Math.min(start + context, text.length); at++) {
      const row = logits(text[at]!, at - start)
        .map(Math.fround)
        .slice(0, columns);
      const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      rows.push({ place: at, logP: row.map((logit) => logit - total), next: text[at + 1]! });
    }
  return rows;
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('evaluate', () => {
  it.each([5, 8, 23, 100])('gives the perplexity over windows of %d tokens', async (context) => {
    const { model, logits } = fakeModel(11, 1);
    const rows = naive(logits, context);
    const result = await evaluate(model, text, { context });
    expect(result).toMatchObject({
      tokens: 23,
      scored: rows.length,
      windows: Math.ceil(23 / context),
      tested: null,
    });
    const nll = -mean(rows.map(({ logP, next }) => logP[next]!));
    expect(result.reference.meanNll).toBeCloseTo(nll, 10);
    expect(result.reference.perplexity).toBeCloseTo(Math.exp(nll), 9);
  });

  it('starts each window with an empty past and never feeds its last token', async () => {
    const { model, calls } = fakeModel(11, 1);
    await evaluate(model, text.slice(0, 9), { context: 4 });
    expect(calls).toEqual(['truncate', text.slice(0, 3), 'truncate', text.slice(4, 7), 'close']);
    expect((await evaluate(model, text.slice(0, 10), { context: 4 })).scored).toBe(7);
  });

  it('feeds long windows in parts without a difference', async () => {
    const { model, calls } = fakeModel(3, 2);
    const long = Array.from({ length: 300 }, (_, at) => at % 3);
    await evaluate(model, long, { context: 300 });
    const fed = calls.filter((call) => Array.isArray(call));
    expect(fed.map(({ length }) => length)).toEqual([128, 128, 43]);
    expect(fed.flat()).toEqual(long.slice(0, -1));
  });

  it('compares a second model: KL, top-1 and the probability of the next token', async () => {
    const [a, b] = [fakeModel(11, 1), fakeModel(11, 3)];
    const result = await evaluate(a.model, text, { context: 8, against: b.model });
    const [left, right] = [naive(a.logits, 8), naive(b.logits, 8)];
    const kl = left.map(({ logP }, row) =>
      logP.reduce((sum, p, k) => sum + Math.exp(p) * (p - right[row]!.logP[k]!), 0),
    );
    expect(result.logits!.klMean).toBeCloseTo(mean(kl), 9);
    expect(result.logits!.klMax).toBeCloseTo(Math.max(...kl), 9);
    const best = (row: number[]): number => row.indexOf(Math.max(...row));
    const same = left.map(({ logP }, row) => Number(best(logP) === best(right[row]!.logP)));
    expect(result.logits!.top1Agreement).toBeCloseTo(mean(same), 12);
    const change = left.map(
      ({ logP, next }, row) => Math.exp(right[row]!.logP[next]!) - Math.exp(logP[next]!),
    );
    expect(result.probabilityChange!.mean).toBeCloseTo(mean(change), 10);
    expect(result.probabilityChange!.rms).toBeCloseTo(Math.sqrt(mean(change.map((each) => each ** 2))), 10);
    expect(result.tested!.meanNll).toBeCloseTo(-mean(right.map(({ logP, next }) => logP[next]!)), 10);
  });

  it('finds no distance between a model and itself, or one with all logits shifted', async () => {
    const result = await evaluate(fakeModel(11, 1).model, text, { against: fakeModel(11, 1, 2).model });
    expect(result.logits!.klMax).toBeLessThan(1e-6);
    expect(result.logits!.top1Agreement).toBe(1);
    expect(result.tested!.perplexity).toBeCloseTo(result.reference.perplexity, 5);
  });

  it('compares a trimmed vocabulary over the common columns, and scores each model over its own', async () => {
    const [a, b] = [fakeModel(13, 1), fakeModel(11, 1)];
    const result = await evaluate(a.model, text, { against: b.model });
    const [left, right] = [naive(a.logits, 512, 11), naive(b.logits, 512, 11)];
    const kl = left.map(({ logP }, row) =>
      logP.reduce((sum, p, k) => sum + Math.exp(p) * (p - right[row]!.logP[k]!), 0),
    );
    expect(result.logits!.klMean).toBeCloseTo(mean(kl), 9);
    expect(result.reference.meanNll).toBeCloseTo(
      -mean(naive(a.logits, 512).map(({ logP, next }) => logP[next]!)),
      10,
    );
  });

  it.each([
    ['a window of one token', text, 1],
    ['half a token', text, 2.5],
    ['a text of one token', [1], 8],
  ])('refuses %s', async (_what, tokens, context) => {
    await expect(evaluate(fakeModel(11, 1).model, tokens, { context })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('closes what it opened when it is cancelled or a model fails', async () => {
    const cancelled = fakeModel(11, 1);
    const signal = AbortSignal.abort();
    await expect(evaluate(cancelled.model, text, { signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(cancelled.calls.at(-1)).toBe('close');
    const broken = fakeModel(11, 1, Number.NaN);
    await expect(evaluate(broken.model, text)).rejects.toMatchObject({
      code: 'BACKEND',
      message: expect.stringContaining('NaN'),
    });
    expect(broken.calls.at(-1)).toBe('close');
  });
});

it('counts logits of -Infinity, and gives an infinite perplexity where the text needs one of them', async () => {
  const masked = (token: number): EvaluatedModel => {
    const { model } = fakeModel(11, 1);
    const session: EvaluatedModel['session'] = (options) => {
      const inner = model.session(options);
      const forwardAll = async (tokens: readonly number[]) => {
        const logits = await inner.forwardAll(tokens);
        return logits.map((value, at) => (at % 11 === token ? Number.NEGATIVE_INFINITY : value));
      };
      return { forwardAll, truncate: inner.truncate, close: inner.close };
    };
    return { ...model, session };
  };
  const words = [1, 2, 3, 2, 1];
  const unused = await evaluate(masked(9), words);
  expect(unused.nonFinite).toEqual({ reference: 4, tested: 0 });
  expect(unused.reference.perplexity).toBeLessThan(1e4);
  const needed = await evaluate(masked(9), words, { against: masked(3) });
  expect(needed.nonFinite).toEqual({ reference: 4, tested: 4 });
  expect(needed.tested).toEqual({ meanNll: Infinity, perplexity: Infinity, perplexityError: Infinity });
  expect(needed.logits!.klMax).toBe(Infinity);
});

it('counts tokens whose logits are all equal', async () => {
  const flat = (): EvaluatedModel => {
    const { model } = fakeModel(11, 1);
    const forwardAll = async (tokens: readonly number[]) => new Float32Array(11 * tokens.length).fill(3);
    return { ...model, session: (options) => ({ ...model.session(options), forwardAll }) };
  };
  const words = [1, 2, 3, 2, 1];
  const { model } = fakeModel(11, 1);
  expect((await evaluate(model, words, { against: flat() })).flatLogits).toEqual({ reference: 0, tested: 4 });
  expect((await evaluate(flat(), words)).reference.perplexity).toBeCloseTo(11, 6);
});

describe('scores', () => {
  it('do not overflow for large logits', () => {
    expect(logProbability(Float32Array.of(1e4, 1e4), 0, 'here')).toBeCloseTo(-Math.LN2, 12);
    expect(logProbability(Float32Array.of(0, Number.NEGATIVE_INFINITY), 1, 'here')).toBe(
      Number.NEGATIVE_INFINITY,
    );
  });

  it('have the standard error of the mean', () => {
    const { perplexity, perplexityError } = summariseScores([-1, -2, -3]);
    expect(perplexity).toBeCloseTo(Math.exp(2), 12);
    expect(perplexityError).toBeCloseTo(Math.exp(2) * Math.sqrt(1 / 3), 12);
    expect(summariseScores([-1]).perplexityError).toBe(0);
  });

  it('list percentiles by nearest rank', () => {
    const tested = Array.from({ length: 200 }, (_, at) => Math.log((at + 1) / 200));
    const { percentiles, min, max } = summariseChanges(
      tested.map(() => Number.NEGATIVE_INFINITY),
      tested.reverse(),
    );
    for (const [percent, value] of Object.entries(percentiles))
      expect(value).toBeCloseTo(Number(percent) / 100, 12);
    expect([min, max]).toEqual([expect.closeTo(0.005, 12), expect.closeTo(1, 12)]);
  });
});
