import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diffDumps } from '../../../src/diff/diff.js';
import { exportSafetensors } from '../../../src/dump/export-safetensors.js';
import type { TapInfo } from '../../../src/dump/format.js';
import { importDump } from '../../../src/dump/import/import-dump.js';
import { openForeignSource } from '../../../src/dump/import/open-source.js';
import { NAME_MAPS } from '../../../src/dump/names/file.js';
import { writeSafetensors } from '../../../src/weights/safetensors-write.js';
import { runCommand } from '../../cli/run-command.js';
import { opened } from '../../diff/two-dumps.js';
import { pythonJson } from '../../reference/python.js';
import { temporaryFolder } from '../dump-fixture.js';

const tiny = join(import.meta.dirname, '..', '..', '..', 'dumps', 'tiny');
const config = join(tiny, 'model', 'config.json');
const prompt = join(tiny, 'prompt.json');
const importer = { name: 'test', version: '1' };

/** Writes F32 (or integer) tensors. */
async function safetensors(
  tensors: Record<
    string,
    { shape: number[]; data: Float32Array | Float64Array | Int32Array | BigInt64Array }
  >,
): Promise<string> {
  const file = join(temporaryFolder(), 'values.safetensors');
  const dtypes = {
    Float32Array: 'F32',
    Float64Array: 'F64',
    Int32Array: 'I32',
    BigInt64Array: 'I64',
  } as const;
  await writeSafetensors(
    file,
    Object.entries(tensors).map(([name, { shape, data }]) => ({
      name,
      dtype: dtypes[data.constructor.name as keyof typeof dtypes],
      shape,
      chunks: (async function* () {
        yield new Uint8Array(data.buffer);
      })(),
    })),
    new Map(),
  );
  return file;
}

/** Said of every import of a known model's names without its config. */
const NO_CONFIG = expect.stringMatching(/^No config \(--config\) was given: /);

