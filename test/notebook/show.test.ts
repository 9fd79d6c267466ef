import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Figure } from '../../src/index.js';

const KERNEL = '/elsewhere/node_modules/tslab/dist/jupyter.js';
const { cache } = createRequire(import.meta.url);

interface Output {
  data: Record<string, string> & { 'application/vnd.plotly.v1+json'?: { data: unknown[]; layout: object } };
}

const sent: Output[] = [];

/** The notebook API as a fresh kernel sees it. */
async function freshApi() {
  vi.resetModules();
  return await import('../../src/notebook/show.js');
}

function startKernel(): void {
  const exports = { lastWriteDisplayData: (output: Output) => sent.push(output) };
  cache[KERNEL] = { exports } as unknown as NodeJS.Module;
}

const figure: Figure = {
  name: 'test',
  title: 'A </script> title',
  description: 'Two points.',
  data: [{ type: 'scatter', x: [1, 2], y: new Float32Array([0.5, Number.NaN]) }],
  layout: { xaxis: { title: { text: 'block' } } },
};

describe('in a notebook', () => {
  beforeEach(startKernel);
  afterEach(() => {
    delete cache[KERNEL];
    sent.length = 0;
  });

  it('the first figure brings plotly along, the next ones do not', async () => {
    const { show } = await freshApi();
    show([figure, figure]);
    show(figure);
    const sizes = sent.map(({ data }) => data['text/html']!.length);
    expect(sizes[0]).toBeGreaterThan(4e6);
    expect(Math.max(...sizes.slice(1))).toBeLessThan(5000);
    const ids = sent.map(({ data }) => /id="(zayascope-[^"]+)"/.exec(data['text/html']!)![1]);
    expect(new Set(ids).size).toBe(3);
  });

  it("a figure is sent in plotly's own MIME type too, as plain JSON", async () => {
    const { show } = await freshApi();
    show(figure);
    const own = sent[0]!.data['application/vnd.plotly.v1+json']!;
    expect(own.data).toEqual([{ type: 'scatter', x: [1, 2], y: [0.5, null] }]);
    expect(own.layout).toEqual({ title: { text: figure.title }, xaxis: { title: { text: 'block' } } });
    expect(sent[0]!.data['text/plain']).toBe('A </script> title. Two points.');
  });

  it('text keeps its columns and cannot become markup', async () => {
    const { show } = await freshApi();
    show('a  <b>');
    expect(sent[0]!.data['text/html']).toContain('>a  &lt;b&gt;</pre>');
    expect(sent[0]!.data['text/plain']).toBe('a  <b>');
  });

  it('tables escape their texts and shorten their numbers', async () => {
    const { showTable } = await freshApi();
    showTable([
      { tap: '<img onerror=x>', nmse: 1.23456e-7, tokens: 12345 },
      { tap: 'layers.0', nmse: 0.123456, extra: undefined },
    ]);
    const html = sent[0]!.data['text/html']!;
    expect(html).toContain('<td style="text-align:left">&lt;img onerror=x&gt;</td>');
    expect(html).toContain('<td style="text-align:right">1.23e-7</td>');
    expect(html).toContain('<td style="text-align:right">0.1235</td>');
    expect(html).toContain('<td style="text-align:right">12,345</td>');
    expect(html).toContain('<td style="text-align:right">–</td>');
    expect(html.match(/<th /g)).toHaveLength(4);
  });

  it('nothing to show is an error', async () => {
    const { show, showTable } = await freshApi();
    expect(() => show([])).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(() => show({ ...figure, data: [] })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(() => showTable([])).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});

describe('outside a notebook', () => {
  it('show says so', async () => {
    const { show } = await freshApi();
    expect(() => show('text')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT', op: 'show' }));
  });
});
