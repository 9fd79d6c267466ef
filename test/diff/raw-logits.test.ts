import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { formatLogitsCheck } from '../../src/diff/format/logits-check.js';
import { verifyLogits } from '../../src/diff/logits/verify-logits.js';
import { openForeignSource } from '../../src/dump/import/open-source.js';
import type { RawDtype } from '../../src/dump/import/raw-dtype.js';
import { runCommand } from '../cli/run-command.js';
import { pythonJson } from '../reference/python.js';

/** Variance NMSE by numpy, and what trimmed files leave out. */
type Expected = Record<string, number> & Record<string, { compared: number; probability: number }>;

let folder: string;
let expected: Expected;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-raw-'));
  expected = pythonJson(['test/diff/raw_logits.py', folder]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const WIDTHS = [64, 259, 4096, 262_272];
const OTHERS: RawDtype[] = ['BF16', 'F16', 'F64'];

describe('raw logits that are no F32', () => {
  it.each(WIDTHS.flatMap((width) => OTHERS.map((dtype) => [width, dtype] as const)))(
    '%i of %s are not taken for F32, on both sides or on one',
    async (width, dtype) => {
      const [a, b] = ['a', 'b'].map((side) => file(`${side}-${width}-${dtype.toLowerCase()}.bin`));
      await expect(verifyLogits(a!, b!)).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
        message: expect.stringMatching(new RegExp(`${dtype} by their bits|--dtype bf16`)),
      });
      await expect(verifyLogits(file(`a-${width}-f32.bin`), b!)).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
      });
      const report = await verifyLogits(a!, b!, { dtype });
      expect(report.vocabulary).toBe(width);
      expect(report.metrics!.nmseVariance).toBeCloseTo(expected[`${width}-${dtype.toLowerCase()}`]!, 9);
      const mixed = await verifyLogits(file(`a-${width}-f32.bin`), b!, { dtype: ['F32', dtype] });
      expect(mixed).toMatchObject({ vocabulary: width, pass: true });
    },
  );

  it.each(WIDTHS)('%i of F32 are read', async (width) => {
    const report = await verifyLogits(file(`a-${width}-f32.bin`), file(`b-${width}-f32.bin`));
    expect(report.metrics!.nmseVariance).toBeCloseTo(expected[`${width}-f32`]!, 9);
  });

  it.each([
    'plain',
    'large',
    'from-bf16',
    'from-f16',
    'grid',
    'tenths',
    'integers',
    'constant',
    'small',
    'wide',
    'masked',
    'infinite',
    'softmax',
  ])('odd F32 is read: %s', async (name) => {
    const odd = file(`odd-${name}.bin`);
    expect((await verifyLogits(odd, odd, { allowNonFinite: true })).metrics!.mse).toBe(0);
  });

  it.each([
    ['tokens.bin', /integers by their bits/],
    ['tokens-64.bin', /integers by their bits/],
    ['big-endian.bin', /no logits/],
    ['random.bin', /no logits/],
  ])('%s are no logits', async (name, sentence) => {
    await expect(verifyLogits(file(name), file(name))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(sentence),
    });
  });

  it('that have half or several times the logits of the other side are not compared', async () => {
    const write = (name: string, values: number[]): string => {
      writeFileSync(file(name), Float32Array.from(values));
      return file(name);
    };
    const [three, six] = [write('three.bin', [1, 2, 3]), write('six.bin', [1, 2, 3, 1, 2, 3])];
    await expect(verifyLogits(six, three)).rejects.toThrow(
      /expected a row of 3 logits, as the other side has, got 6 in six.bin \(several rows\? --vocabulary 3;/,
    );
    expect(await verifyLogits(six, six, { vocabulary: 3, all: true })).toMatchObject({ rows: 2, pass: true });
    const whole = file('padding-whole.npy');
    const half = write('half.bin', new Array(160).fill(2));
    await expect(verifyLogits(whole, half)).rejects.toThrow(
      /expected a row of 320 logits, as the other side has, got 160 in half.bin, read as F32 \(of 2 bytes each\?/,
    );
    expect(await verifyLogits(whole, half, { dtype: 'F32' })).toMatchObject({ vocabulary: 160, pass: false });
  });

  it('--dtype is for raw files', async () => {
    const dump = 'dumps/tiny/reference-float32';
    const { code, stderr } = await runCommand(['verify-logits', dump, dump, '--dtype', 'bf16']);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/a raw file with a dtype/),
    });
    const imported = await runCommand([
      'import',
      file('padding-cut.npy'),
      '--dtype',
      'f16',
      '--out',
      file('no'),
    ]);
    expect(imported).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/a raw file with --dtype, got npy/),
    });
    for (const wrong of ['f8', 'f32,f32,f32', ''])
      expect((await runCommand(['verify-logits', dump, dump, '--dtype', wrong])).code).toBe(2);
  });
});

