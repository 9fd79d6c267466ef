import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listPresets } from '../../src/graph/policy.js';
import { QWEN3_CONFIG, QWEN3_MOE_CONFIG, writeRandomModel } from '../models/random-model.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

/** What a Qwen3 has not, and this program's own name aside, nothing may speak of. */
const ZAYA = /\bzaya\b|conv|im2col|GELU|skip class|half-layer|balancing/i;

/** Runs a command that must end with one of some exit codes, and returns what it printed. */
async function run(args: readonly string[], codes: readonly number[] = [0]): Promise<string> {
  const { code, stdout, stderr } = await runCommand(args);
  expect([args.join(' '), codes.includes(code) ? codes : code, stderr]).toEqual([
    args.join(' '),
    codes,
    stderr,
  ]);
  expect((stdout + stderr).replaceAll('zayascope', '')).not.toMatch(ZAYA);
  return stdout;
}

describe.each([
  ['dense', QWEN3_CONFIG],
  ['with experts', QWEN3_MOE_CONFIG],
])('every command on a Qwen3, %s', (_, json) => {
  const tokens = ['--tokens', '1,5,9,33,2,8'];
  const presets = listPresets().flatMap(({ name, models }) =>
    models.includes(json.model_type) ? [name] : [],
  );
  let folder: string;
  let model: string;
  const at = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zayascope-qwen3-'));
    model = await writeRandomModel(at('model'), json, { dtype: 'F32' });
    for (const policy of presets)
      await run(['capture', '--model', model, ...tokens, '--policy', policy, '--out', at(policy)]);
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('captures under every preset, which all differ', async () => {
    for (const policy of presets.filter((name) => !/^f32$|^bf16-weights$/.test(name)))
      expect(await run(['diff', at('f32'), at(policy), '--fail-above', '1e-13'], [1])).toContain('FAIL');
    expect(await run(['diff', at('f32'), at('f32'), '--fail-above', '0'])).toContain('PASS');
  });

  it('reads, compares and reports', async () => {
    await run(['inspect', model]);
    await run(['inspect', at('f32')]);
    await run(['verify-logits', at('f32'), at('llamacpp')]);
    await run(['report', at('f32'), at('llamacpp'), '--out', at('report.html'), '--model', model]);
    await run(['export', at('f32'), '--out', at('arrays')]);
    const importing = ['import', at('arrays'), '--config', join(model, 'config.json'), ...tokens];
    await run([...importing, '--out', at('imported')]);
    expect(await run(['diff', at('f32'), at('imported'), '--fail-above', '0'])).toContain('PASS');
  });

  // Each preset is opened in test/models/presets.test.ts.
  it.each(['pytorch-bf16', 'llamacpp', 'llamacpp-q8_0'])(
    'takes policy %s wherever one is taken',
    async (policy) => {
      const own = at(`own-${policy}.json`);
      await writeFile(
        own,
        JSON.stringify({ name: 'own', extends: policy, rules: [{ sites: 'norm#round', set: 'F16' }] }),
      );
      const pair = ['--good', 'f32', '--bad', own];
      await run(['policy', 'show', policy, '--model', model]);
      await run(['generate', '--model', model, ...tokens, '--max-tokens', '2', '--policy', policy]);
      await run(['evaluate', '--model', model, ...tokens, '--against-policy', own]);
      await run(['step', '--model', model, ...tokens, '--break', 'norm', '--policy', own]);
      await run(['doctor', '--model', model, '--policy', own]);
      await run(['policy', 'diff', 'f32', own, '--model', model], [1]);
      await run(['locate', at('f32'), '--model', model, '--policy', own], [0, 1]);
      await run(['bisect', '--model', model, ...tokens, ...pair]);
      const op = ['--op', 'layers.1.self_attn.o_proj', '--policy', own, '--out', at(`repro-${policy}`)];
      await run(['repro', at('f32'), '--model', model, ...op]);
      await run(['repro', 'run', at(`repro-${policy}`)]);
    },
  );

  it('attributes, locates and converts', async () => {
    await run(['attribute', '--model', model, ...tokens, '--good', 'f32', '--bad', 'pytorch-bf16']);
    await run(['locate', at('f32'), at('pytorch-f16'), '--model', model], [0, 1]);
    await run(['convert', model, '--type', 'f16', '--out', at('f16.gguf')]);
    await run(['diff-weights', model, at('f16.gguf')]);
    await run(['inspect', at('f16.gguf')]);
    await run(['evaluate', '--model', model, ...tokens, '--against', at('f16.gguf')]);
    await run(['capture', '--model', at('f16.gguf'), ...tokens, '--out', at('of-gguf')]);
    await run(['locate', at('f32'), at('of-gguf'), '--model', at('f16.gguf')]);
  });

  it("refuses what is ZAYA's by name, and what its writer mistyped", async () => {
    const capture = ['capture', '--model', model, ...tokens, '--out', at('none'), '--policy'];
    const other = await runCommand([...capture, 'llamacpp-f32-im2col']);
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/expected a preset for qwen3 and qwen3_moe: .*, got llamacpp-f32-im2col$/m);
    const own = at('wrong.json');
    const rules = [{ sites: '**.mlp.gaet#round', set: 'BF16' }];
    await writeFile(own, JSON.stringify({ name: 'typo', extends: 'pytorch-bf16', rules }));
    const wrong = await runCommand([...capture, own]);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('**.mlp.gaet#round in rule 0') });
  });
});

it('a Qwen3-MoE whose weights of experts are not divided is refused as what it is', async () => {
  const folder = await temporaryFolder();
  const json = { ...QWEN3_MOE_CONFIG, norm_topk_prob: false };
  const model = await writeRandomModel(join(folder, 'model'), json);
  const { code, stderr } = await runCommand([
    'convert',
    model,
    '--type',
    'f32',
    '--out',
    join(folder, 'x.gguf'),
  ]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/expected norm_topk_prob true, .*, got false \(/);
});
