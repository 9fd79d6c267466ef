/** Why nothing passes though no op errs: sentences for a verdict that is none. */
import type { DiffReport } from '../../diff/report.js';
import type { DumpView } from '../../dump/dump-view.js';
import { formatError } from '../../text-table.js';
import { label } from './notes.js';
import type { OwnErrors } from './own-errors.js';
import type { LocatedOp } from './report.js';

/** Taps of both dumps whose values do not fit each other. */
export function unfitTaps(unpaired: DiffReport['unpaired']): string[] {
  return unpaired.flatMap(({ tap, side, rows }) =>
    tap !== null && side === 'both' && rows === 0 ? [tap] : [],
  );
}

export function unfitSentence(taps: readonly string[], unpaired: DiffReport['unpaired']): string | null {
  const [first] = taps;
  if (first === undefined) return null;
  const { reason } = unpaired.find(({ tap }) => tap === first)!;
  return `${taps.length} ${taps.length === 1 ? 'value has' : 'values have'} no partner that fits, first ${first}, which ${reason}: ops are judged over the others, and nothing passes.`;
}

/** A run that did not finish passes nothing: what it lacks may be wrong. */
export function unfinishedSentence(dumps: readonly DumpView[], ops: readonly LocatedOp[]): string | null {
  const partial = dumps.find(({ manifest }) => manifest.status === 'partial');
  if (partial === undefined) return null;
  const judged = ops.filter(({ verdict }) => verdict !== 'not judged').length;
  return `${label(partial)} is partial: its producer did not finish. None of ${judged} ops that it holds makes more error of its own than a right one; of what it lacks nothing is known.`;
}

/** Tokens that one side lacks may be wrong there. */
export function lackingSentence(partners: readonly string[], ops: readonly LocatedOp[]): string {
  const judged = ops.filter(({ verdict }) => verdict !== 'not judged').length;
  return [
    ...partners,
    `None of ${judged} ops makes more error of its own there than a right one; of the other tokens nothing is known.`,
  ].join(' ');
}

/** A reference that its own model does not give says nothing of others. */
export function wrongReferenceSentence(
  fault: OwnErrors['referenceFault'],
  reference: DumpView,
  tested: DumpView,
): string | null {
  if (fault === null) return null;
  const more = fault.count === 1 ? '' : `, and ${fault.count - 1} more`;
  return `The reference is not what the model computes: ${fault.tap} of ${label(reference)} errs by ${formatError(fault.nmse)} on its own inputs${more}. Is it of this model, or are the two dumps the other way round (locate ${tested.dir} ${reference.dir})?`;
}
