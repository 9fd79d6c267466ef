import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const prompt = join(tiny, 'prompt.json');

const evaluate = (...args: string[]) => runCommand(['evaluate', '--model', model, ...args]);

/** Perplexity of the prompt by the logits that transformers computed. */
async function expectedPerplexity(): Promise<number> {
  await using dump = await Dump.open(join(tiny, 'reference-float32'));
  const { data, shape } = await dump.read('lm_head');
  const [rows, width] = shape as [number, number];
  const { tokens } = dump.manifest.sequences[0]!;
  let nll = 0;
  for (let row = 0; row + 1 < rows; row++) {
    const logits = [...data.subarray(row * width, (row + 1) * width)];
    nll += Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[tokens![row + 1]!]!;
  }
  return Math.exp(nll / (rows - 1));
}

describe('zayascope evaluate', () => {
  it("gives the perplexity that the reference's logits give", async () => {
    const { code, stdout } = await evaluate('--tokens-file', prompt, '--json');
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ tokens: 56, windows: 1, scored: 55, against: null, tested: null });
    expect(result.reference.perplexity / (await expectedPerplexity())).toBeCloseTo(1, 5);
  });

  it('scores a text file, which begins with bos, and names the ids', async () => {
    const file = join(await temporaryFolder(), 'text.txt');
    writeFileSync(file, '[Monday 04:33] captain');
    const { code, stdout, stderr } = await evaluate('--text', file, '--context', '8', '--max-tokens', '20');
    expect(code).toBe(0);
    expect(stderr).toMatch(/^zayascope: 23 tokens, of which the tokenizer added 257 before: 257,91,77,/);
    expect(stdout).toMatch(/^text +20 tokens, 3 windows of 8, 17 scored$/m);
    expect(stdout).toMatch(/^perplexity +\d+\.\d{4} ± /m);
  });

  it('compares two policies of a model', async () => {
    const { code, stdout } = await evaluate(
      '--tokens-file',
      prompt,
      '--against-policy',
      'bf16-weights',
      '--json',
    );
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ against: model, againstPolicy: 'bf16-weights' });
    expect(result.logits.klMean).toBeGreaterThan(0);
    expect(result.logits.klMean).toBeLessThan(0.01);
    expect(result.logits.top1Agreement).toBeGreaterThan(0.9);
    expect(Math.abs(result.probabilityChange.mean)).toBeLessThan(0.01);
    const text = await evaluate('--tokens-file', prompt, '--against', model);
    expect(text.stdout).toMatch(/^KL +mean 0\.000e\+0, max 0\.000e\+0 nats$/m);
    expect(text.stdout).toMatch(/^top-1 +the same for 100\.000 % of the tokens$/m);
  });

  it.each([
    ['no text', [], 'BAD_ARGUMENT'],
    ['a missing file', ['--text', 'no/such.txt'], 'IO'],
    ['one token', ['--tokens', '5'], 'BAD_ARGUMENT'],
    ['an unknown policy', ['--tokens', '5,6', '--against-policy', 'f64'], 'BAD_ARGUMENT'],
  ])('exits with 2 for %s', async (_what, args, errorCode) => {
    const { code, stdout, stderr } = await evaluate(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^zayascope: ${errorCode}: `));
  });

  it('exits with 2 for bytes that are not UTF-8, two texts, and a window of one token', async () => {
    const file = join(await temporaryFolder(), 'text.txt');
    writeFileSync(file, Uint8Array.of(0x61, 0xff));
    expect((await evaluate('--text', file)).stderr).toContain('UTF-8');
    expect((await evaluate('--text', file, '--tokens', '5,6')).code).toBe(2);
    expect((await evaluate('--tokens', '5,6', '--context', '1')).code).toBe(2);
  });
});
