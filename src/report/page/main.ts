/// <reference lib="dom" />

import type { plainText } from '../../plot/log-values.js';
import type { blockFigure } from './block-figure.js';
import type { formatCell } from './cell.js';
import type { PageColors } from './colors.js';
import type { CellValue, PageData, PageFigure } from './data.js';
import type { ShownTable, showTable } from './table.js';
import type { UnpackedView, unpackViews } from './tensor.js';
import type { tensorFigures } from './tensor-figures.js';

/** What the page is made of: functions whose sources stand beside it, and what draws a figure. */
export interface PageParts {
  formatCell: typeof formatCell;
  showTable: typeof showTable;
  unpackViews: typeof unpackViews;
  tensorFigures: typeof tensorFigures;
  blockFigure: typeof blockFigure;
  plainText: typeof plainText;
  colors: PageColors;
  /** Resolves when it is drawn. */
  draw(host: HTMLElement, figure: PageFigure): Promise<unknown>;
}

/** A plotly plot that tells of clicks. */
interface Plot extends HTMLElement {
  on?(event: 'plotly_click', listener: (event: { points: { customdata?: unknown }[] }) => void): void;
}

/**
 * Starts the page: tables and the first plots at once, other plots when they come into view, tensors when a tap is opened. Runs in the browser: its source is put into the page, so it uses
 * nothing but its argument.
 */
