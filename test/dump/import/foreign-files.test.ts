import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyLogits } from '../../../src/diff/logits/verify-logits.js';
import { toFloat64 } from '../../../src/dump/float.js';
import { sniffBytes } from '../../../src/weights/formats/file-kind.js';
import { runCommand } from '../../cli/run-command.js';
import { opened } from '../../diff/two-dumps.js';
import { pythonJson } from '../../reference/python.js';
import { temporaryFolder } from '../dump-fixture.js';

interface Expected extends Record<string, unknown> {
  nmse: number;
  kld: { nmse: number; kl: number };
  chunk: number;
}

let files: string;
let expected: Expected;

beforeAll(() => {
  files = mkdtempSync(join(tmpdir(), 'zayascope-files-'));
  expected = pythonJson(['test/dump/import/make_files.py', files]);
});

afterAll(() => rmSync(files, { recursive: true, force: true }));

const importing = async (name: string, ...more: string[]) => {
  const out = join(temporaryFolder(), 'dump');
  return { ...(await runCommand(['import', join(files, name), '--out', out, ...more])), out };
};

describe('a file of another program', () => {
  it.each([
    'big-f4',
    'big-f8-fortran',
    'big-i4',
    'u4',
    'u8',
    'bf16',
    'double-quotes',
    'fortran-writer',
    'version-3',
    'python-2',
    'word',
    'letter',
    'literal',
    'streamed.npz',
    'values.pt',
    'transposed.bin',
    'view.pth',
    'every-second.pt',
    'columns.pt',
    'expanded.pt',
    'expanded-column.pt',
    'apart-and-turned.pt',
    'windows.pt',
  ])('%s gives the values that its own reader gives', async (name) => {
    const { code, stderr, out } = await importing(name);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { data, dtype } = await (await opened(out)).read('norm');
    expect([...toFloat64(data, dtype)]).toEqual(expected[name]);
    expect(dtype === 'F64').toBe(['big-f8-fortran', 'fortran-writer', 'word', 'letter'].includes(name));
    if (name === 'bf16' || name === 'transposed.bin') expect(dtype).toBe('BF16');
  });

  it('with arrays that no dump can hold is read without them', async () => {
    const refused = await importing('mixed.npz', '--keep-unmapped');
    expect(refused.stderr).toContain("got dtype '|O', Python objects");
    expect(refused.stderr).toContain('(meta.npy in ');
    const { code, out } = await importing('mixed.npz', '--drop-unmapped');
    expect(code).toBe(0);
    const { data } = await (await opened(out)).read('norm');
    expect([...data]).toEqual(expected['mixed.npz']);
  });

  it.each([
    ['fp8', "got dtype '<V1', one-byte values of ml_dtypes"],
    ['complex', "got dtype '<c8', complex numbers"],
    ['object', "got dtype '|O', Python objects"],
    ['struct', 'got a structured dtype'],
    ['longdouble', "got dtype '<f16', long doubles"],
    ['empty', 'expected a value with elements, got shape [0, 16]'],
    ['module.pt', 'expected tensors alone, got a call of torch.nn.modules.linear.Linear'],
    ['endless.pt', '(call .contiguous() before saving), got [1048576, 1024] with strides [0, 0]'],
    ['old.pt', 'got a PyTorch file of before version 1.6; save it again: torch.save(torch.load('],
    ['reference-f64.bin', 'got values that are F64 by their bits'],
    ['reference.kld', 'got log-probabilities of llama-perplexity'],
  ])('%s is refused by what it is', async (name, message) => {
    const { code, stderr, stdout } = await importing(name);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain(name);
  });

  it('is not inflated for its header', async () => {
    const before = process.memoryUsage.rss();
    const { code } = await importing('bomb.npz', '--drop-unmapped');
    expect(code).toBe(0);
    expect(process.memoryUsage.rss() - before).toBeLessThan(48e6);
  });

  it('whose members overlap, repeat or claim too much is refused', async () => {
    const good = readFileSync(join(files, 'mixed.npz'));
    const entry = (nth: number): number => {
      let at = -1;
      for (let k = 0; k <= nth; k++) at = good.indexOf('PK\x01\x02', at + 1, 'latin1');
      return at;
    };
    const damaged = async (change: (bytes: Buffer) => void): Promise<string> => {
      const bytes = Buffer.from(good);
      change(bytes);
      writeFileSync(join(files, 'damaged.npz'), bytes);
      return (await importing('damaged.npz', '--drop-unmapped')).stderr;
    };
    expect(await damaged((bytes) => bytes.writeUInt32LE(0, entry(1) + 42))).toMatch(/BAD_DUMP.*an overlap/);
    expect(await damaged((bytes) => bytes.copy(bytes, entry(1) + 46, entry(2) + 46, entry(2) + 54))).toMatch(
      /BAD_DUMP.*expected each name once, got it twice/,
    );
    expect(await damaged((bytes) => bytes.writeUInt32LE(0x7fffffff, entry(0) + 24))).toMatch(
      /BAD_DUMP.*expected at most \d+ bytes from \d+ that are stored/,
    );
    expect(await damaged((bytes) => bytes.writeUInt32LE(0x7fffffff, entry(0) + 20))).toMatch(
      /BAD_DUMP.*a member inside the/,
    );
  });
});

