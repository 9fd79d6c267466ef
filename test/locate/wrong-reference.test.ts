import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump, locateDumps } from '../../src/index.js';
import { formatFactor } from '../../src/text-table.js';
import { rewriteDump } from '../cli/special-dumps.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const REFERENCE = join(tiny, 'reference-float32');
const MODEL = join(tiny, 'model');
const VALUE = 'layers.2.self_attn.qkv_proj:query_residual';
const NORM = 'layers.4.input_layernorm';

describe('locate', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'zayascope-wrong-reference-'));
  const opened: Dump[] = [];
  const open = async (folder: string): Promise<Dump> => {
    const dump = await Dump.open(folder);
    opened.push(dump);
    return dump;
  };
  const edited = (name: string, tap: string, change: (values: Float32Array) => void) =>
    rewriteDump(REFERENCE, join(scratch, name), (each, values) => {
      if (each.name === tap) change(values);
    });
  beforeAll(async () => {
    await edited('doubled', VALUE, (values) => {
      for (let k = 0; k < values.length; k++) values[k]! *= 2;
    });
    await edited('nan', NORM, (values) => values.fill(Number.NaN, 0, 3));
  });
  afterAll(async () => {
    for (const dump of opened) await dump.close();
    rmSync(scratch, { recursive: true });
  });

  it('passes nothing by a reference that is not what the model computes', async () => {
    const [good, wrong] = [await open(REFERENCE), await open(join(scratch, 'doubled'))];
    const swapped = await locateDumps(wrong, good, MODEL);
    expect(swapped.found).toBe(true);
    expect(swapped.firstFault).toBeNull();
    expect(swapped.unjudged).toContain(`The reference is not what the model computes: ${VALUE} of doubled`);
    const right = await locateDumps(good, wrong, MODEL);
    expect([right.firstFault, right.unjudged]).toEqual([VALUE, null]);
    expect(right.notes.join(' ')).not.toContain('not what the model computes');
  });

  it('lets no fault of the reference widen a limit', async () => {
    const wrong = await open(join(scratch, 'doubled'));
    const both = await locateDumps(wrong, await open(join(scratch, 'doubled')), MODEL);
    expect(both.firstFault).toBe(VALUE);
    expect(both.notes.join(' ')).toContain('not what the model computes');
  });

  it('judges nothing that comes of allowed NaN', async () => {
    const nan = await open(join(scratch, 'nan'));
    const again = await open(join(scratch, 'nan'));
    expect((await locateDumps(nan, again, MODEL)).nonFinite?.tap).toBe(NORM);
    const allowed = await locateDumps(nan, again, MODEL, { allowNonFinite: true });
    expect([allowed.found, allowed.firstFault, allowed.kinds]).toEqual([false, null, []]);
  });
});

describe('formatFactor', () => {
  it.each([
    [1.00001, '1.00001'],
    [1.0000001234, '1.0000001'],
    [0.99999999, '0.99999999'],
    [1.0123456, '1.0123'],
    [0.5, '0.5'],
    [1, '1'],
  ])('says %s as %s', (factor, words) => expect(formatFactor(factor)).toBe(words));
});
