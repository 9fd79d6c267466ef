import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Dump } from '../../src/index.js';
import { runCommand } from './run-command.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-prompts-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('several prompts are sequences of one run, each tokenized by itself', async () => {
  const texts = ['The cat', 'A dog sat'];
  const capture = async (name: string, prompts: readonly string[]) => {
    const out = join(folder, name);
    const args = prompts.flatMap((text) => ['--prompt', text]);
    const model = ['--model', 'dumps/tiny/model', '--taps', 'lm_head', '--out', out];
    const { code, stderr } = await runCommand(['capture', ...args, ...model]);
    expect([code, stderr.match(/tokens/g)?.length]).toEqual([0, prompts.length]);
    await using dump = await Dump.open(out);
    return dump.manifest.sequences.map(({ tokens }) => tokens);
  };
  const alone = [await capture('first', [texts[0]!]), await capture('second', [texts[1]!])];
  expect(await capture('both', texts)).toEqual(alone.flat());
  expect(alone[0]).not.toEqual(alone[1]);
  for (const command of ['record', 'capture'])
    expect((await runCommand([command, '--help'])).stdout).toMatch(/several are\s+sequences of their own/);
});
