import { describe, expect, it } from 'vitest';
import { isDark } from '../../src/plot/page/is-dark.js';
import { plotConfig, tapOf } from '../../src/plot/page/plotly.js';
import { themedLayout } from '../../src/plot/page/themed-layout.js';
import { DARK, LIGHT } from '../../src/plot/theme.js';

/** An element with these attributes. */
const element = (attributes: Record<string, string> = {}) => ({
  getAttribute: (name: string) => attributes[name] ?? null,
});

describe('the theme of a page', () => {
  it.each([
    ['the system', {}, {}, true, true],
    ['the system, light', {}, {}, false, false],
    ['the page', { 'data-theme': 'light' }, {}, true, false],
    ['VS Code', { 'data-theme': 'light' }, { 'data-vscode-theme-kind': 'vscode-high-contrast' }, false, true],
    ['VS Code, light', {}, { 'data-vscode-theme-kind': 'vscode-light' }, true, false],
    ['JupyterLab', {}, { 'data-jp-theme-light': 'false', 'data-vscode-theme-kind': 'light' }, false, true],
    ['JupyterLab, light', { 'data-theme': 'dark' }, { 'data-jp-theme-light': 'true' }, true, false],
  ])('is that of %s', (_, root, body, system, dark) => {
    expect(isDark(element(root), element(body), system)).toBe(dark);
  });

  it('is known before the page has a body', () => {
    expect(isDark(element({ 'data-theme': 'dark' }), null, false)).toBe(true);
  });

  it('colours a layout, and leaves what the figure says itself', () => {
    const layout = { yaxis2: { automargin: false, showgrid: false }, font: { size: 9 }, margin: { l: 1 } };
    const themed = themedLayout({ title: 'Errors', layout }, DARK);
    expect(themed).toMatchObject({
      paper_bgcolor: DARK.paper,
      font: { size: 9, color: DARK.text },
      margin: { l: 1 },
      title: { text: 'Errors', x: 0 },
      xaxis: { gridcolor: DARK.grid, automargin: true },
      yaxis2: { automargin: false, linecolor: DARK.line },
    });
    expect(themed.yaxis2).not.toHaveProperty('gridcolor');
    expect(themedLayout({ title: 'a', layout: { title: { text: 'b', x: 1 } } }, LIGHT).title).toMatchObject({
      text: 'b',
      x: 1,
    });
  });
});

it('finds the tap of a point', () => {
  expect(tapOf({ customdata: 'lm_head' })).toBe('lm_head');
  expect(tapOf({ customdata: ['lm_head', 3] })).toBe('lm_head');
  for (const customdata of [undefined, '', 3, [3], []]) expect(tapOf({ customdata })).toBeUndefined();
});

it('gives a figure buttons that download it, and none that sends it anywhere', () => {
  const downloads: unknown[] = [];
  const plotly = {
    Icons: { camera: {} },
    downloadImage: (_: unknown, options: unknown) => downloads.push(options),
  };
  Object.assign(globalThis, { Plotly: plotly });
  try {
    const config = plotConfig('nmse-per-tap');
    expect(config).toMatchObject({ showSendToCloud: false, plotlyServerURL: '' });
    const buttons = config.modeBarButtonsToAdd as { title: string; click(element: object): void }[];
    expect(buttons.map(({ title }) => title)).toEqual(['Download as SVG', 'Download as PNG']);
    for (const { click } of buttons) click({ getBoundingClientRect: () => ({ width: 640, height: 480 }) });
    expect(downloads).toEqual([
      { format: 'svg', width: 640, height: 480, scale: 1, filename: 'nmse-per-tap' },
      { format: 'png', width: 640, height: 480, scale: 3, filename: 'nmse-per-tap' },
    ]);
  } finally {
    Reflect.deleteProperty(globalThis, 'Plotly');
  }
});
