import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openBrowser } from '../browser.js';
import { chromiumPath, describeWith } from '../system-package.js';

const root = join(import.meta.dirname, '..', '..');

/** A JupyterLab as `npm run lab -- --no-browser` starts it, with settings of its own. */
interface RunningLab {
  url: string;
  stop(): Promise<void>;
}

async function startLab(): Promise<RunningLab> {
  const settings = mkdtempSync(join(tmpdir(), 'zayascope-lab-'));
  const lab = spawn(process.execPath, [join(root, 'scripts', 'lab.mjs'), '--no-browser'], {
    cwd: root,
    env: {
      ...process.env,
      JUPYTER_CONFIG_DIR: join(settings, 'config'),
      JUPYTER_DATA_DIR: join(settings, 'data'),
      JUPYTER_RUNTIME_DIR: join(settings, 'runtime'),
      JUPYTERLAB_SETTINGS_DIR: join(settings, 'lab'),
      JUPYTERLAB_WORKSPACES_DIR: join(settings, 'workspaces'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<void>((resolve) => lab.on('close', () => resolve()));
  try {
    return {
      url: await printedUrl(lab),
      async stop() {
        lab.kill('SIGTERM');
        await closed;
        rmSync(settings, { recursive: true, force: true });
      },
    };
  } catch (error) {
    lab.kill('SIGTERM');
    throw error;
  }
}

function printedUrl(lab: ChildProcess): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      const url = /http:\/\/127\.0\.0\.1:\d+\/\S+\?token=[0-9a-f]+/.exec(text);
      if (url) resolve(url[0]);
    };
    lab.stdout!.on('data', read);
    lab.stderr!.on('data', read);
    lab.on('close', (code) => reject(new Error(`lab.mjs exited with ${code} and no address: ${text}`)));
  });
}

/** Saving would change the committed one. */
const COPY = 'copy-of-01-quickstart';
const copy = join(root, 'notebooks', `${COPY}.ipynb`);

/** A figure that is drawn. */
const DRAWN = '.jp-Notebook .zayascope-figure:has(.main-svg)';

describeWith('Chromium', chromiumPath() !== undefined, 'JupyterLab', () => {
  let lab: RunningLab;
  let browser: Browser;
  let page: Page;
  const beyond: string[] = [];

  beforeAll(async () => {
    copyFileSync(join(root, 'notebooks', '01-quickstart.ipynb'), copy);
    [lab, browser] = await Promise.all([startLab(), openBrowser()]);
    const context = await browser.newContext({ viewport: { width: 1400, height: 1000 } });
    page = await context.newPage();
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (/^(https?|wss?):$/.test(url.protocol) && url.hostname !== '127.0.0.1') beyond.push(request.url());
    });
  });

  afterAll(async () => {
    await browser?.close();
    await lab?.stop();
    rmSync(copy, { force: true });
  });

  const runAll = async (): Promise<void> => {
    await page.getByRole('menuitem', { name: 'Run', exact: true }).click();
    await page.locator('[data-command="runmenu:run-all"]').click();
  };
  const drawn = (count: number) =>
    page.waitForFunction(
      ([selector, least]) => globalThis.document.querySelectorAll(selector).length >= least,
      [DRAWN, count] as const,
      { timeout: 90_000 },
    );
  const warnings = () =>
    page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count();
  const savedFigures = () => readFileSync(copy, 'utf8').split('zayascope-figure').length - 1;

  it('refuses who has no token', async () => {
    const { status } = await fetch(new URL('/api/contents', lab.url));
    expect(status).toBe(403);
  });

  it('opens notebook 01, runs all its cells, and the plots appear', async () => {
    await page.goto(lab.url.replace('01-quickstart', COPY));
    // The status bar: before the kernel is connected, running a cell asks which kernel to use.
    await page.getByText('TypeScript (Zayascope) | Idle').waitFor({ timeout: 60_000 });
    await runAll();
    await drawn(4);
    expect(await warnings()).toBe(0);
  });

  it('shows them again after the notebook was saved and the page loaded anew', async () => {
    await page.locator('[data-command="docmanager:save"]').first().click();
    await expect.poll(() => savedFigures(), { timeout: 10_000 }).toBeGreaterThanOrEqual(4);
    await page.reload();
    await drawn(4);
    expect(await page.getByText('A script draws this figure').count()).toBe(0);
  });

  it('shows them when all is run again in a page that was loaded anew without them', async () => {
    // The kernel has sent the script of the figures to the page as it was before.
    const notebook = JSON.parse(readFileSync(copy, 'utf8')) as { cells: { outputs?: unknown[] }[] };
    for (const cell of notebook.cells) if (cell.outputs) cell.outputs = [];
    writeFileSync(copy, JSON.stringify(notebook));
    await page.reload();
    await page.getByText('TypeScript (Zayascope) | Idle').waitFor({ timeout: 60_000 });
    expect(await page.locator(DRAWN).count()).toBe(0);
    await runAll();
    await drawn(4);
    expect(await warnings()).toBe(0);
  });

  it('needs nothing from the network', () => {
    expect(beyond).toEqual([]);
  });

  it('draws the plots dark in the dark theme', async () => {
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
