import { afterAll, beforeAll, expect, it } from 'vitest';
import { chromiumPath, describeWith } from '../system-package.js';
import { DRAWN, OpenNotebook } from './running-lab.js';

describeWith('Chromium', chromiumPath() !== undefined, 'JupyterLab', () => {
  let notebook: OpenNotebook;

  beforeAll(async () => {
    notebook = await OpenNotebook.open('copy-of-01-quickstart');
  });
  afterAll(() => notebook?.close());

  it('refuses who has no token', async () => {
    const { status } = await fetch(new URL('/api/contents', notebook.lab.url));
    expect(status).toBe(403);
  });

  it('opens notebook 01, runs all its cells, and the plots appear', async () => {
    await notebook.runAll();
    await notebook.drawn(4);
    expect(await notebook.warnings()).toBe(0);
  });

  it('shows them again after the notebook was saved and the page loaded anew', async () => {
    await notebook.save();
    await expect.poll(() => notebook.savedFigures(), { timeout: 10_000 }).toBeGreaterThanOrEqual(4);
    await notebook.page.reload();
    await notebook.drawn(4);
    expect(await notebook.page.getByText('A script draws this figure').count()).toBe(0);
  });

  it('needs nothing from the network', () => {
    expect(notebook.beyond).toEqual([]);
  });

  it('draws the plots dark in the dark theme', async () => {
    const { page } = notebook;
    const background = () =>
      page
        .locator(DRAWN)
        .first()
        .locator('.main-svg')
        .first()
        .evaluate((svg) => globalThis.getComputedStyle(svg).background);
    const light = await background();
    await page.evaluate(() => globalThis.document.body.setAttribute('data-jp-theme-light', 'false'));
    await expect.poll(background).not.toBe(light);
  });
});
