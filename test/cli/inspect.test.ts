import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { tensorChunks } from '../../src/weights/tensor-data.js';
import { pythonJson } from '../reference/python.js';
import { runCommand } from './run-command.js';

const root = join(import.meta.dirname, '..', '..');
const model = join(root, 'dumps', 'tiny', 'model');
const reference = join(root, 'dumps', 'tiny', 'reference-float32');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-inspect-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('zayascope inspect of a GGUF file of an architecture without a model file', () => {
  const lfm2 = join(root, 'dumps', 'tiny', 'lfm2.gguf');

  it('shows the metadata and tensors that gguf-py reads', async () => {
    const { code, stdout } = await runCommand(['inspect', lfm2, '--json']);
    const summary = JSON.parse(stdout);
    const read = pythonJson<{ keys: string[]; blocks: number; tensors: object[] }>([
      join('test', 'cli', 'gguf_header.py'),
      lfm2,
    ]);
    expect(code).toBe(0);
    expect(summary).toMatchObject({ kind: 'gguf', architecture: 'lfm2', tensors: read.tensors });
    const keys: { key: string; value?: unknown }[] = summary.metadata;
    expect(keys.map(({ key }) => key)).toEqual(read.keys);
    expect(keys.find(({ key }) => key === 'lfm2.block_count')?.value).toBe(read.blocks);
  });

  it('says to people that no model file computes it, and refuses taps', async () => {
    const { stdout } = await runCommand(['inspect', lfm2]);
    expect(stdout).toMatch(/^file +lfm2\.gguf \(GGUF, architecture lfm2\)$/m);
    expect(stdout).toMatch(/^token_embd\.weight +F32 +\[256, 64\] +64.0 KiB$/m);
    const { code, stderr } = await runCommand(['inspect', lfm2, '--taps', '**']);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('--taps') });
  });
});

describe('zayascope inspect of a model', () => {
  it('prints sizes, dtypes, files and how many tensors fit', async () => {
    const { code, stdout, stderr } = await runCommand(['inspect', model]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^blocks +8, hidden 128, vocabulary 259$/m);
    expect(stdout).toMatch(/^dtypes +BF16 .* in 251 tensors, F32 .* in 8 tensors$/m);
    expect(stdout).toMatch(/^tensors +259 of 259 that the config requires$/m);
  });

  it('counts the elements of its tensors', async () => {
    const { stdout } = await runCommand(['inspect', model, '--json']);
    const { tensors } = await openCheckpoint(model);
    const elements = [...tensors.values()].map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    expect(JSON.parse(stdout).parameters).toBe(elements.reduce((a, b) => a + b));
  });

  it('lists taps with their axes and shapes when asked', async () => {
    const { stdout } = await runCommand(['inspect', model, '--taps', 'layers.3.self_attn:attn_*']);
    expect(stdout).toMatch(/^layers\.3\.self_attn:attn_weights +F32 +T,nq,S +\[T, 8, S\]$/m);
    expect(stdout).not.toContain('layers.2');
  });

  it('exits with 1 and names what is missing, unfit and unexpected', async () => {
    const broken = join(folder, 'broken');
    cpSync(model, broken, { recursive: true });
    const { tensors } = await openCheckpoint(model);
    const changed = [...tensors.values()].flatMap((tensor) => {
      const chunks = tensorChunks(tensor);
      const source = { name: tensor.name, dtype: tensor.dtype as 'BF16', shape: tensor.shape, chunks };
      if (tensor.name === 'model.norm.weight') return [{ ...source, name: 'model.other.weight' }];
      if (tensor.name === 'model.layers.0.self_attn.qk_norm.temp') return [{ ...source, shape: [1, 2] }];
      return [source];
    });
    await writeSafetensors(join(broken, 'model.safetensors'), changed);
    const { code, stdout } = await runCommand(['inspect', broken]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^missing +model\.norm\.weight$/m);
    expect(stdout).toMatch(
      /^unfit +model\.layers\.0\.self_attn\.qk_norm\.temp: expected \[2\], got \[1,2\]$/m,
    );
    expect(stdout).toMatch(/^unexpected +model\.other\.weight$/m);
  });

  it.each([
    ['a malformed config', 'config.json', '{', 'BAD_CONFIG'],
    ['a truncated checkpoint', 'model.safetensors', undefined, 'BAD_CHECKPOINT'],
  ])('exits with 2 for %s', async (what, file, content, errorCode) => {
    const bad = join(folder, what);
    cpSync(model, bad, { recursive: true });
    if (content === undefined) truncateSync(join(bad, file), 100_000);
    else writeFileSync(join(bad, file), content);
    const { code, stderr } = await runCommand(['inspect', bad]);
    expect(code).toBe(2);
    expect(stderr).toMatch(new RegExp(`^zayascope: ${errorCode}: .*${file}`));
  });
});

describe('zayascope inspect of a dump', () => {
  it('prints what was run and what each file holds', async () => {
    const { code, stdout } = await runCommand(['inspect', reference]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^policy +transformers-float32$/m);
    expect(stdout).toMatch(/^tokens +56$/m);
    expect(stdout).toMatch(/^layers\.7\.arrow +46 +56 .* whole$/m);
  });

  it('joins the statistics of a tap over its rows', async () => {
    const { stdout } = await runCommand(['inspect', reference, '--taps', 'layers.3', '--json']);
    const [tap] = JSON.parse(stdout).taps;
    await using dump = await Dump.open(reference);
    const data = Array.from((await dump.read('layers.3')).data);
    const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
    const squares = data.reduce((sum, value) => sum + value * value, 0) / data.length;
    expect(tap).toMatchObject({ name: 'layers.3', count: data.length, nan: 0, inf: 0 });
    expect([tap.min, tap.max]).toEqual([Math.min(...data), Math.max(...data)]);
    expect(tap.absmax).toBe(Math.max(...data.map(Math.abs)));
    expect(tap.mean).toBeCloseTo(mean, 6);
    expect(tap.rms).toBeCloseTo(Math.sqrt(squares), 6);
  });

  it('shows a partial dump with the state of each of its files', async () => {
    const partial = join(folder, 'partial');
    cpSync(reference, partial, { recursive: true });
    const { manifest } = await Dump.open(reference);
    writeFileSync(join(partial, 'manifest.json'), JSON.stringify({ ...manifest, status: 'partial' }));
    truncateSync(join(partial, 'layers.1.arrow'), 880_000);
    truncateSync(join(partial, 'layers.2.arrow'), 10);
    rmSync(join(partial, 'layers.3.arrow'));
    const { code, stdout } = await runCommand(['inspect', partial]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^dump .*: partial,/m);
    expect(stdout).toMatch(/^steps +not finished$/m);
    expect(stdout).toMatch(/^layers\.0\.arrow +46 +56 .* whole$/m);
    expect(stdout).toMatch(/^layers\.1\.arrow +46 +\d+ .* cut$/m);
    expect(stdout).toMatch(/^layers\.2\.arrow +46 +0 +10 bytes +cut$/m);
    expect(stdout).toMatch(/^layers\.3\.arrow +46 +0 +0 bytes +missing$/m);
  });

  it('exits with 2 for a pattern without a match and for a damaged manifest', async () => {
    expect(await runCommand(['inspect', reference, '--taps', 'nothing'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('BAD_ARGUMENT: inspect: expected a pattern that matches a tap'),
    });
    writeFileSync(join(folder, 'manifest.json'), '{}');
    expect(await runCommand(['inspect', folder])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('BAD_DUMP'),
    });
  });
});
