import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { rowStats } from '../../src/dump/row-stats.js';
import { DumpWriter } from '../../src/dump/writer.js';
import type { PackHead } from '../../src/report/build/pack-views.js';
import type { PageData } from '../../src/report/page/data.js';
import { unpackViews } from '../../src/report/page/tensor.js';
import { createReport } from '../../src/report/report.js';
import { writeReport } from '../../src/report/write-report.js';
import { addTo, dumpWith, opened } from '../diff/two-dumps.js';
import { description, rowIndex, TAPS, temporaryFolder } from '../dump/dump-fixture.js';

/** The data of a page, as its script reads it. */
function pageData(html: string): PageData {
  return JSON.parse(/id="report-data">(.*?)<\/script>/s.exec(html)![1]!) as PageData;
}

/** Text of the pack of a number. */
function pack(html: string, at: number): string {
  return new RegExp(`id="pack-${at}">([^<]*)<`).exec(html)![1]!;
}

it('says outcome, first divergence and worst tap in one sentence', async () => {
  const reference = await dumpWith();
  const tested = await dumpWith({
    change: (tap, value, index) =>
      addTo('lm_head', 3, 40)(tap, addTo('embed_tokens', 2, 0.5)(tap, value, index), index),
  });
  const judged = await createReport(reference, tested, { failAbove: 1e-9 });
  expect(judged.outcome).toBe('FAIL');
  expect(judged.sentence).toMatch(
    /^2 of 7 taps are above energy NMSE 1e-9; first above it: embed_tokens \(NMSE [\d.e-]+\); worst: lm_head \(NMSE [\d.e-]+\)\.$/,
  );
  expect((await createReport(reference, tested)).outcome).toBe('NOT JUDGED');
  expect((await createReport(reference, tested, { failAbove: 1 })).outcome).toBe('PASS');
  const same = await createReport(reference, await dumpWith());
  expect([same.outcome, same.sentence]).toEqual(['PASS', 'All 7 taps are identical.']);
});

it('names what could not be paired, and fails', async () => {
  const reference = await dumpWith();
  const tested = await dumpWith({ manifest: { taps: TAPS.slice(0, 3) } });
  const { outcome, html } = await createReport(reference, tested, { failAbove: 1 });
  expect(outcome).toBe('FAIL');
  expect(pageData(html).unpaired.rows.map(([tap]) => tap)).toEqual(TAPS.slice(3).map(({ name }) => name));
  expect(html).toContain('4 entries could not be paired; they are listed below.');
});

it('refuses dumps that share no tap', async () => {
  const reference = await dumpWith({ manifest: { taps: TAPS.slice(0, 1) } });
  const tested = await dumpWith({ manifest: { taps: TAPS.slice(1, 2) } });
  await expect(createReport(reference, tested)).rejects.toMatchObject({
    code: 'UNPAIRED',
    message: expect.stringContaining('none of 1 and 1 in common'),
  });
});

it('shows every element of a small tensor within the precision it states, and where both are equal', async () => {
  const reference = await dumpWith();
  const tested = await dumpWith({ change: addTo('lm_head', 9, -2) });
  const { html } = await createReport(reference, tested);
  const data = pageData(html);
  const at = data.taps.rows.findIndex(([tap]) => tap === 'lm_head');
  const views = await unpackViews(pack(html, data.packs[at]!));
  const view = views.get('lm_head')!;
  const { data: values } = await reference.read('lm_head');
  expect([view.view.gridRows, view.view.gridColumns]).toEqual([6, 7]);
  expect(view.rows.position).toEqual([0, 1, 2, 3, 4, 5]);
  expect(view.rows.token).toEqual([11, 12, 13, 14, 15, 16]);
  const range = view.view.values.most - view.view.values.least;
  for (const [k, value] of values.entries())
    expect(Math.abs(view.reference[k]! - value)).toBeLessThanOrEqual(0.002 * range);
  expect(view.difference[9]).toBeCloseTo(-2, 12);
  expect(view.difference.filter((value) => value === 0)).toHaveLength(values.length - 1);
});

