/** Files that a program reads without complaint and wrongly; they are written by numpy. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonJson, root } from '../reference/python.js';
import { runCommand } from './run-command.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-hostile-'));
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  const program = [
    'import json, numpy as np',
    'from safetensors.numpy import save_file',
    `d = ${JSON.stringify(`${folder}/`)}`,
    'np.array([5, 6, 7, 8], "<i8").tofile(d + "ids64.bin")',
    'np.array([5, 6, 7, 8], "<i4").tofile(d + "ids32.bin")',
    'rows = np.random.default_rng(1).normal(size=(4, 20)).astype("f4")',
    'np.save(d + "rows.npy", rows)',
    'for bad, name in ((np.nan, "nan"), (-np.inf, "inf")):',
    '    other = rows.copy(); other[1, 3] = bad; np.save(d + name + ".npy", other)',
    'rows[3].tofile(d + "logits.bin"); np.array([5, 6, 7, 8], "<i8").tofile(d + "logits-tokens.bin")',
    'for style in ("%.9e", "%.3e", "%.6f", "%.2f"):',
    '    open(d + "text" + style + ".txt", "w").write("".join(f"{i}: " + style % v + "\\n" for i, v in enumerate(rows[3])))',
    'save_file({"layers.0.x": np.ones((3, 4), "f4"), "layers.1.expert": np.full((3, 4), 2**60, "i8"), "lm_head": np.full((3, 4), 1e300)}, d + "big.safetensors")',
    'print(json.dumps("done"))',
  ];
  expect(pythonJson<string>(['-c', program.join('\n')])).toBe('done');
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('token ids of 64 bits', () => {
  it('are not read as I32 with zeros between', async () => {
    const { readTokenFile } = await import('../../src/cli/options/tokens.js');
    expect(await readTokenFile(file('ids32.bin'))).toEqual([5, 6, 7, 8]);
    await expect(readTokenFile(file('ids64.bin'))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(/every second one is 0, as I64 ids read .*ids64\.bin/),
    });
  });

  it('are refused beside logits, too', async () => {
    const { code, stderr } = await runCommand(['verify-logits', file('logits.bin'), file('logits.bin')]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/every second one is 0.*logits-tokens\.bin/)]);
  });
});

describe('logits in rows that are not compared', () => {
  it.each([
    ['nan', 'NaN'],
    ['inf', 'infinity'],
  ])('do not pass with %s', async (name, word) => {
    const fine = await runCommand(['verify-logits', file('rows.npy'), file('rows.npy')]);
    expect(fine.code).toBe(0);
    const { code, stdout } = await runCommand(['verify-logits', file('rows.npy'), file(`${name}.npy`)]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      new RegExp(`NOT FINITE: 1 value beside the logits compared.*1 ${word}.*position 1 \\[3\\]`),
    );
    expect(stdout).not.toMatch(/^PASS/m);
    const allowed = await runCommand([
      'verify-logits',
      file('rows.npy'),
      file(`${name}.npy`),
      '--allow-nonfinite',
    ]);
    expect(allowed.code).toBe(0);
    expect(allowed.stdout).toContain('allowed: 1 value');
  });
});

it.each([
  ['%.9e', undefined],
  ['%.3e', 'have 4 significant digits'],
  ['%.6f', 'have 6 decimals'],
  ['%.2f', 'have 2 decimals'],
])('says how precisely a text of %s is written', async (style, said) => {
  const { stdout } = await runCommand(['verify-logits', file(`text${style}.txt`), file(`text${style}.txt`)]);
  if (said === undefined) expect(stdout).not.toMatch(/decimals|digits/);
  else expect(stdout).toContain(said);
});

it('leaves nothing of an import that fails', async () => {
  const out = file('failed');
  const { code, stderr } = await runCommand([
    'import',
    file('big.safetensors'),
    '--keep-unmapped',
    '--out',
    out,
  ]);
  expect([code, stderr]).toEqual([2, expect.stringContaining('layers.1.expert')]);
  expect(existsSync(out)).toBe(false);
});

it('align says that a side is partial', async () => {
  const whole = join(root, 'dumps', 'tiny', 'reference-float32');
  const part = file('part');
  cpSync(whole, part, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(part, 'manifest.json'), 'utf8')) as object;
  writeFileSync(join(part, 'manifest.json'), JSON.stringify({ ...manifest, status: 'partial' }));
  const { stderr } = await runCommand(['align', whole, part, '--json']);
  expect(stderr).toMatch(/part is partial: its producer did not finish/);
});
