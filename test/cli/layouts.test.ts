/** Commands take a model in every layout. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { readZayaConfig } from '../../src/models/zaya/config.js';
import { writeBlocksGguf } from '../models/blocks-gguf.js';
import { WIDE_CONFIG, writeLegacyModel, writeRandomModel } from '../models/random-model.js';
import { runCommand } from './run-command.js';

const root = join(import.meta.dirname, '..', '..');
const TOKENS = '5,17,9,60,33,2,101';
const paths: Record<string, string> = {};

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-layouts-'));
  const at = (name: string) => join(folder, name);
  paths.transformers = await writeRandomModel(at('model'), WIDE_CONFIG, { skipBias: 0 });
  paths.legacy = await writeLegacyModel(paths.transformers, at('legacy'), await readZayaConfig(at('model')));
  for (const type of ['bf16', 'q4_k_m']) {
    paths[type] = at(`${type}.gguf`);
    const { code } = await runCommand(['convert', at('model'), '--type', type, '--out', paths[type]]);
    expect(code).toBe(0);
  }
  paths.blocks = await writeBlocksGguf(paths.transformers, at('blocks.gguf'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('zayascope inspect', () => {
  it.each([
    ['transformers', 'model (zaya, transformers layout)', /^dtypes +BF16 .*, F32 \d+ bytes in 4 tensors$/m],
    ['legacy', 'legacy (zaya, legacy layout)', /^dtypes +BF16 /m],
    ['bf16', 'bf16.gguf (zaya, GGUF, half-layers dialect)', /^dtypes +BF16 .*, F32 .* in \d+ tensors$/m],
    ['q4_k_m', 'q4_k_m.gguf (zaya, GGUF, half-layers dialect)', /^dtypes +.*Q4_K .*Q6_K /m],
    ['blocks', 'blocks.gguf (zaya, GGUF, blocks dialect)', /^dtypes +BF16 /m],
  ])('says layout and types of %s', async (layout, model, dtypes) => {
    const { code, stdout, stderr } = await runCommand(['inspect', paths[layout]!]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`model       ${model}\n`);
    expect(stdout).toMatch(dtypes);
    expect(stdout).toMatch(/^blocks +4, hidden 256, vocabulary 199$/m);
    expect(stdout).toMatch(/^tensors +(\d+) of \1 that the config requires$/m);
    expect(stdout).toMatch(/^skip class +within reach of the router in 4 of 4 blocks$/m);
  });

  it('gives the legacy layout the identity of the transformers layout', async () => {
    const json = async (path: string) => JSON.parse((await runCommand(['inspect', path, '--json'])).stdout);
    const native = await json(paths.transformers!);
    const legacy = await json(paths.legacy!);
    expect(legacy.weightsSha256).toBe(native.weightsSha256);
    expect(legacy).toMatchObject({ layout: 'legacy', parameters: native.parameters, missing: [], unfit: [] });
    const total = (files: { sizeBytes: number }[]) =>
      files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(total(legacy.files)).toBe(total(native.files));
  });

  it('names the blocks whose router can choose the skip class', async () => {
    const out = await writeRandomModel(join(folder, 'mixed'), WIDE_CONFIG, {
      edit(name, values) {
        const block = Number(/layers\.(\d+)/.exec(name)?.[1]);
        // Reachable only if 1 + bias > the largest bias of an expert: -1.5 is out of reach of experts near 0.
        if (name.endsWith('.balancing_biases')) values[values.length - 1] = block % 2 === 0 ? -1.5 : -0.5;
      },
    });
    const { stdout } = await runCommand(['inspect', out]);
    expect(stdout).toMatch(/^skip class +within reach of the router in 2 of 4 blocks: 1, 3$/m);
    const json = JSON.parse((await runCommand(['inspect', out, '--json'])).stdout);
    expect(json.skipReachable).toEqual([false, true, false, true]);
    const none = await writeRandomModel(join(folder, 'none'), WIDE_CONFIG, { skipBias: -1.5 });
    expect((await runCommand(['inspect', none])).stdout).toMatch(
      /^skip class +out of reach of the router in all 4 blocks$/m,
    );
  });

  it('exits with 2 for other files, empty folders and GGUF files that are none', async () => {
    const other = join(folder, 'other.txt');
    const fake = join(folder, 'fake.gguf');
    for (const file of [other, fake]) writeFileSync(file, 'text');
    expect((await runCommand(['inspect', other])).stderr).toMatch(
      /^zayascope: IO: openModelSource: expected a model folder or a GGUF file, got text/,
    );
    expect((await runCommand(['inspect', fake])).stderr).toMatch(/^zayascope: IO: .*got text .*fake\.gguf/);
    expect((await runCommand(['inspect', fake])).code).toBe(2);
  });

  // It loads its libraries at run time, so the walk of the imports cannot see this.
  it('needs no addon for folders, dumps and GGUF files', () => {
    const blocked = 'data:text/javascript,process.dlopen=()=>{throw new Error("blocked")}';
    const main = join(root, 'dist', 'cli', 'main.js');
    const run = (path: string) =>
      execFileSync(process.execPath, ['--import', blocked, main, 'inspect', path], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
    expect(run(paths.legacy!)).toContain('legacy layout');
    expect(run(join(root, 'dumps', 'tiny', 'reference-float32'))).toContain('complete, tier full');
    expect(run(paths.bf16!)).toContain('GGUF');
  });
});

describe.each(['legacy', 'bf16', 'q4_k_m', 'blocks'])('a model stored as %s', (layout) => {
  it('is captured, with the bits of the transformers layout where the values are the same', async () => {
    const run = async (model: string, out: string) => {
      const args = [
        'capture',
        '--model',
        model,
        '--tokens',
        TOKENS,
        '--out',
        join(folder, out),
        '--overwrite',
      ];
      const { code, stderr } = await runCommand(args);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return Dump.open(join(folder, out));
    };
    await using native = await run(paths.transformers!, 'native');
    await using other = await run(paths[layout]!, 'other');
    expect(other.manifest.model.layout).toMatch(layout === 'legacy' ? /^legacy$/ : /^gguf /);
    const mine = (await native.read('lm_head')).data;
    const theirs = (await other.read('lm_head')).data;
    if (layout === 'q4_k_m') expect(theirs).not.toEqual(mine);
    else expect(theirs).toEqual(mine);
  });

  it('generates and is evaluated', async () => {
    const args = ['--model', paths[layout]!, '--tokens', TOKENS];
    const generated = await runCommand(['generate', ...args, '--max-tokens', '3', '--ignore-eos', '--json']);
    expect(JSON.parse(generated.stdout).tokens).toHaveLength(3);
    const evaluated = await runCommand(['evaluate', ...args, '--json']);
    expect(JSON.parse(evaluated.stdout)).toMatchObject({ scored: 6 });
  });
});
