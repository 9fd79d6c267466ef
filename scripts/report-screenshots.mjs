// Makes docs/images/report.png and report-tensors.png anew:
// `npm run build && node scripts/report-screenshots.mjs`. Needs Chromium (ZAYASCOPE_CHROMIUM names another
// one than Debian's).
import { mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { capture, createReport, Dump, openZaya, writeReport } from 'zayascope';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const TINY = 'dumps/tiny';
const TAP = 'layers.0.mlp.experts:down';

const reference = await Dump.open(`${TINY}/reference-float32`);
const model = await openZaya(`${TINY}/model`, { policy: 'bf16-weights' });
const tokens = reference.manifest.sequences.map((sequence) => [...sequence.tokens]);
await capture(model, tokens, { out: 'out/bf16-weights', overwrite: true });
model.close();
const tested = await Dump.open('out/bf16-weights');
const noiseFloor = await Dump.open(`${TINY}/reference-bfloat16`);
const { html, sentence } = await createReport(reference, tested, { failAbove: 1e-4, noiseFloor });
await writeReport('out/report.html', html, true);
console.log(sentence);

const browser = await chromium.launch({
  executablePath: process.env.ZAYASCOPE_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
mkdirSync('docs/images', { recursive: true });
const url = pathToFileURL('out/report.html').href;
for (const [colorScheme, hash, shoot] of [
  ['light', '', (page) => page.screenshot({ path: 'docs/images/report.png' })],
  [
    'dark',
    `#tap=${encodeURIComponent(TAP)}`,
    (page) => page.locator('#tap').screenshot({ path: 'docs/images/report-tensors.png' }),
  ],
]) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 900 } });
  await page.goto(`${url}${hash}`);
  await page
    .locator(hash === '' ? '[data-figure="0"] .points path' : '#tap-errors .bars')
    .first()
    .waitFor();
  await shoot(page);
  await page.close();
}
await browser.close();
for (const dump of [reference, tested, noiseFloor]) await dump.close();
rmSync('out/bf16-weights', { recursive: true });
