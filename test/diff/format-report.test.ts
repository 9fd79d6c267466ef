import { expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatComparison } from '../../src/diff/format/comparison.js';
import { formatReport } from '../../src/diff/format/report.js';
import { reportToJson } from '../../src/diff/report.js';
import type { TapSpec } from '../../src/dump/format.js';
import { TAPS } from '../dump/dump-fixture.js';
import { addTo, dumpWith } from './two-dumps.js';

it('leads with the verdict and the first divergence, then a line per block', async () => {
  const report = await diffDumps(await dumpWith(), await dumpWith({ change: addTo('lm_head', 8, 2) }), {
    failAbove: 1e-6,
  });
  const lines = formatReport(report).split('\n');
  expect(lines[0]).toBe('dump (reference, f32) against dump (f32)');
  expect(lines[1]).toBe('FAIL  energy NMSE at most 0.000001; 7 taps compared, 6 identical, 0 unpaired');
  expect(lines[2]).toMatch(
    /^first above the threshold: lm_head {2}NMSE \d\.\de-\d, largest error 2\.0e\+0 at position 1 \[1\]: 24 and 26$/,
  );
  expect(lines.slice(4, 9).map((line) => line.split(/ {2,}/))).toEqual([
    ['block', 'taps', 'identical', 'worst NMSE', 'last NMSE', 'differing', 'worst tap'],
    ['input', '1', '1', '0', '0', '0'],
    ['0', '3', '3', '0', '0', '0'],
    ['1', '2', '2', '0', '0', '0'],
    ['output', '1', '0', expect.stringMatching(/e-/), expect.stringMatching(/e-/), '0', 'lm_head'],
  ]);
  expect(lines.at(-1)).toMatch(/^logits: 6 tokens, KL mean/);
});

it('says that all is identical, and names no threshold where there is none', async () => {
  const text = formatReport(await diffDumps(await dumpWith(), await dumpWith()));
  expect(text).toContain(
    'PASS  no limit given (--fail-above); 7 taps compared, 7 identical, 0 unpaired\nevery compared value is identical\n',
  );
});

it('lists what is unpaired and what was not captured, a few unless verbose', async () => {
  const taps = Array.from({ length: 15 }, (_, k): TapSpec => ({ ...TAPS[0]!, name: `tap${k}` }));
  const report = await diffDumps(
    await dumpWith({ manifest: { taps } }),
    await dumpWith({
      manifest: { taps: taps.slice(0, 2), selection: { taps: 'tap{0..12}', positions: 'all' } },
    }),
  );
  const brief = formatReport(report);
  expect(brief).toContain('unpaired  tap2 is missing in the tested dump\n');
  expect(brief).toContain(
    '... and 1 more unpaired\nnot captured by the tested (taps tap{0..12}, positions all): 2 taps, 0 rows',
  );
  expect(formatReport(report, { verbose: true }).match(/^unpaired/gm)).toHaveLength(11);
});

it('lists every tap when verbose, and marks those above the threshold', async () => {
  const report = await diffDumps(await dumpWith(), await dumpWith({ change: addTo('lm_head', 8, 2) }), {
    failAbove: 1e-6,
  });
  const lines = formatReport(report, { verbose: true }).split('\n');
  for (const { name } of TAPS) expect(lines.filter((line) => line.startsWith(`${name} `))).toHaveLength(1);
  expect(lines.filter((line) => line.endsWith('above')).map((line) => line.split(' ')[0])).toEqual([
    'lm_head',
  ]);
});

it('stays a screenful for a model of 40 blocks of 60 taps', async () => {
  const taps = Array.from(
    { length: 2400 },
    (_, k): TapSpec => ({
      ...{ dtype: 'F32', scope: 'token', axes: ['T'], shape: [] },
      name: `layers.${Math.floor(k / 60)}.self_attn.qkv_proj:tap_${k}`,
      block: Math.floor(k / 60),
    }),
  );
  const change = addTo('layers.7.self_attn.qkv_proj:tap_431', 0, 1);
  const report = await diffDumps(
    await dumpWith({ manifest: { taps } }),
    await dumpWith({ manifest: { taps }, change }),
  );
  const lines = formatReport(report).split('\n');
  expect(lines.length).toBeLessThan(50);
  const table = lines.slice(lines.findIndex((line) => line.startsWith('block ')));
  expect(Math.max(...table.map((line) => line.length))).toBeLessThan(100);
  expect(lines.some((line) => /^7 .*self_attn\.qkv_proj:tap_431$/.test(line))).toBe(true);
});

it('uses colour only when asked to, without moving a column', async () => {
  const report = await diffDumps(await dumpWith(), await dumpWith({ change: addTo('lm_head', 8, 2) }), {
    failAbove: 1e-6,
  });
  const plain = formatReport(report, { verbose: true });
  const colored = formatReport(report, { verbose: true, color: true });
  expect(plain).not.toContain('\u001b');
  expect(colored).toContain('\u001b[31mFAIL\u001b[0m');
  const stripped = colored.split('\u001b').map((part) => part.replace(/^\[\d+m/, ''));
  expect(stripped.join('')).toBe(plain);
  expect(plain.split('\n').filter((line) => line.endsWith(' '))).toEqual([]);
});

it('puts several diffs side by side, block by block', async () => {
  const reference = await dumpWith();
  const same = await diffDumps(reference, await dumpWith());
  const worse = await diffDumps(reference, await dumpWith({ change: addTo('embed_tokens', 0, 3) }), {
    failAbove: 0,
  });
  const part = await diffDumps(reference, await dumpWith(), { taps: 'layers.1.*' });
  const text = formatComparison([
    { title: 'f32', report: same },
    { title: 'bf16', report: worse },
    { title: 'block 1', report: part },
  ]);
  const rows = text.split('\n').map((line) => line.trim().split(/ {2,}/));
  expect(rows[0]).toEqual(['block', 'f32', 'bf16', 'block 1']);
  expect(rows[2]).toEqual(['input', '0 / 0', expect.stringMatching(/^\d\.\de-\d \/ \d\.\de-\d$/), '·']);
  expect(rows.slice(3, 6)).toEqual([
    ['0', '0 / 0', '0 / 0', '·'],
    ['1', '0 / 0', '0 / 0', '0 / 0'],
    ['output', '0 / 0', '0 / 0', '·'],
  ]);
  expect(rows.at(-1)).toEqual(['PASS', 'FAIL', 'PASS']);
});

it('is JSON without NaN and infinities, which become strings', async () => {
  const report = await diffDumps(
    await dumpWith(),
    await dumpWith({ change: addTo('embed_tokens', 0, Number.NaN) }),
  );
  const parsed = JSON.parse(reportToJson(report));
  expect(parsed.tapReports[0].metrics).toMatchObject({ nmse: 'Infinity', snrDb: '-Infinity', cosine: 1 });
  expect(parsed.tapReports[0].worst.tested).toBe('NaN');
  expect(parsed.tapReports[1].metrics.snrDb).toBe('Infinity');
  expect(parsed).toMatchObject({ format: 'zayascope-diff', version: 1, pass: false, failAbove: null });
  expect(parsed.nonFinite).toMatchObject({ counted: 1, taps: 1, first: { tap: 'embed_tokens' } });
});
