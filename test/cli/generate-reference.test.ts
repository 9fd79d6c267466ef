import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pythonJson, root } from '../reference/python.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const model = join(root, 'dumps', 'tiny', 'model');
const script = join('test', 'reference', 'batch_logits.py');

describe('greedy generation', () => {
  // 64 tokens of a text are compared in test/models/zaya-session.test.ts. transformers is kept from choosing
  // an end token, which --ignore-eos is not: this prompt leads to none.
  it('gives the tokens of unmodified transformers, from the checkpoint and from a GGUF file', {
    timeout: 120_000,
  }, async () => {
    const prompt = [5, 17];
    const request = JSON.stringify({ prompts: [prompt], greedy: { prompt, tokens: 24 } });
    const { greedy } = pythonJson<{ greedy: number[] }>([script, model], request);
    expect(greedy).toHaveLength(24);
    const gguf = join(await temporaryFolder(), 'tiny.gguf');
    expect((await runCommand(['convert', model, '--type', 'f32', '--out', gguf])).code).toBe(0);
    for (const path of [model, gguf]) {
      const options = ['--tokens', '5,17', '--max-tokens', '24', '--greedy', '--ignore-eos', '--json'];
      const { code, stdout } = await runCommand(['generate', '--model', path, ...options]);
      expect(code).toBe(0);
      expect(JSON.parse(stdout.trimEnd().split('\n').at(-1)!).tokens).toEqual(greedy);
    }
  });
});