describe('zayascope import', () => {
  it.each(['reference-float32', 'reference-bfloat16'])('gives an exported %s back', async (name) => {
    const folder = temporaryFolder();
    const reference = await opened(join(tiny, name));
    const file = join(folder, 'all.safetensors');
    const out = join(folder, 'dump');
    await exportSafetensors(reference, '**', file);
    const result = await runCommand([
      'import',
      file,
      '--config',
      config,
      '--tokens-file',
      prompt,
      '--out',
      out,
    ]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const imported = await opened(out);
    const byName = (taps: readonly TapInfo[]) => new Map(taps.map((tap) => [tap.name, tap]));
    expect(byName(imported.taps)).toEqual(byName(reference.taps));
    expect(imported.manifest).toMatchObject({
      status: 'complete',
      steps: 1,
      sequences: reference.manifest.sequences,
      model: { configSha256: reference.manifest.model.configSha256, weightsSha256: 'unknown' },
    });
    const report = await diffDumps(reference, imported, { failAbove: 0 });
    expect(report.pass).toBe(true);
    const [stats, others] = [await imported.stats(), await reference.stats()];
    expect(stats.length).toBe(others.length);
    expect(stats.rms.reduce((sum, value) => sum + value, 0)).toBeCloseTo(
      others.rms.reduce((sum, value) => sum + value, 0),
      6,
    );
  });

  it('says what is not possible without token ids', async () => {
    const file = await safetensors({ norm: { shape: [1, 3, 4], data: new Float32Array(12).fill(1) } });
    const out = join(temporaryFolder(), 'dump');
    const { stdout, code } = await runCommand(['import', file, '--out', out]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^note +Token ids are not known: token_id is 0 /m);
    const dump = await opened(out);
    expect(dump.tap('norm')).toMatchObject({ scope: 'token', axes: ['T', 'axis1'], shape: [4] });
    expect([...(await dump.rows('norm')).tokenId]).toEqual([0, 0, 0]);
    expect(dump.manifest.producer.notes).toEqual([
      expect.stringContaining('Token ids are not known'),
      NO_CONFIG,
    ]);
    expect(dump.manifest.selection.taps).toBe('norm');
  });

  it('refuses names that the map does not know, all of them, or keeps them', async () => {
    const file = await safetensors({
      norm: { shape: [3, 4], data: new Float32Array(12) },
      foo: { shape: [3, 2], data: Float32Array.from([1, 2, 3, 4, 5, 6]) },
      bar: { shape: [5], data: new Float32Array(5).fill(2) },
    });
    const out = join(temporaryFolder(), 'dump');
    const args = ['import', file, '--tokens', '7,8,9', '--out', out];
    const refused = await runCommand(args);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('got 2 others: foo, bar (values.safetensors)');
    expect(existsSync(out)).toBe(false);
    expect((await runCommand([...args, '--keep-unmapped'])).code).toBe(0);
    const kept = await opened(out);
    expect(kept.taps).toMatchObject([
      { name: 'norm', scope: 'token', shape: [4] },
      { name: 'bar', scope: 'step', shape: [5] },
      { name: 'foo', scope: 'token', shape: [2] },
    ]);
    // Only `norm` has a known place.
    expect(kept.manifest.order).toBe('unknown');
    expect([...(await kept.read('foo')).data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await runCommand([...args, '--drop-unmapped'])).stderr).toContain(
      'IO: writeDump: expected an empty folder',
    );
    expect((await runCommand([...args, '--drop-unmapped', '--overwrite'])).code).toBe(0);
    expect((await opened(out)).taps.map(({ name }) => name)).toEqual(['norm']);
  });

  it.each<[string, Parameters<typeof safetensors>[0], string, string]>([
    [
      'a tap of another size',
      { norm: { shape: [3, 4], data: new Float32Array(12) } },
      'BAD_ARGUMENT',
      'expected shape [3, 128], got [3, 4]: 3 tokens of another size than the config says',
    ],
    [
      'axes in another order',
      { 'layers.0.self_attn.o_proj': { shape: [128, 3], data: new Float32Array(384) } },
      'BAD_ARGUMENT',
      'expected shape [3, 128], got [128, 3]',
    ],
    [
      'floats for integers',
      { 'layers.0.mlp.gate:expert': { shape: [3], data: new Float32Array(3) } },
      'BAD_ARGUMENT',
      'expected integers, got F32',
    ],
    [
      'a block that the model lacks',
      { 'layers.8': { shape: [3, 128], data: new Float32Array(384) } },
      'BAD_ARGUMENT',
      'layers.8',
    ],
    [
      'integers beyond 32 bits',
      { 'layers.0.mlp.gate:expert': { shape: [3], data: BigInt64Array.from([1n, 2n, 2n ** 31n]) } },
      'BAD_ARGUMENT',
      'got 2147483648',
    ],
  ])('refuses %s', async (_what, tensors, code, message) => {
    const out = join(temporaryFolder(), 'dump');
    const { stderr } = await runCommand([
      'import',
      await safetensors(tensors),
      '--config',
      config,
      '--tokens',
      '1,2,3',
      '--out',
      out,
    ]);
    expect(stderr).toMatch(new RegExp(`^zayascope: ${code}: `));
    expect(stderr).toContain(message);
  });

  it('narrows 64-bit integers and keeps 64-bit floats', async () => {
    const file = await safetensors({
      norm: { shape: [2, 1], data: Float64Array.from([0.1, 2]) },
      'layers.0.mlp.gate:expert': { shape: [2], data: BigInt64Array.from([3n, -1n]) },
    });
    const out = join(temporaryFolder(), 'dump');
    expect((await runCommand(['import', file, '--tokens', '1,2', '--out', out])).code).toBe(0);
    const dump = await opened(out);
    expect([...(await dump.read('norm')).data]).toEqual([0.1, 2]);
    expect(await dump.read('layers.0.mlp.gate:expert')).toMatchObject({
      dtype: 'I32',
      data: Int32Array.from([3, -1]),
    });
  });

  it('keeps what F32 cannot hold, and says when logits are rounded to it', async () => {
    const out = join(temporaryFolder(), 'dump');
    const file = await safetensors({ lm_head: { shape: [2, 2], data: Float64Array.from([1, 2, 1e300, 3]) } });
    const { code, stdout } = await runCommand(['import', file, '--tokens', '1,2', '--out', out]);
    expect([code, stdout]).toEqual([0, expect.not.stringContaining('NOT FINITE')]);
    expect([...(await (await opened(out)).read('lm_head')).data]).toEqual([1, 2, 1e300, 3]);
    const same = await runCommand(['diff', out, out]);
    expect([same.code, same.stdout]).toEqual([0, expect.not.stringMatching(/non-finite|infinit/i)]);
    for (const side of [file, out]) {
      const { code, stderr } = await runCommand(['verify-logits', side, side]);
      expect([code, stderr]).toEqual([
        2,
        expect.stringContaining('expected logits that F32 can hold, got 1e+300 at index 0'),
      ]);
    }
    const small = await safetensors({ lm_head: { shape: [1, 2], data: Float64Array.from([0.1, 1]) } });
    const { stdout: said } = await runCommand(['verify-logits', small, small]);
    expect(said).toContain('values.safetensors: F64 rounded to F32');
  });

  it('refuses more tokens than memory holds before it takes any', async () => {
    const rows = 2 ** 28;
    const file = join(temporaryFolder(), 'norm.npy');
    const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${rows}, 1), }`.padEnd(117);
    writeFileSync(file, Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header}\n`, 'latin1'));
    truncateSync(file, 128 + rows);
    const before = process.memoryUsage.rss();
    const out = join(temporaryFolder(), 'dump');
    const { code, stderr } = await runCommand(['import', file, '--out', out]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`expected at most 4194304 tokens`)]);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64e6);
  });

  it('refuses token ids of another number of tokens', async () => {
    const file = await safetensors({ norm: { shape: [3, 4], data: new Float32Array(12) } });
    const { stderr } = await runCommand([
      'import',
      file,
      '--tokens',
      '1,2',
      '--out',
      join(temporaryFolder(), 'd'),
    ]);
    expect(stderr).toContain('expected shape [2, ...], got [3, 4]');
  });

  it('reads the last logits that llama.cpp scripts write', async () => {
    const folder = temporaryFolder();
    const logits = Float32Array.from({ length: 259 }, (_, k) => k / 7);
    writeFileSync(join(folder, 'llamacpp-x.bin'), new Uint8Array(logits.buffer));
    writeFileSync(join(folder, 'llamacpp-x-tokens.bin'), new Uint8Array(Int32Array.from([5, 6, 7]).buffer));
    const out = join(folder, 'dump');
    const { code } = await runCommand([
      'import',
      join(folder, 'llamacpp-x.bin'),
      '--config',
      config,
      '--out',
      out,
    ]);
    expect(code).toBe(0);
    const dump = await opened(out);
    expect(await dump.read('lm_head')).toMatchObject({ shape: [1, 259], data: logits });
    expect(await dump.rows('lm_head')).toMatchObject({
      position: Int32Array.from([2]),
      tokenId: Int32Array.from([7]),
    });
    expect(dump.manifest).toMatchObject({
      selection: { taps: 'lm_head', positions: '2:' },
      sequences: [{ tokens: [5, 6, 7] }],
    });
  });
});

