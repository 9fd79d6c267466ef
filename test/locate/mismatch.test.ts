/** Another prompt or another checkpoint is said first, and alone. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  capture,
  createReport,
  Dump,
  exportSafetensors,
  formatLocate,
  importDump,
  locateDumps,
  NAME_MAPS,
  noiseFloor,
  openForeignSource,
  openZaya,
} from '../../src/index.js';
import { root, runPython } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-mismatch-'));
const other = join(scratch, 'other');
const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };

/** Every matrix of the checkpoint with its rows in another order. */
const OTHER_WEIGHTS = `
import shutil, sys, pathlib
from safetensors.torch import load_file, save_file
source, target = map(pathlib.Path, sys.argv[1:])
shutil.copytree(source, target)
for file in target.glob("*.safetensors"):
    tensors = load_file(file)
    save_file({k: (v.flip(0).contiguous() if v.ndim > 1 else v * 1.5) for k, v in tensors.items()}, file, {"format": "pt"})
`;

/** Every weight off by 2 %, as of another step of the training. */
const NEAR_WEIGHTS = OTHER_WEIGHTS.replace('import shutil', 'import torch, shutil').replace(
  '(v.flip(0).contiguous() if v.ndim > 1 else v * 1.5)',
  '(v.float() * (1 + 0.02 * torch.randn(v.shape, generator=torch.Generator().manual_seed(1)))).to(v.dtype)',
);

const reference = await Dump.open(join(tiny, 'reference-float32'));

beforeAll(async () => {
  const { status, stderr } = runPython(['-c', OTHER_WEIGHTS, model, other]);
  expect(status, stderr).toBe(0);
  const changed = tokens.with(5, 12).with(9, 13);
  for (const [name, folder, ids] of [
    ['other-prompt', model, changed],
    ['other-weights', other, tokens],
  ] as const) {
    using opened = await openZaya(folder, { policy: 'f32', threads: 1 });
    await capture(opened, [ids], { out: join(scratch, name) });
  }
}, 60_000);
afterAll(async () => {
  await reference.close();
  rmSync(scratch, { recursive: true });
});

/** The values alone: nothing is known of the weights. */
async function imported(folder: string, out: string): Promise<void> {
  await using dump = await Dump.open(folder);
  const file = `${out}.safetensors`;
  await exportSafetensors(dump, '**', file);
  await using source = await openForeignSource(file);
  await importDump(source, { out, map: NAME_MAPS.zaya!, tokens, importer: { name: 'test', version: '1' } });
}

async function verdict(folder: string, withModel: string | undefined = model): Promise<string[]> {
  await using tested = await Dump.open(folder);
  const report = await locateDumps(reference, tested, withModel);
  expect(report).toMatchObject({ found: true, firstFault: null, kinds: [], ops: [] });
  return formatLocate(report).split('\n');
}

it.each([model, undefined])('another prompt, with model %s', async (withModel) => {
  const lines = await verdict(join(scratch, 'other-prompt'), withModel);
  expect(lines).toHaveLength(3);
  expect(lines[1]).toBe(
    `DIFFERENT TOKENS  other-prompt ran another prompt than reference-float32: 2 of 56 tokens differ, first at position 5: token ${tokens[5]} became 12.`,
  );
});

it('a noise floor of another prompt is refused, by the report too', async () => {
  await using other = await Dump.open(join(scratch, 'other-prompt'));
  const refusal = {
    code: 'UNPAIRED',
    message: expect.stringContaining(
      `DIFFERENT TOKENS: other-prompt ran another prompt than reference-float32: 2 of 56 tokens differ, first at position 5`,
    ),
  };
  await expect(createReport(reference, reference, { noiseFloor: other })).rejects.toMatchObject(refusal);
  await expect(noiseFloor(reference, reference, other)).rejects.toMatchObject(refusal);
});

it('another checkpoint, by what the manifest says', async () => {
  const lines = await verdict(join(scratch, 'other-weights'));
  expect(lines).toHaveLength(3);
  expect(lines[1]).toMatch(
    /^DIFFERENT WEIGHTS {2}other-weights was made with other weights than the model's/,
  );
});

it('another checkpoint, by what its values say', async () => {
  const out = join(scratch, 'imported');
  await imported(join(scratch, 'other-weights'), out);
  expect((await verdict(out))[1]).toMatch(/^DIFFERENT WEIGHTS {2}imported was made with other weights/);
});

it('another checkpoint that differs little, by the ops without weights, which are right', async () => {
  const near = join(scratch, 'near');
  const { status, stderr } = runPython(['-c', NEAR_WEIGHTS, model, near]);
  expect(status, stderr).toBe(0);
  using opened = await openZaya(near, { policy: 'f32', threads: 1 });
  await capture(opened, [tokens], { out: join(scratch, 'near-weights') });
  const out = join(scratch, 'near-imported');
  await imported(join(scratch, 'near-weights'), out);
  expect((await verdict(out))[1]).toMatch(
    /^DIFFERENT WEIGHTS {2}near-imported was made with other weights than the model's: 28 of 28 kinds/,
  );
});

it('a reference of another checkpoint is not taken for a right one', async () => {
  await using tested = await Dump.open(join(tiny, 'reference-float32'));
  const { mismatch } = await locateDumps(reference, tested, other);
  expect(mismatch).toMatchObject({ kind: 'weights', sentence: expect.stringContaining('reference-float32') });
});

it('an import without token ids is told what to do', async () => {
  await using dump = await Dump.open(join(tiny, 'reference-float32'));
  const file = join(scratch, 'no-tokens.safetensors');
  await exportSafetensors(dump, 'lm_head', file);
  await using source = await openForeignSource(file);
  const out = join(scratch, 'no-tokens');
  await importDump(source, { out, map: NAME_MAPS.zaya!, importer: { name: 'test', version: '1' } });
  await using tested = await Dump.open(out);
  await expect(locateDumps(reference, tested, model)).rejects.toThrow(/import.*--tokens/);
});
