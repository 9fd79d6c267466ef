import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { runCommand } from '../cli/run-command.js';
import { runChecks } from './run-checks.js';

describe('zayascope.capture on language models of transformers', () => {
  const place = runChecks('language_model_checks.py');

  it.each([
    ['llama', 'llama'],
    ['qwen3_moe_inside', 'qwen3_moe'],
    ['gemma3', 'gemma3'],
    ['mamba2', 'mamba2'],
  ])('gives dumps that the TypeScript side reads: %s', async (folder, name) => {
    const path = join(place.folder, folder, name);
    await using dump = await Dump.open(path);
    expect(dump.manifest.roles).toMatchObject({ logits: ['return.logits'] });
    const { code, stdout } = await runCommand(['diff', path, path, '--fail-above', '0']);
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/^logits: 15 tokens/m);
  });
});