it('marks NaN and infinity of either side, and stays valid JSON', async () => {
  const reference = await dumpWith({ change: addTo('lm_head', 4, Number.POSITIVE_INFINITY) });
  const tested = await dumpWith({
    change: (tap, value, index) =>
      addTo('lm_head', 4, Number.POSITIVE_INFINITY)(
        tap,
        addTo('lm_head', 8, Number.NaN)(tap, value, index),
        index,
      ),
  });
  const { html, sentence } = await createReport(reference, tested, { failAbove: 1e-3 });
  expect(sentence).toContain('lm_head (not finite: reference 1 infinity, tested 1 NaN and 1 infinity)');
  const data = pageData(html);
  const at = data.taps.rows.findIndex(([tap]) => tap === 'lm_head');
  const cell = (key: string) =>
    data.taps.rows[at]![data.taps.columns.findIndex((column) => column.key === key)];
  expect(cell('error')).toBe('Infinity');
  expect(cell('notFinite')).toBe('1 / 2');
  const view = (await unpackViews(pack(html, data.packs[at]!))).get('lm_head')!;
  expect(view.marks[4]).toBe('Infinity, Infinity');
  expect(view.difference[4]).toBe(0);
  expect(view.marks[8]).toBe('finite, NaN');
  expect(view.difference[8]).toBeNaN();
});

it('shows partial dumps up to where they reach', async () => {
  const reference = await dumpWith();
  const tested = await dumpWith({ steps: [[0, 4]], unfinished: true });
  const { outcome, html } = await createReport(reference, tested);
  expect(outcome).toBe('FAIL');
  expect(html).toContain('The tested dump is partial: its producer did not finish.');
  const head = gunzipSync(Buffer.from(pack(html, 0), 'base64'));
  const { views } = JSON.parse(head.subarray(4, 4 + head.readUInt32LE(0)).toString()) as PackHead;
  expect(views[0]!.rows).toBe(4);
});

it('shows logits alone', async () => {
  const options = { manifest: { taps: TAPS.slice(-1), selection: { taps: 'lm_head', positions: 'all' } } };
  const { html, tensorTaps } = await createReport(await dumpWith(options), await dumpWith(options));
  expect(tensorTaps).toBe(1);
  expect(pageData(html).logits.rows).toHaveLength(6);
});

it('compares statistics and hashes without tensors', async () => {
  const tap = TAPS[0]!;
  const index = rowIndex(0, 2, 0);
  const dumpOf = async (tier: 'stats' | 'hash', scale: number) => {
    const dir = join(temporaryFolder(), tier);
    const values = Float32Array.from({ length: 12 }, (_, k) => scale * k);
    await using writer = await DumpWriter.create(
      dir,
      description({ tier, taps: [tap], sequences: [{ tokens: [11, 12] }] }),
    );
    if (tier === 'hash') await writer.appendHash(0, 0, 2, new Map([[tap.name, String(scale).repeat(64)]]));
    else
      await writer.appendStats(
        index,
        new Map([[tap.name, { count: 6, values: rowStats(values, 'F32', 6) }]]),
      );
    await writer.finish();
    return opened(dir);
  };
  const statistics = await createReport(await dumpOf('stats', 1), await dumpOf('stats', 2), {
    failAbove: 0.1,
  });
  expect(statistics.sentence).toContain('embed_tokens (NMSE at least 1.0e+0)');
  const hashes = await createReport(await dumpOf('hash', 1), await dumpOf('hash', 2));
  expect(hashes.sentence).toContain('embed_tokens (differing: 1 hash)');
  for (const { html, tensorTaps } of [statistics, hashes]) {
    expect(tensorTaps).toBe(0);
    expect(pageData(html).packs).toEqual([null]);
    expect(html).toContain('there are no tensor views');
  }
});

it('is written whole or not at all, and replaces a file only when told to', async () => {
  const file = join(temporaryFolder(), 'report.html');
  writeFileSync(file, 'mine');
  await expect(writeReport(file, '<!doctype html>')).rejects.toMatchObject({ code: 'IO' });
  expect(readFileSync(file, 'utf8')).toBe('mine');
  expect(await writeReport(file, '<!doctype html>', true)).toBe(15);
  expect(readFileSync(file, 'utf8')).toBe('<!doctype html>');
  expect(readdirSync(dirname(file))).toEqual(['report.html']);
  await expect(writeReport(dirname(file), '', true)).rejects.toMatchObject({ code: 'IO' });
});
