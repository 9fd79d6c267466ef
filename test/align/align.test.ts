import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { align, Dump, diffDumps, readNameMap } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { judge, makeModels, newFolder, recordTiny } from './tiny-models.js';

const FAMILIES = ['llama', 'qwen3moe', 'mamba2'];

describeWith('a C++ compiler or libllama', hasLibllama, 'align', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let tokens: number[];
  beforeAll(async () => {
    const jobs = FAMILIES.map((family) => ({
      family,
      folder: at(family),
      dumps: { reference: {} },
      ggufs: { model: {}, q8_0: { type: 'Q8_0' } },
    }));
    tokens = makeModels(jobs);
    for (const family of FAMILIES)
      for (const model of ['model', 'q8_0'])
        await recordTiny(at(family, `${model}.gguf`), tokens, at(family, `recording-${model}`));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(FAMILIES)(
    'pairs every module output of %s that the graph has, and none wrongly',
    async (family) => {
      const folders = { reference: at(family, 'reference'), recording: at(family, 'recording-model') };
      const result = await align(folders.reference, folders.recording);
      const { wrong, missed, right } = await judge(family, result, folders);
      expect({ wrong, missed }).toEqual({ wrong: [], missed: [] });
      expect(right).toBeGreaterThan(20);
      expect(result.pairs.every(({ by, error }) => by === 'elements' && error < 1e-10)).toBe(true);
    },
  );

  it.each(FAMILIES)('pairs none of %s in Q8_0 wrongly', async (family) => {
    const folders = { reference: at(family, 'reference'), recording: at(family, 'recording-q8_0') };
    const { wrong, right, known } = await judge(
      family,
      await align(folders.reference, folders.recording),
      folders,
    );
    expect(wrong).toEqual([]);
    expect(right).toBeGreaterThan(0.9 * known);
  });

  it('writes a map of version 2 that diff takes, with one rule for all blocks and its evidence', async () => {
    const [reference, recording, file] = [
      at('llama', 'reference'),
      at('llama', 'recording-model'),
      at('map.json'),
    ];
    const { code, stdout } = await runCommand(['align', reference, recording, '--out', file]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^44 paired {2}44 by their elements \(error up to [\d.]+e-1[23]\); 18 rules$/m);
    expect(stdout).toMatch(/^model\.layers\.0\.mlp\.act_fn /m);
    const written = JSON.parse(readFileSync(file, 'utf8'));
    expect(written.version).toBe(2);
    expect(written.rules).toContainEqual({
      from: 'Qcur-{l}',
      tap: 'model.layers.{l}.self_attn.q_proj',
      layout: [
        { op: 'split', axis: -1, parts: 4 },
        { op: 'deinterleave', axis: -1, parts: 2 },
      ],
      evidence: { by: 'elements', values: 3, error: expect.any(Number), next: expect.anything() },
    });
    await using a = await Dump.open(reference);
    await using b = await Dump.open(recording);
    const report = await diffDumps(a, b, { map: await readNameMap(file), failAbove: 1e-10 });
    expect(report).toMatchObject({ pass: true, unpaired: [] });
    expect(report.tapReports).toHaveLength(44);
  });

  it('compares in one go', async () => {
    const args = ['diff', at('qwen3moe', 'reference'), at('qwen3moe', 'recording-model'), '--align'];
    const { code, stdout, stderr } = await runCommand([...args, '--fail-above', '1e-10']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/aligned: 53 of \d+ values of the reference have a partner/);
    expect(stdout).toMatch(/^PASS {2}.*53 taps compared/m);
    expect((await runCommand([...args, '--map', 'zaya'])).code).toBe(2);
  });

  it('refuses runs of other tokens', async () => {
    const other = await recordTiny(at('llama', 'model.gguf'), [...tokens].reverse(), at('other'));
    await expect(align(at('llama', 'reference'), other)).rejects.toMatchObject({ code: 'UNPAIRED' });
  });
});
