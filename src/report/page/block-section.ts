/// <reference lib="dom" />
import { blockFigure } from './block-figure.js';
import type { PageData } from './data.js';
import { byId } from './elements.js';
import type { Plot } from './plots.js';
import type { ShownTable } from './table.js';
import { groupName, type TapGroups } from './tap-groups.js';

/**
 * Lets one choose whose taps are shown; gives what shows the taps of a group (its label; '' for all) as a
 * plot and in the table.
 */
export function blockSection(
  data: PageData,
  groups: TapGroups,
  taps: ShownTable,
  plot: Plot,
): (label: string, scrolls: boolean) => void {
  const choice = byId<HTMLSelectElement>('block-choice');
  const differing = byId<HTMLInputElement>('differing-only');
  const labels = data.blocks.rows.map((row) => String(row[0]));
  choice.append(new Option('all blocks', ''), ...labels.map((label) => new Option(label, label)));

  const restrict = (): void =>
    taps.restrict(
      (row) =>
        (choice.value === '' || groups.labelOf(groups.at(row[0] as string)!) === choice.value) &&
        (!differing.checked || groups.differing.has(row)),
    );
  const showBlock = (label: string, scrolls: boolean): void => {
    choice.value = label;
    restrict();
    const host = byId('block-plot');
    host.replaceChildren();
    byId('block-title').textContent = label === '' ? 'Taps' : `Taps of ${groupName(label)}`;
    if (label !== '') void plot(host, blockFigure(groupName(label), data.taps, groups.rowsOf(label)));
    if (scrolls) byId('taps').scrollIntoView({ block: 'start' });
  };
  choice.addEventListener('change', () => showBlock(choice.value, false));
  differing.addEventListener('change', restrict);
  return showBlock;
}
