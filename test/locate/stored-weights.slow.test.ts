/** Checkpoints stored in F16 or F32 that transformers runs in BF16: it rounds what is stored. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Dump, locateDumps } from '../../src/index.js';
import { runPython } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-stored-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const python = (script: string, ...args: string[]) => {
  const { status, stderr } = runPython([join('dumps', 'reference', script), ...args]);
  expect(status, stderr).toBe(0);
};

it.each(['f16', 'f32'])(
  'the unaltered model of an %s checkpoint is not accused in BF16',
  async (dtype) => {
    const model = join(scratch, dtype);
    python('random_checkpoint.py', '--out', model, '--seed', '3', '--dtype', dtype);
    const folder = (of: string) => join(scratch, `${dtype}-${of}`);
    const ids = Array.from({ length: 40 }, (_, k) => 3 + k).join();
    for (const of of ['float32', 'bfloat16'])
      python('dump.py', '--model', model, '--tokens', ids, '--dtype', of, '--out', folder(of));
    await using reference = await Dump.open(folder('float32'));
    await using tested = await Dump.open(folder('bfloat16'));
    const { found, firstFault, ops } = await locateDumps(reference, tested, model);
    expect({ found, firstFault }).toEqual({ found: false, firstFault: null });
    // and not because limits are wide: 9 in 10 ops give the very bits of a product or differ in a few
    expect(ops.filter(({ local }) => local! < 1e-6).length).toBeGreaterThan(0.9 * ops.length);
  },
  120_000,
);