it('import reads what --dtype says, and refuses what the bits deny', async () => {
  const [bf16, out] = [file('a-259-bf16.bin'), file('imported')];
  const tokens = ['--tokens', '7', '--out', out];
  expect((await runCommand(['import', bf16, ...tokens])).stderr).toMatch(/259|BF16 by their bits/);
  expect((await runCommand(['import', bf16, '--dtype', 'bf16', ...tokens])).code).toBe(0);
  expect((await verifyLogits(out, bf16, { dtype: 'BF16' })).metrics!.mse).toBe(0);
});

describe('a trimmed vocabulary', () => {
  it.each([
    ['padding', true],
    ['most', false],
    ['likely', false],
  ] as const)('%s', async (name, pass) => {
    const report = await verifyLogits(file(`${name}-whole.npy`), file(`${name}-cut.npy`));
    const { compared, probability } = expected[name]!;
    expect(report).toMatchObject({ pass, band: 'perfect', leftOut: { side: 'reference', isPadding: pass } });
    expect(report.leftOut!.compared).toBe(compared);
    expect(report.leftOut!.probability).toBeCloseTo(probability, 6);
    expect(formatLogitsCheck(report)).toMatch(
      pass
        ? /PASS {2}perfect; .* % of the vocabulary compared/
        : /FAIL {2}only .* of the vocabulary compared/,
    );
    const other = await verifyLogits(file(`${name}-cut.npy`), file(`${name}-whole.npy`));
    expect(other).toMatchObject({ pass, leftOut: { side: 'tested' } });
  });
});

it.each(['deflated', 'stored'])('a damaged last row is found: %s', async (name) => {
  const path = file(`${name}.npz`);
  await expect(verifyLogits(path, path)).rejects.toMatchObject({ code: 'BAD_DUMP' });
});

it('an archive of 3,000 arrays takes few reads', async () => {
  const handle = await open(file('many.npz'));
  const reads = vi.spyOn(Object.getPrototypeOf(handle), 'read');
  const source = await openForeignSource(file('many.npz'));
  expect(source.values.length).toBe(3000);
  expect(reads.mock.calls.length).toBeLessThan(200);
  expect(new Float32Array((await source.values[2999]!.read()).slice().buffer)).toEqual(
    Float32Array.from([0, 1, 2, 3]),
  );
  await source[Symbol.asyncDispose]();
  await handle.close();
  reads.mockRestore();
});

it('an archive of 256 MiB is compared in little memory', () => {
  const library = pathToFileURL(join(import.meta.dirname, '..', '..', 'dist', 'index.js'));
  const program = `
    import { verifyLogits } from '${library}';
    const report = await verifyLogits(process.argv[1], process.argv[2]);
    console.log(JSON.stringify([report.rows, report.metrics.nmseVariance, process.resourceUsage().maxRSS]));`;
  const output = execFileSync(
    process.execPath,
    ['--input-type=module', '-e', program, file('rows.npz'), file('other-rows.npz')],
    { encoding: 'utf8' },
  );
  const [rows, nmse, maxKiB] = JSON.parse(output) as [number, number, number];
  expect(rows).toBe(1);
  expect(nmse).toBeCloseTo(expected.rows!, 9);
  expect(maxKiB).toBeLessThan(200 * 1024);
});
