import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import {
  Dump,
  exportSafetensors,
  importDump,
  NAME_MAPS,
  openForeignSource,
  openZaya,
} from '../../src/index.js';
import { modelNotes } from '../../src/locate/faults/notes.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-notes-'));
afterAll(() => rmSync(scratch, { recursive: true }));

it('calls weights different only where a dump says which it is of', async () => {
  await using reference = await Dump.open(join(tiny, 'reference-float32'));
  const values = join(scratch, 'values.safetensors');
  await exportSafetensors(reference, 'lm_head', values);
  await using source = await openForeignSource(values);
  const out = join(scratch, 'imported');
  await importDump(source, { out, map: NAME_MAPS.zaya!, importer: { name: 'test', version: '1' } });
  await using imported = await Dump.open(out);
  using model = await openZaya(join(tiny, 'model'), { policy: 'f32' });

  expect(await modelNotes(model, [reference, imported])).toEqual([]);
  const manifest = structuredClone(imported.manifest);
  manifest.model.weightsSha256 = '0'.repeat(64);
  expect(await modelNotes(model, [{ dir: out, manifest }])).toEqual([
    "DIFFERENT WEIGHTS: imported was made with other weights than the model's.",
  ]);
});
