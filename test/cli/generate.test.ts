import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');

const generate = (...args: string[]) => runCommand(['generate', '--model', model, ...args]);

/** The one line of JSON that a run ends with. */
async function json(...args: string[]) {
  const { code, stdout } = await generate(...args, '--json');
  expect(code).toBe(0);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
}

describe('zayascope generate', () => {
  it('ends with one line of JSON', async () => {
    const { code, stdout } = await generate(
      '--tokens',
      '5,17',
      '--max-tokens',
      '8',
      '--greedy',
      '--ignore-eos',
      '--json',
    );
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ prompt: [5, 17], finish: 'length', sampling: { greedy: true } });
    expect(result.tokens).toHaveLength(8);
  });

  it('streams the same text that the tokens decode to', async () => {
    const args = ['--prompt', '[Monday 04:', '--max-tokens', '20'];
    const { code, stdout, stderr } = await generate(...args);
    const { tokens, text, finish, prompt } = await json(...args);
    expect(code).toBe(0);
    expect(finish).toBe('length');
    expect(stdout).toBe(`${text}\n`);
    expect((await openTokenizer(model)).decode(tokens)).toBe(text);
    expect(prompt).toEqual([257, ...Buffer.from('[Monday 04:')]);
    expect(stderr).toMatch(/^zayascope: 12 tokens, of which the tokenizer added 257 before: 257,91,77,/);
    expect(stderr).toMatch(/^zayascope: 20 tokens; prompt of 12 in .* a second\)/m);
  });

  it('goes on from a prompt as from the same prompt with a part of the answer', async () => {
    const { tokens, prompt } = await json('--prompt', '[Monday', '--max-tokens', '12');
    const longer = [...prompt, ...tokens.slice(0, 5)].join(',');
    expect((await json('--tokens', longer, '--max-tokens', '7')).tokens).toEqual(tokens.slice(5));
  });

  it('stops at the end of sequence unless told to go on, and does not print it', async () => {
    const folder = join(await temporaryFolder(), 'model');
    cpSync(model, folder, { recursive: true });
    const { tokens, prompt, text } = await json('--prompt', '[Monday', '--max-tokens', '9');
    // The third token that differs from the ones before it becomes the end of sequence.
    const end = tokens.findIndex(
      (token: number, at: number) => at >= 3 && !tokens.slice(0, at).includes(token),
    );
    writeFileSync(
      join(folder, 'generation_config.json'),
      JSON.stringify({ eos_token_id: [258, tokens[end]] }),
    );
    const args = ['generate', '--model', folder, '--tokens', prompt.join(','), '--max-tokens', '9'];
    const stopped = await runCommand(args);
    expect(stopped.stdout).toBe(`${text.slice(0, end)}\n`);
    expect(stopped.stderr).toContain(`then the end token ${tokens[end]}`);
    const result = JSON.parse((await runCommand([...args, '--json'])).stdout);
    expect(result).toMatchObject({ finish: 'stop', tokens: tokens.slice(0, end + 1) });
    const on = JSON.parse((await runCommand([...args, '--json', '--ignore-eos'])).stdout);
    expect(on.tokens).toEqual(tokens);
  });

  it('draws by a seed, which repeats a run and is printed', async () => {
    const args = ['--tokens', '257', '--max-tokens', '24', '--temperature', '2', '--ignore-eos'];
    const first = await json(...args, '--seed', '7');
    expect(first.sampling).toEqual({ temperature: 2, seed: 7 });
    expect((await json(...args, '--seed', '7')).tokens).toEqual(first.tokens);
    expect((await json(...args, '--seed', '8')).tokens).not.toEqual(first.tokens);
    const random = await json(...args);
    expect((await json(...args, '--seed', String(random.sampling.seed))).tokens).toEqual(random.tokens);
    const most = await json('--tokens', '257', '--max-tokens', '24', '--top-k', '1', '--ignore-eos');
    expect(most.tokens).toEqual((await json('--tokens', '257', '--max-tokens', '24', '--ignore-eos')).tokens);
  });

  it('captures every step', async () => {
    const out = join(await temporaryFolder(), 'dump');
    const result = await json(
      '--tokens',
      '257,91,77',
      '--max-tokens',
      '4',
      '--ignore-eos',
      '--capture',
      out,
      '--taps',
      'norm,lm_head',
    );
    await using dump = await Dump.open(out);
    const { tokens } = result as { tokens: number[] };
    expect(dump.manifest).toMatchObject({ status: 'complete', steps: 4 });
    expect(dump.manifest.sequences).toEqual([{ tokens: [257, 91, 77, ...tokens.slice(0, 3)] }]);
    const { data, shape, position } = await dump.read('lm_head');
    expect([...position]).toEqual([0, 1, 2, 3, 4, 5]);
    const [rows, width] = shape as [number, number];
    const best = Array.from({ length: rows }, (_, row) => {
      const logits = data.subarray(row * width, (row + 1) * width);
      return logits.indexOf(Math.max(...logits));
    });
    expect(best.slice(2)).toEqual(tokens);
    expect((await generate('--tokens', '5', '--capture', out)).code).toBe(2);
  });

  it('prints ids for want of a tokenizer', async () => {
    const folder = join(await temporaryFolder(), 'model');
    cpSync(model, folder, { recursive: true });
    rmSync(join(folder, 'tokenizer.json'));
    const args = ['generate', '--model', folder, '--tokens', '257,91', '--max-tokens', '3', '--ignore-eos'];
    const { code, stdout, stderr } = await runCommand(args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+ \d+ \d+ \n$/);
    expect(stderr).toContain('for want of a tokenizer');
    expect((await runCommand([...args.slice(0, 3), '--prompt', 'hi'])).code).toBe(2);
  });

  it.each<[string, string[], string]>([
    ['no prompt', [], '--tokens, --tokens-file or --prompt'],
    ['a chat without text', ['--tokens', '5', '--chat'], '--chat with --prompt'],
    ['a chat without a template', ['--prompt', 'hi', '--chat'], 'a chat template'],
    [
      'special tokens around a chat',
      ['--prompt', 'hi', '--chat', '--special', 'bos'],
      '--special with plain text',
    ],
    ['a token outside the vocabulary', ['--tokens', '259'], '259'],
    ['more tokens than the model has positions', ['--tokens', '5', '--max-tokens', '4096'], '4096 positions'],
    ['a bad pattern', ['--tokens', '5', '--taps', 'a{'], 'balanced braces'],
  ])('exits with 2 for %s', async (_what, args, culprit) => {
    const { code, stdout, stderr } = await generate(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(culprit);
  });

  it.each([
    [['--greedy', '--seed', '1']],
    [['--temperature', '0']],
    [['--top-k', '0']],
    [['--top-p', '1.5']],
    [['--seed', '-1']],
    [['--max-tokens', '0']],
    [['--tokens', '5', '--prompt', 'x']],
    [['--special', 'all']],
  ])('exits with 2 for %s', async (args) => {
    expect((await generate('--tokens', '5', ...args)).code).toBe(2);
  });
});

describe('zayascope capture --prompt', () => {
  it('runs the ids that the tokenizer makes of the text', async () => {
    const out = join(await temporaryFolder(), 'dump');
    const run = ['capture', '--model', model, '--out', out, '--taps', 'norm'];
    const { code, stderr } = await runCommand([...run, '--prompt', 'ab', '--special', 'none']);
    expect(code).toBe(0);
    expect(stderr).toBe('zayascope: 2 tokens: 97,98\n');
    await using dump = await Dump.open(out);
    expect(dump.manifest.sequences).toEqual([{ tokens: [97, 98] }]);
  });
});
