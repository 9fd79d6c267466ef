import { sequenceLengths } from '../../dump/sequences.js';
import type { DiffReport } from '../../diff/report.js';
import { tapError } from '../../diff/report.js';
import { checkLogits } from '../../diff/logits/check.js';
import { dumpLogits } from '../../diff/logits/check-source.js';
import type { DumpView } from '../../dump/dump-view.js';
import { ZayascopeError } from '../../errors.js';
import type { LocateReport } from '../../locate/faults/report.js';
import type { TapNoise } from '../../locate/noise/noise-floor.js';
import type { Figure } from '../../plot/figure.js';
import { logitsTopK } from '../../plot/logits-top-k.js';
import { metricByKind } from '../../plot/error/metric-by-kind.js';
import { nmsePerBlock } from '../../plot/error/nmse-per-block.js';
import { nmsePerTap } from '../../plot/error/nmse-per-tap.js';
import { routingMap } from '../../plot/routing/routing-map.js';
import { tokenBlockHeatMap } from '../../plot/error/token-block-heat-map.js';
import type { PageFigure } from '../page/data.js';

/**
 * Cells (tokens x blocks) beyond which a map by token and block is left out: it would take megabytes, and
 * show less than a pixel a cell.
 */
const MAX_MAP_CELLS = 20_000;

/** What figures are made of. */
export interface FigureInput {
  reference: DumpView;
  tested: DumpView;
  diff: DiffReport;
  noise: readonly TapNoise[] | null;
  located: LocateReport | null;
}

/**
 * The figures on top of a report, those that have something to show, and notes on those that were left out.
 */
export async function reportFigures(input: FigureInput): Promise<{ figures: PageFigure[]; notes: string[] }> {
  const { reference, tested, diff, located } = input;
  const figures: PageFigure[] = [];
  const notes: string[] = [];
  const add = (figure: Figure, opens: PageFigure['opens'] = 'tap'): void => {
    figures.push({ ...figure, opens });
  };
  if (diff.tapReports.some((tap) => tapError(tap) !== null)) {
    const noise = input.noise === null ? {} : { noise: input.noise };
    const { label } = diff.tested;
    add(nmsePerBlock([{ label, report: diff }], noise), 'block');
    const locate = located === null ? {} : { locate: located };
    add(nmsePerTap([{ label, report: diff, ...locate }], noise));
    if (diff.tapReports.some((tap) => tap.block !== null && tapError(tap) !== null)) add(metricByKind(diff));
  }
  if (diff.kind !== 'tensors') return { figures, notes };
  const [tokens = 0] = sequenceLengths(reference.manifest.sequences);
  const blocks = diff.blocks.filter(({ block }) => block !== null).length;
  if (tokens * blocks > MAX_MAP_CELLS)
    notes.push(
      `The maps by token and block are left out: ${tokens} tokens of ${blocks} blocks are too many.`,
    );
  else {
    const outputs = diff.tapReports.some(({ name, rows }) => /^layers\.\d+$/.test(name) && rows > 0);
    if (outputs) await tryTo(() => tokenBlockHeatMap(reference, tested), add, notes);
    if (diff.routing !== null) await tryTo(() => routingMap(reference, tested), add, notes);
    if (reference.manifest.sequences.length > 1)
      notes.push('The maps by token and block show the first sequence only.');
  }
  if (diff.logits !== null)
    await tryTo(async () => logitsTopK(await checkLogits(await dumpLogits(reference), await dumpLogits(tested))), add, notes);
  return { figures, notes };
}

/**
 * Adds a figure; one that these dumps do not allow (e.g. sequences of a partial one) becomes a note instead.
 */
async function tryTo(
  make: () => Promise<Figure>,
  add: (figure: Figure) => void,
  notes: string[],
): Promise<void> {
  try {
    add(await make());
  } catch (error) {
    if (!(error instanceof ZayascopeError) || !['BAD_ARGUMENT', 'UNPAIRED'].includes(error.code)) throw error;
    notes.push(`A figure is left out: ${error.message}`);
  }
}