describe('logits in files', () => {
  it.each(['.npy', '.npz', '.safetensors', '.pt', '.bin', '.txt', '-other.bin'])(
    '%s are found',
    async (kind) => {
      const report = await verifyLogits(join(files, `reference${kind}`), join(files, `tested${kind}`));
      expect(report).toMatchObject({ pass: true, vocabulary: 259, rows: 1, values: 'logits' });
      expect(report.metrics!.nmseVariance / expected.nmse).toBeCloseTo(1, kind === '.txt' ? 3 : 6);
      expect(report.tokens.outcome).toBe(kind === '.npz' ? 'same' : 'unknown');
    },
  );

  it('of two kinds are compared', async () => {
    const report = await verifyLogits(join(files, 'reference.pt'), join(files, 'tested-other.bin'));
    expect(report.metrics!.nmseVariance / expected.nmse).toBeCloseTo(1, 6);
  });

  it('of llama-perplexity are log-probabilities', async () => {
    const report = await verifyLogits(join(files, 'reference.kld'), join(files, 'tested.kld'));
    expect(report).toMatchObject({
      rows: 6,
      values: 'log-probabilities',
      tokens: { outcome: 'same', reference: 16 },
    });
    // Rounded to 16 / 65,535 nats, the error of which is 7e-5 rms.
    expect(report.metrics!.nmseVariance / expected.kld.nmse).toBeCloseTo(1, 3);
    expect(report.logits!.klMean / expected.kld.kl).toBeCloseTo(1, 1);
    expect(report.notes[0]).toMatch(/log-probabilities of llama-perplexity \(2 chunks of 8 tokens/);
  });

  it('of a chunk are compared with it, whatever their constant', async () => {
    const report = await verifyLogits(join(files, 'reference.kld'), join(files, 'chunk.npz'));
    expect(report).toMatchObject({ rows: 3, tokens: { outcome: 'same' } });
    expect(report.notes).toContain('3 rows that both sides have are compared, of 8');
    expect(report.metrics!.nmseVariance / expected.chunk).toBeCloseTo(1, 3);
  });

  it('of a cut file of llama-perplexity are refused', async () => {
    const bytes = readFileSync(join(files, 'reference.kld'));
    writeFileSync(join(files, 'cut.kld'), bytes.subarray(0, bytes.length - 10));
    await expect(verifyLogits(join(files, 'cut.kld'), join(files, 'tested.kld'))).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringContaining('an unfinished run?'),
    });
  });
});

describe('what a file is', () => {
  const bytes = (text: string, length = 0): Uint8Array =>
    Uint8Array.from([...Buffer.from(text, 'latin1'), ...new Uint8Array(Math.max(0, length - text.length))]);

  it.each([
    ['version https://git-lfs.github.com/spec/v1\noid sha256:', /git-lfs pointer.*git lfs pull/],
    ['\x1f\x8b\x08\0', /gzip.*gunzip/],
    ['<!DOCTYPE html><html>', /web page/],
    ['ARROW1\0\0', /Arrow file/],
    ['\x80\x04\x95\x10\0\0\0\0\0\0\0}.', /pickle/],
    ['\x89HDF\r\n\x1a\n', /HDF5/],
    ['tjgg\x01\0\0\0', /before GGUF/],
  ])('%j is said', (text, message) => {
    const { kind, what, advice } = sniffBytes(bytes(text), text.length);
    expect(kind).toBe('other');
    expect(`${what}; ${advice}`).toMatch(message);
  });

  it('is binary for raw logits, whatever they are', () => {
    // Marks of two or three bytes alone would be met here: the first value takes every pattern of its low
    // bytes.
    const marked: string[] = [];
    const values = Float32Array.from({ length: 64 }, (_, k) => 20 * Math.sin(1 + 7919 * k));
    const bits = new Uint32Array(values.buffer);
    for (let low = 0; low < 0x10000; low++) {
      bits[0] = 0x40a0_0000 + low + ((low * 31) % 0x80) * 0x10000;
      const { kind, what } = sniffBytes(new Uint8Array(values.buffer), 256);
      if (kind !== 'binary') marked.push(what);
    }
    expect(marked).toEqual([]);
  });
});
