import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { runCommand } from './run-command.js';

const root = join(import.meta.dirname, '..', '..');
const model = join(root, 'dumps', 'tiny', 'model');
const prompt = join(root, 'dumps', 'tiny', 'prompt.json');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-capture-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const capture = (out: string, ...args: string[]) =>
  runCommand(['capture', '--model', model, '--out', join(folder, out), ...args]);

describe('zayascope capture', () => {
  it('writes a complete dump of the tokens of a file and says so', async () => {
    const { code, stdout, stderr } = await capture('file', '--tokens-file', prompt);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^dump +.*file: complete, tier full$/m);
    expect(stdout).toMatch(/^tokens +56, positions all$/m);
    await using dump = await Dump.open(join(folder, 'file'));
    expect(dump.manifest.status).toBe('complete');
    expect(dump.taps.length).toBe(372);
  });

  it('obeys taps, positions, tier, policy and threads, and prints JSON', async () => {
    const options = ['--taps', 'layers.{0..1},lm_head', '--positions', 'last', '--tier', 'stats'];
    const run = ['--policy', 'bf16-weights', '--threads', '1', '--json'];
    const { code, stdout } = await capture('chosen', '--tokens', '5,17,9', ...options, ...run);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      status: 'complete',
      tier: 'stats',
      policy: 'bf16-weights',
      threads: 1,
      taps: 3,
      blocks: 2,
      tokens: 3,
      positions: 'last',
    });
    await using dump = await Dump.open(join(folder, 'chosen'));
    const { position, tap } = await dump.stats();
    expect([...position]).toEqual([2, 2, 2]);
    expect([...tap].sort()).toEqual(['layers.0', 'layers.1', 'lm_head']);
  });

  it('says that bf16-weights rounds nothing of a file whose matrices are F32', async () => {
    const file = join(folder, 'f32.gguf');
    expect(await runCommand(['convert', model, '--type', 'f32', '--out', file])).toMatchObject({ code: 0 });
    const run = (policy: string) => {
      const args = ['--tokens', '5,17,9', '--taps', 'lm_head', '--policy', policy, '--json'];
      return runCommand(['capture', '--model', file, '--out', join(folder, `f32-${policy}`), ...args]);
    };
    const [stored, plain] = [await run('bf16-weights'), await run('f32')];
    expect(stored.stderr).toContain('policy bf16-weights computes as f32 here');
    expect(plain.stderr).toBe('');
    expect(JSON.parse(stored.stdout).topTokens).toEqual(JSON.parse(plain.stdout).topTokens);
  });

  it('names the most likely next token, as PyTorch computed it', async () => {
    const { stdout } = await capture('next', '--tokens-file', prompt, '--taps', 'norm', '--json');
    await using reference = await Dump.open(join(root, 'dumps', 'tiny', 'reference-float32'));
    const { data, shape } = await reference.read('lm_head');
    const last = data.subarray(data.length - shape[1]!);
    const id = last.indexOf(Math.max(...last));
    expect(JSON.parse(stdout).topTokens).toEqual([{ id, logit: expect.closeTo(last[id]!, 4) }]);
  });

  it('refuses a folder that holds a dump, unless told to overwrite it', async () => {
    expect((await capture('twice', '--tokens', '1', '--taps', 'norm')).code).toBe(0);
    const { code, stderr } = await capture('twice', '--tokens', '1,2', '--taps', 'norm');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^zayascope: IO: .*expected an empty folder/);
    expect((await capture('twice', '--tokens', '1,2', '--taps', 'norm', '--overwrite')).code).toBe(0);
  });

  it.each([
    ['no tokens', [], 'BAD_ARGUMENT', '--tokens-file or --prompt'],
    ['a token that is no number', ['--tokens', '5,x'], 'BAD_ARGUMENT', '"x" at position 1'],
    ['a token outside the vocabulary', ['--tokens', '5,259'], 'BAD_ARGUMENT', '259 at position 1'],
    ['an unknown policy', ['--tokens', '5', '--policy', 'f64'], 'BAD_ARGUMENT', 'f32, bf16-weights'],
    ['an unknown backend', ['--tokens', '5', '--backend', 'abacus'], 'BACKEND', 'abacus'],
    ['a pattern without a match', ['--tokens', '5', '--taps', 'layer.0'], 'BAD_ARGUMENT', 'layer.0'],
    ['an unbalanced pattern', ['--tokens', '5', '--taps', 'layers.{0'], 'BAD_ARGUMENT', 'balanced braces'],
    ['positions outside the prompt', ['--tokens', '5', '--positions', '3:4'], 'BAD_ARGUMENT', '3:4'],
  ])('exits with 2 for %s', async (_what, args, errorCode, culprit) => {
    const { code, stdout, stderr } = await capture('wrong', ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^zayascope: ${errorCode}: [^\n]*\n$`));
    expect(stderr).toContain(culprit);
  });

  it('exits with 2 for a model folder without a model and for an unwritable folder', async () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const noModel = await runCommand([
      'capture',
      '--model',
      empty,
      '--out',
      join(folder, 'x'),
      '--tokens',
      '1',
    ]);
    expect(noModel.stderr).toMatch(/^zayascope: IO: .*config\.json/);
    writeFileSync(join(folder, 'a-file'), '');
    const unwritable = await capture('a-file/dump', '--tokens', '1');
    expect([noModel.code, unwritable.code]).toEqual([2, 2]);
    expect(unwritable.stderr).toMatch(/^zayascope: IO: /);
  });

  it('draws its progress on a terminal only, and erases it', async () => {
    const args = ['capture', '--model', model, '--tokens', '1,2', '--out', join(folder, 'bar')];
    const { stderr, stdout } = await runCommand(args, { isInteractive: true });
    expect(stderr).toContain('segments');
    expect(stderr.endsWith('\r\x1b[K')).toBe(true);
    expect(stdout).not.toContain('\x1b');
  });
});

describe('Ctrl-C during zayascope capture', () => {
  it('leaves a partial dump and exits with 130', async () => {
    const out = join(folder, 'cancelled');
    // Long enough that the signal comes while blocks are computed: attention grows with the square of the
    // tokens.
    const tokens = Array.from({ length: 2000 }, (_, at) => at % 250).join(',');
    const main = join(root, 'dist', 'cli', 'main.js');
    const args = [main, 'capture', '--model', model, '--tokens', tokens, '--tier', 'stats', '--out', out];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const poll = setInterval(() => {
      if (!existsSync(join(out, 'stats.arrow'))) return;
      clearInterval(poll);
      child.kill('SIGINT');
    }, 5);
    const code = await new Promise((resolve) => child.on('close', resolve));
    clearInterval(poll);
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('CANCELLED') });
    await using dump = await Dump.open(out);
    expect(dump.manifest.status).toBe('partial');
    expect((await runCommand(['inspect', out])).stdout).toMatch(/: partial, tier stats/);
  });
});
