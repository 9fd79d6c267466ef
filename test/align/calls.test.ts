import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { align, Dump, diffDumps, recordGguf } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { recordWrong } from './numeric-faults.js';
import { makeModels, newFolder } from './tiny-models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'align of several calls and sequences', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  beforeAll(async () => {
    const dumps = { decoded: { decode: 2 }, two: { sequences: 2 } };
    const tokens = makeModels([{ family: 'llama', folder, dumps, ggufs: { model: {} } }]);
    const run = { model: at('model.gguf'), threads: 1, keyType: 'F32', valueType: 'F32' } as const;
    await recordGguf({ ...run, tokens, generate: 2, out: at('decoded-recording') });
    await recordGguf({ ...run, tokens, others: [[...tokens].reverse()], out: at('two-recording') });
    const planted = { plain: at('decoded-recording'), tap: 'ffn_norm-1', wrong: 'scaled', step: 2 } as const;
    await recordWrong(at('model.gguf'), tokens, { ...planted, out: at('wrong-recording') });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const compare = async (reference: string, tested: string) => {
    const { map, pairs, calls } = await align(at(reference), at(tested));
    await using a = await Dump.open(at(reference));
    await using b = await Dump.open(at(tested));
    return { pairs, calls, report: await diffDumps(a, b, { map, failAbove: 1e-9 }) };
  };

  it('holds in decode steps, whose tokens are compared too', async () => {
    const { calls, pairs, report } = await compare('decoded', 'decoded-recording');
    expect(pairs).toHaveLength(44);
    expect(calls.map(({ step, sequence, tokens }) => [step, sequence, tokens])).toEqual([
      [1, 0, 1],
      [2, 0, 1],
    ]);
    for (const { compared, error, differing } of calls) {
      expect(compared).toBe(44);
      expect(error).toBeLessThan(1e-10);
      expect(differing).toEqual([]);
    }
    expect(report).toMatchObject({ pass: true, unpaired: [] });
    expect(report.logits!.tokens).toHaveLength(25);
  });

  it('leaves out what lies in other cells of the cache for another sequence, and says so', async () => {
    const { calls, pairs, report } = await compare('two', 'two-recording');
    expect(calls).toMatchObject([{ step: 0, sequence: 1, tokens: 23, compared: 41, differing: [] }]);
    expect(pairs).toHaveLength(41);
    expect(report).toMatchObject({ pass: true, unpaired: [] });
    const { stdout } = await runCommand(['align', at('two'), at('two-recording')]);
    expect(stdout).toMatch(
      /^model\.layers\.1\.self_attn\.1 +kq_soft_max-1 \S+; lies otherwise in step 0, sequence 1$/m,
    );
  });

  it('counts the calls that have no partner', async () => {
    const { calls, otherCalls } = await align(at('decoded'), at('two-recording'));
    expect(calls).toEqual([]);
    // Two decode steps of the one, a second sequence of the other.
    expect(otherCalls).toBe(3);
  });

  it('names a fault that only a decode step has', async () => {
    const { calls, pairs } = await align(at('decoded'), at('wrong-recording'));
    expect(pairs).toHaveLength(44);
    expect(calls[0]!.differing).toEqual([]);
    expect(calls[1]).toMatchObject({ step: 2, differing: expect.arrayContaining([expect.anything()]) });
    const args = ['locate', at('decoded'), at('wrong-recording'), '--align', '--model', at('model.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAULT {2}the first call agrees, a later one does not$/m);
    expect(stdout).toMatch(
      /^step 2, sequence 0: \d+ values differ, first ffn_norm-1 \(model\.layers\.1\.post_attention_layernorm\)/m,
    );
    expect(stdout).toMatch(/^numeric: ffn_norm-1 \(MUL\), block 1/m);
  });
});
