/// <reference lib="dom" />
import { formatCell } from './cell.js';
import type { CellValue, PageData } from './data.js';
import { byId, copyText, makeElement } from './elements.js';
import type { Plot } from './plots.js';
import type { ShownTable } from './table.js';
import type { TapGroups } from './tap-groups.js';
import { type UnpackedView, unpackViews } from './tensor.js';
import { tensorFigures } from './tensor-figures.js';
import { noErrorsNote, viewNote } from './tensor-notes.js';

/** Width of a window from which three heat maps stand side by side. */
const WIDE_PIXELS = 900;

/** The section that shows one tap: what is known of it, and its tensors. */
export class TapSection {
  readonly #data: PageData;
  readonly #groups: TapGroups;
  readonly #taps: ShownTable;
  readonly #plot: Plot;
  /** Views of a pack, unpacked when a tap of it is first opened. */
  readonly #packs = new Map<number, Promise<Map<string, UnpackedView>>>();
  #open: string | null = null;

  /** @param onBlock shows the group of the open tap. */
  constructor(
    data: PageData,
    groups: TapGroups,
    taps: ShownTable,
    plot: Plot,
    onBlock: (tap: string) => void,
  ) {
    this.#data = data;
    this.#groups = groups;
    this.#taps = taps;
    this.#plot = plot;
    byId('tap-before').addEventListener('click', () => this.#step(-1));
    byId('tap-after').addEventListener('click', () => this.#step(1));
    byId('tap-block').addEventListener('click', () => {
      if (this.#open !== null) onBlock(this.#open);
    });
    byId('tap-copy').addEventListener('click', () => copyText(this.#open ?? '', byId('tap-copy')));
  }

  /** Shows a tap of the page. Resolves when its tensors are being drawn. */
  async show(tap: string): Promise<void> {
    this.#open = tap;
    const at = this.#groups.at(tap)!;
    const row = this.#data.taps.rows[at]!;
    this.#taps.mark(row);
    byId('tap').hidden = false;
    byId('tap-title').textContent = tap;
    byId('tap-facts').replaceChildren(...this.#facts(row));
    for (const [id, by] of [
      ['tap-before', -1],
      ['tap-after', 1],
    ] as const)
      byId<HTMLButtonElement>(id).disabled = this.#data.taps.rows[at + by] === undefined;
    history.replaceState(null, '', `#tap=${encodeURIComponent(tap)}`);
    const hosts = ['tap-grids', 'tap-values', 'tap-errors'].map((id) => byId(id));
    for (const host of hosts) host.replaceChildren();
    byId('tap').scrollIntoView({ block: 'start' });
    byId('tap-title').focus({ preventScroll: true });
    const unpacked = await this.#unpack(tap, this.#data.packs[at] ?? null);
    if (unpacked === undefined || this.#open !== tap) return;
    byId('tap-note').textContent = viewNote(unpacked.view);
    const figures = tensorFigures(unpacked, innerWidth >= WIDE_PIXELS);
    for (const [k, figure] of figures.entries()) void this.#plot(hosts[k]!, figure);
    if (figures.length < hosts.length)
      hosts.at(-1)!.textContent = noErrorsNote(unpacked.view.histograms.notFinite);
  }

  #facts(row: readonly CellValue[]): HTMLElement[] {
    return this.#data.taps.columns.flatMap((column, k) => {
      if (k === 0 || row[k] === null) return [];
      const term = makeElement('dt', '', column.label);
      term.title = column.help;
      const pair = makeElement('div');
      pair.append(term, makeElement('dd', '', formatCell(row[k]!, column.kind)));
      return [pair];
    });
  }

  /** The tensors of a tap; undefined where there are none, which the note then says. */
  async #unpack(tap: string, pack: number | null): Promise<UnpackedView | undefined> {
    const note = byId('tap-note');
    if (pack === null) {
      note.textContent = 'No tensors: the dumps do not hold both sides of this value.';
      return undefined;
    }
    note.textContent = 'Unpacking…';
    const views = this.#packs.get(pack) ?? unpackViews(byId(`pack-${pack}`).textContent!.trim());
    this.#packs.set(pack, views);
    try {
      return (await views).get(tap);
    } catch (error) {
      note.textContent = `The tensors of this tap cannot be unpacked: ${error}`;
      return undefined;
    }
  }

  #step(by: number): void {
    const next = this.#open === null ? undefined : this.#data.taps.rows[this.#groups.at(this.#open)! + by];
    if (next !== undefined) void this.show(next[0] as string);
  }
}
