/// <reference lib="dom" />
/**
 * The script of a report: tables and the first plots at once, other plots when they come into view, tensors
 * when a tap is opened. Bundled when the library is built.
 */
import { startFigures } from '../../plot/page/figures.js';
import { blockSection } from './block-section.js';
import type { CellValue, PageData } from './data.js';
import { byId, copyText } from './elements.js';
import { drawWhenSeen, plotter } from './plots.js';
import { sortableTable } from './table.js';
import { tapGroups } from './tap-groups.js';
import { TapSection } from './tap-section.js';
import { wantedTap } from './tensor-notes.js';

/** Rows of a table before "show all". */
const LIMIT = 60;

const data = JSON.parse(byId('report-data').textContent!) as PageData;
const groups = tapGroups(data);
const showTap = (tap: string): Promise<void> => tapSection.show(tap);
const showBlockOf = (tap: string): void => showBlock(groups.labelOf(groups.at(tap)!), true);
const plot = plotter(startFigures(), (tap, opens) => {
  if (groups.at(tap) === undefined) return;
  if (opens === 'tap') void showTap(tap);
  else showBlockOf(tap);
});
drawWhenSeen(data.figures, plot);

const taps = sortableTable(byId('taps-table'), data.taps, {
  label: 'Taps',
  limit: LIMIT,
  onOpen: (row) => void showTap(row[0] as string),
});
const showBlock = blockSection(data, groups, taps, plot);
const tapSection = new TapSection(data, groups, taps, plot, showBlockOf);
table('blocks-table', 'blocks', 'Blocks', (row) => showBlock(String(row[0]), true));
table('unpaired-table', 'unpaired', 'Unpaired');
table('routing-table', 'routing', 'Routing flips');
table('logits-table', 'logits', 'Logits');

for (const button of document.querySelectorAll<HTMLButtonElement>('[data-copy]'))
  button.addEventListener('click', () => copyText(byId(button.dataset.copy!).textContent!, button));
for (const link of document.querySelectorAll<HTMLButtonElement>('[data-tap]'))
  link.addEventListener('click', () => void showTap(link.dataset.tap!));

const wanted = wantedTap(location.hash);
if (wanted !== undefined && groups.at(wanted) !== undefined) void showTap(wanted);

/** Shows a table where the page has a place for it. */
function table(
  id: string,
  key: 'blocks' | 'unpaired' | 'routing' | 'logits',
  label: string,
  onOpen?: (row: CellValue[]) => void,
): void {
  const host = document.getElementById(id);
  if (host !== null) sortableTable(host, data[key], { label, limit: LIMIT, onOpen });
}
