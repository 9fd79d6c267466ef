/** The order of imported taps: from the model, the map, the producer or the user, or said to be unknown. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareNatural, declaredOrder } from '../../../src/dump/import/tap-order.js';
import { ZAYA } from '../../../src/families/zaya.js';
import { modelTaps } from '../../../src/models/runtime/trace.js';
import { readZayaConfig } from '../../../src/models/zaya/config.js';
import { runCommand } from '../../cli/run-command.js';
import { opened } from '../../diff/two-dumps.js';
import { pythonJson } from '../../reference/python.js';
import { temporaryFolder } from '../dump-fixture.js';

const root = join(import.meta.dirname, '..', '..', '..');
const tiny = join(root, 'dumps', 'tiny', 'model');

describe('natural order', () => {
  it('takes numbers as numbers, whatever their length', () => {
    const names = [
      'a10',
      'a2',
      'a02',
      'b',
      'a',
      'a2.x',
      `a${'9'.repeat(40)}`,
      'layers.10',
      'layers.2',
      'layers.2.mlp',
    ];
    expect(names.sort(compareNatural)).toEqual(
      // The order of `sort -V`, but for leading zeros: a 02 is a 2.
      ['a', 'a02', 'a2', 'a2.x', 'a10', `a${'9'.repeat(40)}`, 'b', 'layers.2', 'layers.2.mlp', 'layers.10'],
    );
  });
});

describe('a declared order', () => {
  it("of the family is the model file's, with and without a cache", async () => {
    const config = await readZayaConfig(tiny);
    for (const cached of [false, true]) {
      const taps = modelTaps(config, cached).map(({ name }) => name);
      expect(declaredOrder([...taps].sort(), ZAYA.order)).toEqual({ ordered: taps, others: [] });
    }
  });

  it('repeats patterns that stand together for each block', () => {
    const names = ['h.10.out', 'h.2.in', 'h.2.out', 'h.10.in', 'end', 'start', 'odd'];
    expect(declaredOrder(names, ['start', 'h.{l}.in', 'h.{l}.out', 'end'])).toEqual({
      ordered: ['start', 'h.2.in', 'h.2.out', 'h.10.in', 'h.10.out', 'end'],
      others: ['odd'],
    });
  });
});

/**
 * Twelve blocks of `mlp` and an embedding, a head and a norm, as numpy and safetensors write them; block 2
 * and the head of the tested side differ.
 */
const WRITE = `
import json, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file

folder = Path(sys.argv[1])
names = ["tok", *(f"layers.{l}.mlp" for l in range(12)), "final", "head"]
for side, wrong in (("a", []), ("b", ["layers.2.mlp", "layers.10.mlp", "head"])):
    values = {name: np.full((3, 4), at + (0.5 if name in wrong else 0), np.float32) for at, name in enumerate(names)}
    save_file(values, folder / f"{side}.safetensors")
    (folder / side).mkdir()
    for name, value in values.items():
        np.save(folder / side / f"{name}.npy", value)
print(json.dumps(names))
`;

