import { formatLocatedRecording } from '../../recording/locate/format.js';
import { formatError, rendered, styled } from '../../text-table.js';
import { nonFiniteWords } from '../non-finite.js';
import type { AlignedFault, AlignedVerdict } from './locate-aligned.js';

/** Faults listed without `all`. */
const FEW = 8;

/** What was found, as text. @param all every fault, and of the nodes all. */
export function formatAligned(
  verdict: AlignedVerdict,
  { color = false, all = false }: { color?: boolean; all?: boolean } = {},
): string {
  const { recording } = verdict;
  const head = rendered([headLines(verdict, color, all)]);
  if (recording === null)
    return `${head}\n\nnodes were not run again (--model MODEL.gguf): arithmetic is not judged`;
  return `${head}\n\neach node by itself:\n${formatLocatedRecording(recording, { color, all })}`;
}

function headLines(verdict: AlignedVerdict, color: boolean, all: boolean): string[] {
  const { names, faults, first, logits, agreeing, differing, paired, taps, kind } = verdict;
  const shown = all ? faults : faults.slice(0, FEW);
  return [
    `${names.reference} (reference) against ${names.recording}: ${paired} of ${taps} values paired; of the recording's ${agreeing} agree, ${differing} differ${logits === null ? '' : `; logits ${formatError(logits)}`}`,
    verdictLine(verdict, color),
    ...nonFiniteLines(verdict),
    ...shown.map((fault, k) => `${k === 0 ? 'first' : 'and'}: ${faultWords(fault, color)}`),
    ...(faults.length > shown.length ? [`and ${faults.length - shown.length} more (--all)`] : []),
    ...(first === null
      ? []
      : [
          `first pair that differs: ${first.tap} and ${first.from}, error ${formatError(first.error)}, rounding explains ${formatError(first.limit)}`,
        ]),
    ...(kind === null ? [] : [KIND_WORDS[kind]]),
    ...laterLines(verdict, color),
    ...numericLines(verdict, color, all),
  ];
}

function nonFiniteLines({ nonFinite: { reference, tested } }: AlignedVerdict): string[] {
  return [
    ...(tested.length > 0 ? [nonFiniteWords('recording', tested)] : []),
    ...(reference.length > 0 ? [nonFiniteWords('reference', reference)] : []),
  ];
}

const KIND_WORDS = {
  semantic:
    'semantic: what is named gives what its inputs give, by its own graph and weights; these say something else than the reference',
  numeric: 'numeric: what is named, or what follows it, is not what its inputs give',
} as const;

/** Decode steps and more sequences. */
function laterLines({ later, furtherCalls }: AlignedVerdict, color: boolean): string[] {
  if (furtherCalls === 0) return [];
  if (later === null) return [`${furtherCalls} further calls and sequences compared: they differ no more`];
  return [
    `step ${later.step}, sequence ${later.sequence}: ${later.differing} values differ, first ${styled(later.from, 'strong', color)} (${later.tap}), error ${formatError(later.error)}`,
  ];
}

/** Nodes that are not what their inputs give: of which the comparison may see nothing. */
function numericLines({ numeric, kind }: AlignedVerdict, color: boolean, all: boolean): string[] {
  const shown = all ? numeric : numeric.slice(0, FEW);
  const words = ({ name, op, block, error, limit, cause }: AlignedVerdict['numeric'][number]) =>
    `${styled(name, 'strong', color)} (${op})${block === null ? '' : `, block ${block}`}: own error ${formatError(error)}, limit ${formatError(limit)}${cause === null ? '' : `; ${cause}`}`;
  return [
    ...shown.map((fault) => `${kind === 'numeric' ? '  ' : 'numeric: '}${words(fault)}`),
    ...(numeric.length > shown.length ? [`and ${numeric.length - shown.length} more (--all)`] : []),
  ];
}

function verdictLine(verdict: AlignedVerdict, color: boolean): string {
  const { faults, isOpen, recording, first, differing, failAbove, nonFinite } = verdict;
  if (faults.length > 0)
    return `${styled('FAULT', 'bad', color)}  the recording computes something else from here on`;
  if (nonFinite.reference.length + nonFinite.tested.length > 0)
    return `${styled('NOT FINITE', 'bad', color)}  values that are NaN or infinite agree with nothing`;
  if (verdict.later !== null)
    return `${styled('FAULT', 'bad', color)}  the first call agrees, a later one does not`;
  if (isOpen && first !== null)
    return `${styled('NOT JUDGED', 'bad', color)}  ${differing} values differ by more than rounding explains, and what follows the first agrees in part: nothing says where the fault is`;
  if (isOpen)
    return `${styled('NOT JUDGED', 'bad', color)}  the logits differ, and with weights in so few bits nothing tells a fault from rounding`;
  if (first !== null && failAbove !== null)
    return `${styled('FAULT', 'bad', color)}  ${differing} values differ by more than ${formatError(failAbove)} and than what their inputs bring along`;
  if (first !== null)
    return `${styled('SILENT', 'good', color)}  ${differing} values differ by more than rounding explains, but what follows agrees: as where a choice turns over between scores that are all but the same`;
  return recording?.found === true
    ? `${styled('AGREES', 'good', color)}  with the reference, but not every node gives what its inputs give`
    : `${styled('SILENT', 'good', color)}  nothing differs by more than rounding explains${leastWords(verdict)}`;
}

/** A verdict says what it cannot see. */
function leastWords({ least, most, paired, taps }: AlignedVerdict): string {
  const range =
    least === null || most === null || most.limit <= least
      ? ''
      : `, in ${most.from} none below ${formatError(most.limit)}`;
  const limit =
    least === null ? '' : `; errors below ${formatError(least)} are not seen${range} (--fail-above)`;
  return paired === taps
    ? limit
    : `${limit}; ${taps - paired} values of the reference have no partner and are not judged`;
}

function faultWords({ name, op, block, inputs, weights }: AlignedFault, color: boolean): string {
  const place = block === null ? '' : `, block ${block}`;
  const reads = weights.length > 0 ? `, with ${weights.join(', ')}` : '';
  return `${styled(name, 'strong', color)} (${op})${place}: its inputs agree (${inputs.join(', ')}${reads}), nothing that follows does`;
}