describe('arrays of NumPy', () => {
  const script = `
import json, sys, numpy as np
kind, out = sys.argv[1:3]
a = np.arange(24, dtype=np.float32).reshape(3, 8) / 3
arrays = {
  "norm": a,
  "model.layers.0.input_layernorm": np.asfortranarray(a.astype(np.float16)),
  "layers.0.self_attn:k_cache": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
  "layers.0.mlp.gate:expert": np.array([1, 2, 3], dtype=np.int64),
}
if kind == "folder":
  for name, array in arrays.items(): np.save(f"{out}/{name}.npy", array)
elif kind == "bits": np.save(f"{out}/norm.npy", (a.view(np.uint32) >> 16).astype(np.uint16))
else: (np.savez if kind == "npz" else np.savez_compressed)(out, **arrays)
print(json.dumps({"half": a.astype(np.float16).view(np.uint16).ravel().tolist(), "bits": (a.view(np.uint32) >> 16).ravel().tolist()}))
`;

  it.each(['folder', 'npz', 'compressed'])(
    'come as they are from a %s, Fortran order put right',
    async (kind) => {
      const folder = temporaryFolder();
      const path = kind === 'folder' ? folder : join(folder, 'values.npz');
      const { half } = pythonJson<{ half: number[] }>(['-c', script, kind, path]);
      const out = join(temporaryFolder(), 'dump');
      expect(await runCommand(['import', path, '--tokens', '1,2,3', '--out', out])).toMatchObject({
        code: 0,
        stderr: '',
      });
      const dump = await opened(out);
      expect(await dump.read('norm')).toMatchObject({
        dtype: 'F32',
        data: Float32Array.from({ length: 24 }, (_, k) => k / 3),
      });
      expect(await dump.read('layers.0.input_layernorm')).toMatchObject({
        dtype: 'F16',
        shape: [3, 8],
        data: Uint16Array.from(half),
      });
      expect(await dump.read('layers.0.self_attn:k_cache')).toMatchObject({
        shape: [1, 2, 3, 4],
        data: Float32Array.from({ length: 24 }, (_, k) => k),
      });
      expect([...(await dump.read('layers.0.mlp.gate:expert')).data]).toEqual([1, 2, 3]);
    },
  );

  it('hold bits of BF16 only where that is said', async () => {
    const folder = temporaryFolder();
    const { bits } = pythonJson<{ bits: number[] }>(['-c', script, 'bits', folder]);
    const args = ['import', folder, '--tokens', '1,2,3', '--out', join(temporaryFolder(), 'dump')];
    expect((await runCommand(args)).stderr).toContain("got dtype '<u2'");
    expect((await runCommand([...args, '--bf16-bits'])).code).toBe(0);
    expect(await (await opened(args.at(-1)!)).read('norm')).toMatchObject({
      dtype: 'BF16',
      data: Uint16Array.from(bits),
    });
  });

  it.each([20, 130, -1])('that are damaged in an archive are refused (byte %d)', async (at) => {
    const folder = temporaryFolder();
    const path = join(folder, 'values.npz');
    pythonJson(['-c', script, 'npz', path]);
    const bytes = readFileSync(path);
    if (at < 0) writeFileSync(path, bytes.subarray(0, bytes.length - 30));
    else {
      bytes[at + 100]! ^= 0xff;
      writeFileSync(path, bytes);
    }
    const { code, stderr } = await runCommand(['import', path, '--out', join(folder, 'dump')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/BAD_DUMP/);
  });
});

describe('a folder of a llama.cpp port', () => {
  const port = (lines: unknown[], floats: number, tail = ''): string => {
    const folder = join(temporaryFolder(), 'port');
    mkdirSync(folder);
    writeFileSync(
      join(folder, 'tensors.bin'),
      new Uint8Array(Float32Array.from({ length: floats }, (_, k) => k).buffer),
    );
    const head = { format: 'zayascope-llamacpp', version: 1 };
    writeFileSync(
      join(folder, 'index.jsonl'),
      [head, ...lines].map((line) => `${JSON.stringify(line)}\n`).join('') + tail,
    );
    return folder;
  };
  const value = (name: string, graph: number, ne: number[], offset: number) => ({
    name,
    graph,
    type: 'F32',
    ne,
    offset,
  });
  const twoSteps = [
    { position: 0, tokens: [5, 6] },
    { graph: 0, rows: 2 },
    value('result_norm', 0, [2, 2, 1, 1], 0),
    value('Qcur-0', 0, [2, 2, 1, 1], 0),
    value('Qcur-0', 0, [2, 1, 2, 1], 16),
    { position: 2, tokens: [7] },
    { graph: 1, rows: 1 },
    value('result_norm', 1, [2, 1, 1, 1], 32),
    value('Qcur-0', 1, [2, 1, 1, 1], 0),
    value('Qcur-0', 1, [2, 1, 1, 1], 40),
  ];
  const load = async (folder: string) => {
    const out = join(temporaryFolder(), 'dump');
    await using source = await openForeignSource(folder);
    const result = await importDump(source, { out, map: NAME_MAPS.llamacpp!, importer });
    return { result, dump: await opened(out) };
  };

  it('gives a step per graph; of values of one name the last counts', async () => {
    const { result, dump } = await load(port([...twoSteps, { finished: true }], 12));
    expect(result).toMatchObject({ steps: 2, tokens: 3, tokensKnown: true, ignored: ['Qcur-0#0'] });
    const query = 'layers.0.self_attn:query_rope';
    expect([...(await dump.read(query)).data]).toEqual([4, 5, 6, 7, 10, 11]);
    const { position, step, tokenId } = await dump.rows(query);
    expect([[...position], [...step], [...tokenId]]).toEqual([
      [0, 1, 2],
      [0, 0, 1],
      [5, 6, 7],
    ]);
    expect([...(await dump.read('norm')).data]).toEqual([0, 1, 2, 3, 8, 9]);
  });

  it('of a run that did not finish gives what it has computed', async () => {
    // The last value of Qcur-1 is lost: the one before it has another name, which tells that it is not the
    // last.
    const { result, dump } = await load(port(twoSteps, 11, '{"name": "cut'));
    expect(result).toMatchObject({
      steps: 2,
      notes: ['The run did not finish: its last graph is there up to Qcur-0.', NO_CONFIG],
    });
    expect([...(await dump.read('norm')).data]).toEqual([0, 1, 2, 3, 8, 9]);
    const query = await dump.read('layers.0.self_attn:query_rope');
    expect([[...query.position], [...query.data]]).toEqual([
      [0, 1],
      [4, 5, 6, 7],
    ]);
  });

  it('of a single batch that did not finish gives what it has computed', async () => {
    const { result, dump } = await load(port(twoSteps.slice(0, 4), 12));
    expect(result).toMatchObject({ steps: 1, tokens: 2 });
    expect(dump.manifest).toMatchObject({ version: 1, sequences: [{ tokens: [5, 6] }] });
    expect(dump.taps.map(({ name }) => name).sort()).toEqual(['layers.0.self_attn:query_rope', 'norm']);
  });

  const batch = { tokens: [5, 6, 7], positions: [0, 1, 0], sequences: [0, 0, 4], outputs: [0, 1, 1] };

  it('has values of some tokens where logits of some were asked for', async () => {
    const folder = port(
      [
        batch,
        { graph: 0, rows: 3, tokens: [7, 5, 6] },
        { graph: 0, positions: [0, 0, 1] },
        value('embd', 0, [2, 3, 1, 1], 0),
        // Rows of the outputs alone: sequence 4's first, then sequence 0's.
        value('result_norm', 0, [2, 2, 1, 1], 24),
        { finished: true },
      ],
      10,
    );
    const { result, dump } = await load(folder);
    expect(dump.manifest).toMatchObject({
      version: 2,
      sequences: [{ tokens: [5, 6] }, { tokens: [7] }],
      taps: [{ name: 'embed_tokens' }, { name: 'norm', nullable: true }],
    });
    expect(result.notes).toEqual([
      'Computed for 2 of 3 tokens, those of which logits were asked for (batch.logits[i]): 1 values, first result_norm.',
      NO_CONFIG,
    ]);
    const embedded = await dump.read('embed_tokens', { sequence: 0 });
    expect([...embedded.data]).toEqual([2, 3, 4, 5]);
    const norm = [await dump.read('norm', { sequence: 0 }), await dump.read('norm', { sequence: 1 })];
    expect(norm.map(({ position, data }) => [[...position], [...data]])).toEqual([
      [[1], [8, 9]],
      [[0], [6, 7]],
    ]);
  });

  it('is refused where the order of several sequences is not known', async () => {
    const folder = port([batch, { graph: 0, rows: 2 }, { finished: true }], 10);
    await expect(load(folder)).rejects.toThrow('a graph of 2 rows of several sequences');
  });

  it('leaves out views whose names ggml cut, and tells of other names as long', async () => {
    const view = 'cache_s_l0 (view) (copy of input_norm-0 (cont) (reshaped) (view';
    const long = 'a'.repeat(63);
    const folder = port(
      [
        ...twoSteps.slice(0, 3),
        value(view, 0, [2, 2, 1, 1], 0),
        value(long, 0, [2, 2, 1, 1], 0),
        { finished: true },
      ],
      4,
    );
    const out = join(temporaryFolder(), 'dump');
    await using source = await openForeignSource(folder);
    const result = await importDump(source, { out, map: NAME_MAPS.llamacpp!, unmapped: 'keep', importer });
    expect(result.taps.map(({ tap }) => tap)).toEqual(['norm', long]);
    expect(result.notes).toEqual([
      expect.stringMatching(/^a{63} fills the 63 characters of ggml's names/),
      NO_CONFIG,
    ]);
  });

  it.each<[string, unknown[], number, string]>([
    ['begins later', [{ position: 3, tokens: [1] }], 4, 'goes on at position 0'],
    [
      'has more rows than tokens',
      [{ position: 0, tokens: [1] }, { graph: 0, rows: 2 }, { finished: true }],
      4,
      'over the 1 tokens of batch 0, got 2 tokens',
    ],
    ['lacks data', [...twoSteps, { finished: true }], 11, 'expected 8 bytes at 40, got a file of 44'],
    ['has a line of another kind', [{ what: 1 }], 4, 'line 2'],
    [
      'lacks a value in one step',
      [...twoSteps.slice(0, 8), { finished: true }],
      10,
      'a value in each of the 2 steps, got none in step 1',
    ],
  ])('is refused where it %s', async (_what, lines, floats, message) => {
    await expect(load(port(lines, floats))).rejects.toThrow(message);
  });
});