describe('an import', () => {
  it('of safetensors or .npy files says that it has no order, or takes the one given', async () => {
    const folder = temporaryFolder();
    const executed = pythonJson<string[]>(['-c', WRITE, folder]);
    const map = join(folder, 'none.json');
    writeFileSync(map, JSON.stringify({ name: 'none', rules: [] }));
    const order = join(folder, 'order.txt');
    writeFileSync(order, 'tok\nlayers.{l}.mlp\nfinal\nhead\n');
    const run = async (source: string, out: string, ...more: string[]) => {
      const args = ['import', join(folder, source), '--map', map, '--keep-unmapped', '--tokens', '1,2,3'];
      expect(await runCommand([...args, '--out', join(folder, out), ...more])).toMatchObject({
        code: 0,
        stderr: '',
      });
      return opened(join(folder, out));
    };
    for (const [suffix, kind] of [
      ['.safetensors', 'file'],
      ['', 'folder'],
    ] as const) {
      const natural = await run(`a${suffix}`, `natural-a-${kind}`);
      await run(`b${suffix}`, `natural-b-${kind}`);
      expect(natural.manifest).toMatchObject({ version: 2, order: 'natural' });
      expect(natural.taps.map(({ name }) => name)).toEqual([
        'final',
        'head',
        ...executed.slice(1, 13),
        'tok',
      ]);
      const unsaid = await runCommand([
        'diff',
        ...['a', 'b'].map((side) => join(folder, `natural-${side}-${kind}`)),
      ]);
      expect(unsaid.stdout).toMatch(
        /^first that is not identical by name \(in which order values were computed is not known\): head /m,
      );
      expect(unsaid.stdout).not.toMatch(/^(input|output) /m);
      expect(unsaid.stdout).toMatch(/^no block +3 /m);
      const declared = await run(`b${suffix}`, `declared-b-${kind}`, '--order', order);
      expect(declared.manifest.order).toBe('declared');
      expect(declared.taps.map(({ name }) => name)).toEqual(executed);
      // One side's order will do.
      const said = await runCommand([
        'diff',
        join(folder, `natural-a-${kind}`),
        join(folder, `declared-b-${kind}`),
        '--json',
      ]);
      const report = JSON.parse(said.stdout);
      expect(report).toMatchObject({ order: 'declared', firstDivergence: { tap: 'layers.2.mlp' } });
      expect(report.blocks.map(({ label }: { label: string }) => label)).toEqual([
        'input',
        ...Array.from({ length: 12 }, (_, l) => String(l)),
        'output',
      ]);
    }
    const located = await runCommand([
      'locate',
      join(folder, 'natural-a-file'),
      join(folder, 'natural-b-file'),
    ]);
    expect(located.stdout).toMatch(/^first fault by name \(/m);
    const page = await runCommand([
      'report',
      join(folder, 'natural-a-file'),
      join(folder, 'natural-b-file'),
      '--out',
      join(folder, 'r.html'),
    ]);
    expect(page.stdout).toContain(
      'first that differs by name (in which order values were computed is not known): head',
    );
    // Declared when they are compared, the order serves as well.
    const both = ['a', 'b'].map((side) => join(folder, `natural-${side}-file`));
    const ordered = await runCommand(['diff', ...both, '--order', order]);
    expect(ordered.stdout).toMatch(/^first that is not identical: layers\.2\.mlp /m);
    const found = await runCommand(['locate', ...both, '--order', order]);
    expect(found.stdout).toMatch(/^first fault: layers\.2\.mlp$/m);
    const declaredPage = join(folder, 'declared.html');
    const report = await runCommand(['report', ...both, '--order', order, '--out', declaredPage]);
    expect(report.stdout).toContain('first that differs: layers.2.mlp');
    expect(readFileSync(declaredPage, 'utf8')).toContain(`--order ${order}`);
    const short = join(folder, 'short.txt');
    writeFileSync(short, 'tok\n');
    const refused = await runCommand(['diff', ...both, '--order', short]);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining('an order that has every tap'),
    ]);
  });

  it('takes the order of the map, and refuses one that lacks a tap', async () => {
    const folder = temporaryFolder();
    pythonJson(['-c', WRITE, folder]);
    const map = join(folder, 'map.json');
    const rules = [
      { from: 'head', tap: 'lm_head' },
      { from: 'tok', tap: 'embed_tokens' },
      { from: 'layers.{l}.mlp', tap: 'layers.{l}.mlp' },
    ];
    const args = [
      'import',
      join(folder, 'a.safetensors'),
      '--map',
      map,
      '--drop-unmapped',
      '--tokens',
      '1,2,3',
    ];
    writeFileSync(
      map,
      JSON.stringify({ name: 'm', rules, order: ['embed_tokens', 'layers.{l}.mlp', 'lm_head'] }),
    );
    const out = join(folder, 'mapped');
    expect((await runCommand([...args, '--out', out])).stdout).toContain('14, in the order declared');
    const names = (await opened(out)).taps.map(({ name }) => name);
    expect(names).toEqual([
      'embed_tokens',
      ...Array.from({ length: 12 }, (_, l) => `layers.${l}.mlp`),
      'lm_head',
    ]);
    const short = join(folder, 'short.json');
    writeFileSync(short, JSON.stringify(['embed_tokens', 'layers.{l}.mlp']));
    const refused = await runCommand([...args, '--out', join(folder, 'x'), '--order', short]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('expected an order that has every tap, got none for 1: lm_head');
    mkdirSync(join(folder, 'dir'));
    expect(
      (await runCommand([...args, '--out', join(folder, 'x'), '--order', join(folder, 'dir')])).code,
    ).toBe(2);
  });
});
