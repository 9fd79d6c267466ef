import { describe, expect, it } from 'vitest';
import { type DecodingSession, generate } from '../../src/text/generate.js';
import { greedy } from '../../src/text/sampling.js';

/** A model of 10 tokens that always continues with the last token plus one; remembers what it was fed. */
function countingSession(): DecodingSession & { calls: number[][] } {
  const calls: number[][] = [];
  return {
    calls,
    async forward(tokens) {
      calls.push([...tokens]);
      return Float32Array.from({ length: 10 }, (_, id) => (id === (tokens.at(-1)! + 1) % 10 ? 1 : 0));
    },
  };
}

describe('generation', () => {
  it('feeds the prompt once, then each token but the last', async () => {
    const session = countingSession();
    const result = await generate(session, [3, 4], { maxTokens: 3, sampler: greedy });
    expect(result).toMatchObject({ tokens: [5, 6, 7], finish: 'length' });
    expect(session.calls).toEqual([[3, 4], [5], [6]]);
  });

  it('ends with a stop token, which is part of the result', async () => {
    const seen: number[] = [];
    const options = {
      maxTokens: 9,
      sampler: greedy,
      stopTokens: new Set([6]),
      onToken: (id: number) => seen.push(id),
    };
    const result = await generate(countingSession(), [4], options);
    expect(result).toMatchObject({ tokens: [5, 6], finish: 'stop' });
    expect(seen).toEqual([5, 6]);
  });

  it('counts tokens that were chosen from logits that are all equal', async () => {
    const session = countingSession();
    const forward = async (tokens: readonly number[]) =>
      tokens[0] === 5 ? new Float32Array(10).fill(-2) : session.forward(tokens);
    const result = await generate({ forward }, [3, 4], { maxTokens: 4, sampler: greedy });
    expect(result).toMatchObject({ tokens: [5, 0, 1, 2], flatLogits: 1 });
  });

  it('stops between steps when cancelled', async () => {
    const controller = new AbortController();
    const session = countingSession();
    const onToken = (id: number): void => {
      if (id === 2) controller.abort();
    };
    const run = generate(session, [0], { maxTokens: 9, sampler: greedy, onToken, signal: controller.signal });
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(session.calls).toEqual([[0], [1]]);
  });

  it.each([
    ['an empty prompt', [], 1],
    ['no tokens', [1], 0],
    ['half a token', [1], 0.5],
  ])('refuses %s', async (_what, prompt, maxTokens) => {
    const run = generate(countingSession(), prompt, { maxTokens, sampler: greedy });
    await expect(run).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
