/**
 * A model whose weights have more blocks than its configuration counts is not run as a smaller one silently.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-blocks-'));
const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const [cut, gguf] = [join(scratch, 'cut'), join(scratch, 'cut.gguf')];
const out = join(scratch, 'out');
const tokens = ['--tokens', '1,2,3'];

beforeAll(async () => {
  cpSync(model, cut, { recursive: true });
  const config = JSON.parse(readFileSync(join(cut, 'config.json'), 'utf8'));
  const layer_types = config.layer_types.slice(0, 6);
  writeFileSync(join(cut, 'config.json'), JSON.stringify({ ...config, num_hidden_layers: 6, layer_types }));
  expect((await runCommand(['convert', model, '--type', 'f16', '--out', gguf])).code).toBe(0);
  const bytes = readFileSync(gguf);
  const key = bytes.indexOf('zaya.block_count') + 'zaya.block_count'.length;
  const [type, count] = [bytes.readUInt32LE(key), bytes.readUInt32LE(key + 4)];
  expect(type).toBe(4);
  bytes.writeUInt32LE((count * 6) / 8, key + 4);
  writeFileSync(gguf, bytes);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const COMMANDS: readonly [string, (path: string) => string[]][] = [
  [
    'capture',
    (path) => ['capture', '--model', path, ...tokens, '--taps', 'norm', '--overwrite', '--out', out],
  ],
  ['generate', (path) => ['generate', '--model', path, ...tokens, '--max-tokens', '1']],
  ['convert', (path) => ['convert', path, '--type', 'f16', '--overwrite', '--out', join(scratch, 'c.gguf')]],
  ['diff-weights', (path) => ['diff-weights', path, path]],
];

describe('more blocks than are counted', () => {
  it.each(COMMANDS)(
    'are said of a folder by %s, which leaves them out as transformers does',
    async (_, args) => {
      const { code, stderr } = await runCommand(args(cut));
      expect(stderr).toMatch(
        /^zayascope: .*cut has weights of 2 blocks more than the 6 of num_hidden_layers \(first model\.layers\.6\..*\): they are left out$/m,
      );
      expect(code).toBe(0);
      expect((await runCommand(args(model))).stderr).not.toContain('left out');
    },
  );

  it.each([...COMMANDS, ['inspect', (path: string) => ['inspect', path]] as const])(
    'are refused in a GGUF file by %s, as llama.cpp does',
    async (_, args) => {
      const { code, stderr } = await runCommand(args(gguf));
      expect(stderr).toMatch(
        /BAD_CHECKPOINT: .*expected tensors of \d+ blocks, as zaya\.block_count says, got blk\.\d+\.\S+ \(of \d+ blocks more/,
      );
      expect(code).toBe(2);
    },
  );
});
