import { formatError, rendered, styled, textTable } from '../../text-table.js';
import { runNotes } from '../record/run-notes.js';
import type { PartingValue } from './compare-runs.js';
import type { InvarianceReport } from './invariance.js';

/** What equals what, as text. */
export function formatInvariance(report: InvarianceReport, color = false): string {
  const { schedules, found, nonFinite } = report;
  const [first] = schedules as [InvarianceReport['schedules'][0]];
  const other = schedules.slice(1);
  const same = other.filter(({ logits }) => logits[0] === 0);
  const head = [
    nonFinite > 0
      ? `${styled('NOT FINITE', 'bad', color)}  ${nonFinite} logits are NaN or infinite`
      : found
        ? `${styled('VARIES', 'bad', color)}  more than rounding explains`
        : same.length === other.length
          ? `${styled('INVARIANT', 'good', color)}  the same logits, bit for bit, in every way`
          : `${styled('ROUNDS OTHERWISE', 'strong', color)}  ${same.length} of ${other.length} ways give the same bits, the others no more than rounding explains`,
  ];
  const lines = other.flatMap(({ name, otherPositions, parting, logits }) => {
    if (logits[0] === 0 && parting === null) return [];
    const where =
      otherPositions.length === 0
        ? 'logits the same bits'
        : `logits other at ${otherPositions.length} positions, the first ${otherPositions[0]}`;
    return [
      `${name}: ${where}`,
      ...(parting === null ? [] : [`  first not the same bits: ${placeWords(parting.first)}`]),
      ...(parting?.beyondRounding == null
        ? []
        : [`  first beyond rounding: ${styled(placeWords(parting.beyondRounding), 'strong', color)}`]),
    ];
  });
  const rows = schedules.map(({ name, logits }, k) => [
    `  ${k + 1} ${name}`,
    ...logits.map((error) => (error === 0 ? '=' : formatError(error))),
  ]);
  return rendered([
    [`compared with ${first.name}`, ...head, ...runNotes(report).map((note) => `note: ${note}`)],
    [
      "largest NMSE of a token's logits (= for the same bits):",
      ...textTable(
        [['  ', ...schedules.map((_, k) => String(k + 1))], ...rows],
        `l${'r'.repeat(schedules.length)}`,
        color,
      ),
    ],
    lines,
  ]);
}

function placeWords({ tap, position, step, nmse }: PartingValue): string {
  return `${tap}, position ${position} (step ${step}), NMSE ${formatError(nmse)}`;
}
