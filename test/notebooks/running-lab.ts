/** A JupyterLab with a copy of notebook 01 open in a browser. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { openBrowser } from '../browser.js';

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

/** A figure that is drawn. */
export const DRAWN = '.jp-Notebook .zayascope-figure:has(.main-svg)';

/** A copy of notebook 01, since saving would change the committed one, and the page that shows it. */
export class OpenNotebook {
  /** Requests beyond this computer. */
  readonly beyond: string[] = [];

  readonly lab: RunningLab;
  readonly page: Page;
  readonly #browser: Browser;
  readonly #copy: string;

  private constructor(lab: RunningLab, page: Page, browser: Browser, copy: string) {
    this.lab = lab;
    this.page = page;
    this.#browser = browser;
    this.#copy = copy;
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (/^(https?|wss?):$/.test(url.protocol) && url.hostname !== '127.0.0.1')
        this.beyond.push(request.url());
    });
  }

  /** @param name of the copy; each test file has its own. */
  static async open(name: string): Promise<OpenNotebook> {
    const copy = join(root, 'notebooks', `${name}.ipynb`);
    copyFileSync(join(root, 'notebooks', '01-quickstart.ipynb'), copy);
    const [lab, browser] = await Promise.all([startLab(), openBrowser()]);
    const context = await browser.newContext({ viewport: { width: 1400, height: 1000 } });
    const opened = new OpenNotebook(lab, await context.newPage(), browser, copy);
    await opened.page.goto(lab.url.replace('01-quickstart', name));
    await opened.isReady();
    return opened;
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await this.lab.stop();
    rmSync(this.#copy, { force: true });
  }

  /** The status bar says so: before the kernel is connected, running a cell asks which kernel to use. */
  async isReady(): Promise<void> {
    await this.page.getByText('TypeScript (Zayascope) | Idle').waitFor({ timeout: 60_000 });
  }

  async runAll(): Promise<void> {
    await this.page.getByRole('menuitem', { name: 'Run', exact: true }).click();
    await this.page.locator('[data-command="runmenu:run-all"]').click();
  }

  /** Waits until so many figures are drawn. */
  async drawn(count: number): Promise<void> {
    await this.page.waitForFunction(
      ([selector, least]) => globalThis.document.querySelectorAll(selector).length >= least,
      [DRAWN, count] as const,
      { timeout: 90_000 },
    );
  }

  /** What the kernel has written to standard error, counted by outputs. */
  async warnings(): Promise<number> {
    return await this.page
      .locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]')
      .count();
  }

  async save(): Promise<void> {
    await this.page.locator('[data-command="docmanager:save"]').first().click();
  }

  /** Figures in the file as it was saved. */
  savedFigures(): number {
    return readFileSync(this.#copy, 'utf8').split('zayascope-figure').length - 1;
  }

  /** The file without its outputs, as if another program had cleared them. */
  clearOutputs(): void {
    const notebook = JSON.parse(readFileSync(this.#copy, 'utf8')) as { cells: { outputs?: unknown[] }[] };
    for (const cell of notebook.cells) if (cell.outputs) cell.outputs = [];
    writeFileSync(this.#copy, JSON.stringify(notebook));
  }
}
