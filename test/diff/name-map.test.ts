import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import type { TapSpec } from '../../src/dump/format.js';
import { importDump } from '../../src/dump/import/import-dump.js';
import { openForeignSource } from '../../src/dump/import/open-source.js';
import { NAME_MAPS } from '../../src/dump/names/file.js';
import type { NameMap } from '../../src/dump/names/name-map.js';
import type { Dump } from '../../src/dump/reader.js';
import { runCommand } from '../cli/run-command.js';
import { temporaryFolder } from '../dump/dump-fixture.js';
import { NOT_IN_PORT, PORT_VOCABULARY, portValues, writePortFolder } from '../dump/import/port-folder.js';
import { dumpWith, opened } from './two-dumps.js';

const referenceFolder = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'reference-float32');
const importer = { name: 'test', version: '1' };

/** A dump with the names and layouts of the llama.cpp port: nothing is mapped on the way in. */
async function portDump(
  reference: Dump,
  change?: (name: string, data: Float32Array) => void,
): Promise<string> {
  const folder = temporaryFolder();
  const port = join(folder, 'port');
  const out = join(folder, 'dump');
  const values = await portValues(reference);
  for (const { name, data } of values) if (data instanceof Float32Array) change?.(name, data);
  mkdirSync(port);
  writePortFolder(port, values, reference.manifest.sequences[0]!.tokens!);
  await using source = await openForeignSource(port);
  await importDump(source, { out, map: { name: 'none', rules: [] }, unmapped: 'keep', importer });
  return out;
}

describe('a diff through a name map', () => {
  it('finds all pairs of a port with its own names and layouts identical', async () => {
    const reference = await opened(referenceFolder);
    const tested = await opened(await portDump(reference));
    expect(tested.taps.some(({ name }) => name === 'QK_dw-4')).toBe(true);
    const report = await diffDumps(reference, tested, { map: NAME_MAPS.llamacpp!, failAbove: 0 });
    const expected = reference.taps
      .map(({ name }) => name)
      .filter((name) => !NOT_IN_PORT.test(name) || /qk_norm/.test(name));
    expect(report.tapReports.map(({ name }) => name)).toEqual(expected);
    expect(report.tapReports.filter(({ identical }) => !identical)).toEqual([]);
    expect(report).toMatchObject({ pass: true, unpaired: [] });
    expect(report.notCaptured).toEqual([
      expect.objectContaining({ side: 'tested', taps: reference.taps.length - expected.length }),
    ]);
    expect(report.logits?.top1Agreement).toBe(1);
    expect(report.routing?.flipped).toBe(0);
  });

  it('puts an error where it is, in the axes of the reference', async () => {
    const reference = await opened(referenceFolder);
    const T = 56;
    const tested = await opened(
      await portDump(reference, (name, data) => {
        // Time is the fastest axis and one lead row comes first: channel 5, position 9.
        if (name === 'QK_dw-4') data[5 * (T + 1) + 10]! += 1;
        if (name === 'result_output') data[3 * PORT_VOCABULARY + 200]! += 1;
      }),
    );
    const { tapReports } = await diffDumps(reference, tested, { map: NAME_MAPS.llamacpp! });
    const different = tapReports.filter(({ identical }) => !identical);
    expect(different).toMatchObject([
      { name: 'layers.2.self_attn.qkv_proj.conv_qk_depthwise', worst: { position: 9, index: [5] } },
      { name: 'lm_head', worst: { position: 3, index: [200] } },
    ]);
  });

  it('lists a value whose layout is another than the map says', async () => {
    const reference = await opened(referenceFolder);
    const tested = await opened(await portDump(reference));
    const map = {
      name: 'wrong',
      rules: [{ from: 'QK_dw-0', tap: 'layers.0.self_attn.qkv_proj.conv_qk_depthwise' }],
    };
    const report = await diffDumps(reference, tested, { map, taps: 'layers.0.**' });
    expect(report.pass).toBe(false);
    expect(report.unpaired).toContainEqual(
      expect.objectContaining({
        tap: 'layers.0.self_attn.qkv_proj.conv_qk_depthwise',
        reason: expect.stringMatching(/^has another layout: .*\[56, 160\], got \[160, 57\]/),
      }),
    );
  });

  it('takes part of a vocabulary only where the map says so', async () => {
    const reference = await opened(referenceFolder);
    const folder = temporaryFolder();
    const port = temporaryFolder();
    writePortFolder(port, await portValues(reference), reference.manifest.sequences[0]!.tokens!);
    const imported = async (name: string, map: NameMap, targets?: readonly TapSpec[]): Promise<Dump> => {
      const out = join(folder, name);
      await using source = await openForeignSource(port);
      const known = targets === undefined ? {} : { targets };
      await importDump(source, { out, map, unmapped: 'drop', importer, ...known });
      return opened(out);
    };
    const silent = await imported('silent', {
      name: 'silent',
      rules: [{ from: 'result_output', tap: 'lm_head' }],
    });
    const strict = await diffDumps(reference, silent, { taps: 'lm_head' });
    expect(strict.unpaired).toMatchObject([{ tap: 'lm_head', reason: 'has rows of shape [259] and [257]' }]);
    const tested = await imported('said', NAME_MAPS.llamacpp!, reference.taps);
    // An import remembers what its map said.
    for (const map of [{}, { map: NAME_MAPS.llamacpp! }]) {
      const report = await diffDumps(reference, tested, { failAbove: 0, ...map });
      expect(report).toMatchObject({ pass: true, unpaired: [] });
      expect(report.tapReports.filter(({ identical }) => !identical)).toEqual([]);
      expect(report.tapReports.map(({ name }) => name)).toContain('lm_head');
    }
  });

  it('refuses dumps without tensors', async () => {
    const reference = await dumpWith();
    const stats = { dir: 'x', manifest: { ...reference.manifest, tier: 'stats' } } as unknown as Dump;
    await expect(diffDumps(reference, stats, { map: NAME_MAPS.zaya! })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('tier stats'),
    });
  });

  it('is a command line option', async () => {
    const reference = await opened(referenceFolder);
    const tested = await portDump(reference);
    const args = ['diff', referenceFolder, tested, '--fail-above', '0'];
    expect((await runCommand(args)).code).toBe(1);
    const mapped = await runCommand([...args, '--map', 'llamacpp']);
    expect(mapped).toMatchObject({ code: 0, stderr: '' });
    expect(mapped.stdout).toContain('does not say which weights it is of');
    expect((await runCommand([...args, '--map', 'other'])).stderr).toMatch(
      /BAD_ARGUMENT: readNameMap: expected zaya, /,
    );
  });
});