export function startPage(parts: PageParts): void {
  const { formatCell, showTable, unpackViews, tensorFigures, blockFigure, plainText, colors, draw } = parts;
  const byId = (id: string): HTMLElement => document.getElementById(id)!;
  const data = JSON.parse(byId('report-data').textContent!) as PageData;
  const packs = new Map<number, Promise<Map<string, UnpackedView>>>();
  const rowOf = new Map(data.taps.rows.map((row, at) => [row[0] as string, at]));
  let openTap: string | null = null;

  const plot = async (host: HTMLElement, figure: PageFigure): Promise<void> => {
    host.replaceChildren();
    const target: Plot = document.createElement('div');
    target.className = 'plot';
    target.style.height = `${typeof figure.layout.height === 'number' ? figure.layout.height : 380}px`;
    target.setAttribute('role', 'img');
    target.setAttribute('aria-label', figure.description);
    const clicked = document.createElement('output');
    clicked.className = 'zayascope-tap count';
    host.append(target, clicked);
    await draw(target, figure);
    target.on?.('plotly_click', ({ points: [point] }) => {
      const custom = point?.customdata;
      const tap = Array.isArray(custom) ? custom[0] : custom;
      if (typeof tap !== 'string' || !rowOf.has(tap)) return;
      if (figure.opens === 'tap') showTap(tap);
      else showBlock(data.taps.rows[rowOf.get(tap)!]![1]!, true, tap);
    });
  };

  /** The first figure is drawn at once, the others when they come near the window. */
  const later = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        later.unobserve(target);
        plot(target as HTMLElement, data.figures[Number((target as HTMLElement).dataset.figure)]!);
      }
    },
    { rootMargin: '300px' },
  );
  const [firstHost, ...otherHosts] = document.querySelectorAll<HTMLElement>('[data-figure]');
  const opened = Promise.all([
    firstHost === undefined ? undefined : plot(firstHost, data.figures[0]!),
    new Promise((resolve) => addEventListener('load', resolve)),
  ]);
  opened.then(() => {
    for (const host of otherHosts) later.observe(host);
    // Milliseconds from the start of loading until there is something to work with.
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });

  const table = (id: string, key: 'blocks' | 'unpaired' | 'routing' | 'logits', label: string): void => {
    const host = document.getElementById(id);
    if (host === null) return;
    const onOpen = key === 'blocks' ? { onOpen: (row: CellValue[]) => showBlock(blockOf(row), true) } : {};
    showTable(host, data[key], { label, limit: 60, format: formatCell, ...onOpen });
  };
  const taps: ShownTable = showTable(byId('taps-table'), data.taps, {
    label: 'Taps',
    limit: 60,
    format: formatCell,
    onOpen: (row) => showTap(row[0] as string),
  });
  table('blocks-table', 'blocks', 'Blocks');
  table('unpaired-table', 'unpaired', 'Unpaired');
  table('routing-table', 'routing', 'Routing flips');
  table('logits-table', 'logits', 'Logits');

  const choice = byId('block-choice') as HTMLSelectElement;
  const differing = byId('differing-only') as HTMLInputElement;
  const labels = data.blocks.rows.map((row) => String(row[0]));
  choice.append(new Option('all blocks', ''), ...labels.map((label) => new Option(label, label)));

  /** The entry of `block` in a tap's row: null for the taps of no block, of which there are two groups. */
  function blockOf(row: CellValue[]): CellValue {
    const label = String(row[0]);
    return /^\d+$/.test(label) ? Number(label) : label;
  }
  /** Label of a tap's group; taps of no block come before the first block or after it. */
  const firstBlock = data.taps.rows.findIndex((row) => row[1] !== null);
  const labelOf = (at: number): string => {
    const block = data.taps.rows[at]![1];
    if (block !== null) return String(block);
    if (labels.includes('no block')) return 'no block';
    return firstBlock === -1 || at < firstBlock ? 'input' : 'output';
  };
  const restrict = (): void => {
    const differs = new Set(
      data.taps.rows.filter((row) => {
        const [error, count] = ['error', 'differing'].map(
          (key) => row[data.taps.columns.findIndex((column) => column.key === key)],
        );
        return (error !== null && error !== 0) || (count !== null && count !== 0);
      }),
    );
    taps.restrict(
      (row) =>
        (choice.value === '' || labelOf(rowOf.get(row[0] as string)!) === choice.value) &&
        (!differing.checked || differs.has(row)),
    );
  };
  choice.addEventListener('change', () => showBlock(choice.value, false));
  differing.addEventListener('change', restrict);

  /** Shows the taps of a block (its label, its number, or the label of a tap's group through `tap`; '' for all) as a plot and in the table. */
  function showBlock(block: CellValue, scrolls: boolean, tap?: string): void {
    const label = tap === undefined ? String(block ?? '') : labelOf(rowOf.get(tap)!);
    choice.value = label;
    restrict();
    const host = byId('block-plot');
    host.replaceChildren();
    byId('block-title').textContent = label === '' ? 'Taps' : `Taps of ${nameOf(label)}`;
    if (label !== '') {
      const rows = data.taps.rows.filter((_, at) => labelOf(at) === label);
      plot(host, blockFigure(nameOf(label), data.taps, rows, colors, plainText));
    }
    if (scrolls) byId('taps').scrollIntoView({ block: 'start' });
  }
  function nameOf(label: string): string {
    return /^\d+$/.test(label) ? `block ${label}` : `the model's ${label}`;
  }

  function openPack(at: number): Promise<Map<string, UnpackedView>> {
    const known = packs.get(at) ?? unpackViews(byId(`pack-${at}`).textContent!.trim());
    packs.set(at, known);
    return known;
  }

  async function showTap(tap: string): Promise<void> {
    openTap = tap;
    const at = rowOf.get(tap)!;
    const row = data.taps.rows[at]!;
    taps.mark(row);
    byId('tap').hidden = false;
    byId('tap-title').textContent = tap;
    const facts = data.taps.columns.flatMap((column, k) => {
      if (k === 0 || row[k] === null) return [];
      const [term, value] = [document.createElement('dt'), document.createElement('dd')];
      term.textContent = column.label;
      term.title = column.help;
      value.textContent = formatCell(row[k]!, column.kind);
      const pair = document.createElement('div');
      pair.append(term, value);
      return [pair];
    });
    byId('tap-facts').replaceChildren(...facts);
    for (const [id, step] of [
      ['tap-before', -1],
      ['tap-after', 1],
    ] as const)
      (byId(id) as HTMLButtonElement).disabled = data.taps.rows[at + step] === undefined;
    history.replaceState(null, '', `#tap=${encodeURIComponent(tap)}`);
    const hosts = ['tap-grids', 'tap-values', 'tap-errors'].map(byId);
    for (const host of hosts) host.replaceChildren();
    const note = byId('tap-note');
    byId('tap').scrollIntoView({ block: 'start' });
    byId('tap-title').focus({ preventScroll: true });
    const pack = data.packs[at];
    if (pack === null || pack === undefined) {
      note.textContent = 'No tensors: the dumps do not hold both sides of this value.';
      return;
    }
    note.textContent = 'Unpacking…';
    const unpacked = await openPack(pack).then(
      (views) => views.get(tap),
      (error: unknown) => {
        note.textContent = `The tensors of this tap cannot be unpacked: ${error}`;
      },
    );
    if (unpacked === undefined || openTap !== tap) return;
    const { view } = unpacked;
    const width = view.shape.reduce((product, size) => product * size, 1);
    const pooled = view.gridRows < view.rows || view.gridColumns < width;
    const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
    note.textContent = `${counted(view.rows, view.scope)} × ${counted(width, 'element')}, ${
      pooled
        ? `pooled to ${view.gridRows} × ${view.gridColumns}: a cell shows the element of its rectangle that is largest in magnitude, and the largest difference`
        : 'every element shown'
    }. Where the difference is blank, both sides are the same.`;
    const figures = tensorFigures(unpacked, colors, innerWidth >= 900, plainText);
    for (const [k, figure] of figures.entries()) plot(hosts[k]!, figure);
    if (figures.length < hosts.length) hosts.at(-1)!.textContent = noErrors(view.histograms.notFinite);
  }

  function noErrors(notFinite: number): string {
    return notFinite === 0
      ? 'Errors: none; both sides are the same in every element sampled.'
      : `Errors: none that is finite; ${notFinite} of the elements sampled are not finite on one side.`;
  }

  const step = (by: number): void => {
    const next = openTap === null ? undefined : data.taps.rows[rowOf.get(openTap)! + by];
    if (next !== undefined) showTap(next[0] as string);
  };
  byId('tap-before').addEventListener('click', () => step(-1));
  byId('tap-after').addEventListener('click', () => step(1));
  byId('tap-block').addEventListener('click', () => {
    if (openTap !== null) showBlock(null, true, openTap);
  });
  byId('tap-copy').addEventListener('click', () => copy(openTap ?? '', byId('tap-copy')));

  function copy(text: string, button: HTMLElement): void {
    const say = (what: string): void => {
      button.textContent = what;
      setTimeout(() => {
        button.textContent = button.dataset.label!;
      }, 1500);
    };
    navigator.clipboard.writeText(text).then(
      () => say('Copied'),
      () => say('Not allowed'),
    );
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-copy]'))
    button.addEventListener('click', () => copy(byId(button.dataset.copy!).textContent!, button));
  for (const link of document.querySelectorAll<HTMLButtonElement>('[data-tap]'))
    link.addEventListener('click', () => showTap(link.dataset.tap!));

  const wanted = /^#tap=(.*)$/.exec(location.hash)?.[1];
  if (wanted !== undefined) {
    let tap: string | undefined;
    try {
      tap = decodeURIComponent(wanted);
    } catch {
      // A link that somebody typed wrong opens the page as any other.
    }
    if (tap !== undefined && rowOf.has(tap)) showTap(tap);
  }
}
