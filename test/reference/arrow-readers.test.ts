import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReferenceManifest } from './manifest.js';
import { pythonJson, root, runScripts } from './python.js';

const tiny = join(root, 'dumps', 'tiny');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-arrow-'));
const dumps = {
  F32: join(tiny, 'reference-float32'),
  BF16: join(tiny, 'reference-bfloat16'),
  F16: join(scratch, 'float16'),
};

interface InspectedFile {
  name: string;
  rows: number;
  batches: number;
  polarsRows: number;
  duckdbRows: number;
  columns: {
    name: string;
    nullCount: number;
    dtype: string;
    numpyShape: number[] | null;
    numpyDtype: string | null;
  }[];
}

let inspected: Record<string, InspectedFile[]>;

beforeAll(() => {
  const source = ['--model', join(tiny, 'model'), '--tokens-file', join(tiny, 'prompt.json')];
  const [made] = runScripts([
    { script: 'dump', args: [...source, '--dtype', 'float16', '--out', dumps.F16] },
  ]);
  expect(made!.stderr).toBe('');
  inspected = pythonJson([join('test', 'reference', 'inspect_dump.py'), ...Object.values(dumps)]);
}, 120_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(['F32', 'BF16', 'F16'] as const)('a reference dump in %s', (dtype) => {
  const tokens = readReferenceManifest(dumps.F32).sequences[0]!.tokens.length;
  const files = () => inspected[dumps[dtype]]!;

  it('opens in pyarrow, file by file, with one row per token', () => {
    const names = ['model.arrow', 'stats.arrow', ...Array.from({ length: 8 }, (_, n) => `layers.${n}.arrow`)];
    expect(files().map((file) => file.name)).toEqual(names.toSorted());
    for (const file of files().filter((entry) => entry.name !== 'stats.arrow')) {
      expect([file.name, file.rows, file.batches]).toEqual([file.name, tokens, 1]);
    }
  });

  it('turns fixed-shape columns into NumPy arrays of the shape and storage type that the manifest says', () => {
    const manifest = readReferenceManifest(dumps[dtype]);
    const columns = new Map(files().flatMap((file) => file.columns.map((column) => [column.name, column])));
    const storage: Record<string, string> = { F32: 'float32', F16: 'uint16', BF16: 'uint16', I32: 'int32' };
    const fixed = manifest.taps.filter(
      (tap) => tap.scope === 'token' && tap.shape.length > 0 && !tap.shape.includes(null),
    );
    expect(fixed.length).toBe(4 + 8 * 41);
    for (const tap of fixed) {
      expect(columns.get(tap.name)).toMatchObject({
        dtype: tap.dtype,
        numpyShape: [tokens, ...tap.shape],
        numpyDtype: storage[tap.dtype],
        nullCount: 0,
      });
    }
  });

  it('is counted alike by Polars and by DuckDB', () => {
    for (const file of files()) {
      expect([file.name, file.polarsRows, file.duckdbRows]).toEqual([file.name, file.rows, file.rows]);
    }
  });

  it('has a value of the lead row in the last row only, and statistics of every tap', () => {
    const manifest = readReferenceManifest(dumps[dtype]);
    const leads = files().flatMap((file) => file.columns.filter((column) => column.name.endsWith(':lead')));
    expect(leads.map((column) => column.nullCount)).toEqual(Array.from({ length: 8 }, () => tokens - 1));
    const perToken = manifest.taps.filter((tap) => tap.scope === 'token').length;
    const stats = files().find((file) => file.name === 'stats.arrow')!;
    expect(stats.rows).toBe(perToken * tokens + leads.length);
  });
});

describe('a truncated file', () => {
  const readStart = (file: string, bytes: number) =>
    pythonJson<{ columns: string[]; batches: number[]; allBatches: number[] }>([
      join('test', 'reference', 'read_truncated.py'),
      file,
      String(bytes),
    ]);

  it.each([0.3, 0.6, 0.95])('reads as a stream up to its last whole batch when cut at %f', (part) => {
    const file = join(dumps.F32, 'stats.arrow');
    const { batches, allBatches } = readStart(file, Math.floor(statSync(file).size * part));
    expect(allBatches).toHaveLength(9);
    expect(batches.length).toBeGreaterThanOrEqual(Math.floor(9 * part) - 1);
    expect(batches.length).toBeLessThan(9);
    expect(batches).toEqual(allBatches.slice(0, batches.length));
  });

  it('still says what its columns are when cut inside its only batch', () => {
    const file = join(dumps.F32, 'layers.3.arrow');
    const { columns, batches } = readStart(file, Math.floor(statSync(file).size / 2));
    expect(columns.slice(0, 5)).toEqual([
      'sequence',
      'position',
      'token_id',
      'step',
      'layers.3.input_layernorm',
    ]);
    expect(batches).toEqual([]);
  });
});
