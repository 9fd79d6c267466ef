import { afterAll, beforeAll, expect, it } from 'vitest';
import { chromiumPath, describeWith } from '../system-package.js';
import { DRAWN, OpenNotebook } from './running-lab.js';

describeWith('Chromium', chromiumPath() !== undefined, 'JupyterLab', () => {
  let notebook: OpenNotebook;

  beforeAll(async () => {
    notebook = await OpenNotebook.open('copy-of-01-run-again');
  });
  afterAll(() => notebook?.close());

  it('shows the plots when all is run again in a page that was loaded anew without them', async () => {
    await notebook.runAll();
    await notebook.drawn(4);
    await notebook.save();
    await expect.poll(() => notebook.savedFigures(), { timeout: 10_000 }).toBeGreaterThanOrEqual(4);
    // The kernel has sent the script of the figures to the page as it was before.
    notebook.clearOutputs();
    await notebook.page.reload();
    await notebook.isReady();
    expect(await notebook.page.locator(DRAWN).count()).toBe(0);
    await notebook.runAll();
    await notebook.drawn(4);
    expect(await notebook.warnings()).toBe(0);
    expect(notebook.beyond).toEqual([]);
  });
});
