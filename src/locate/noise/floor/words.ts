import { formatError } from '../../../text-table.js';
import type { TapNoise } from '../noise-floor.js';
import type { Band } from './band.js';
import type { FloorJudgement, FloorTap } from './judge.js';

/** Errors are called larger by a flip from this factor on. */
const LARGER = 10;

/**
 * The first line of what is judged by noise: the first value beyond it, or that there is none.
 * @param taps of `judgeNoise`. @param floor of a noise floor; null for the noise of a single run.
 */
export function firstBeyondLine(taps: readonly TapNoise[], floor: FloorJudgement | null): string {
  if (floor !== null && floor.taps.length > 0)
    return floor.first === null
      ? nothingBeyond(floor)
      : `first beyond the noise floor: ${beyondWords(floor.first, floor)}`;
  const first = taps.find(({ verdict }) => verdict === 'above noise' || verdict === 'broken');
  return first === undefined
    ? `nothing beyond the noise floor, a single run: ${taps.length} values`
    : `first beyond the noise floor: ${first.tap} (NMSE ${formatError(first.nmse)}, of a single noise run ${formatError(first.noiseNmse)})`;
}

function nothingBeyond({ taps, runs, policy, routing }: FloorJudgement): string {
  const flips =
    routing === null
      ? ''
      : routing.isBeyond
        ? '; more choices flip than noise makes'
        : `, and ${count(routing.flipped, 'flip')}`;
  return `nothing beyond the noise floor: errors of ${taps.length} values${flips}, as in ${runs} runs of ${policy}`;
}

function beyondWords(found: FloorTap, { tests }: FloorJudgement): string {
  const { tap, nmse, kind, band, smooth, beyond, probability } = found;
  const corrected = (p: number) => `p ${formatError(Math.min(1, p * tests))} over ${tests} tests`;
  const between = ({ low, high }: Band) => `${low.toPrecision(2)} to ${high.toPrecision(2)}`;
  if (beyond !== 'smooth error' || smooth === null)
    return `${tap} (NMSE ${formatError(nmse)}, of noise with ${kind} routing ${formatError(band.low)} to ${formatError(band.high)}; ${corrected(probability!)})`;
  const { ratio, step } = smooth;
  return step !== null && step.probability < smooth.probability
    ? `${tap} (smooth error ${step.factor.toPrecision(2)} times that of ${step.from}, by what is usual; of noise ${between(step.band)}; ${corrected(step.probability)})`
    : `${tap} (smooth error ${ratio.toPrecision(2)} times the usual, of noise ${between(smooth.band)}; ${corrected(smooth.probability)})`;
}

/** What the floor says of routing, and of a flip that makes most of the final error. */
export function floorRoutingLines(floor: FloorJudgement): string[] {
  const { routing, runs, taps, notJudged } = floor;
  const missing =
    notJudged === 0
      ? []
      : [
          `${notJudged} of ${notJudged + taps.length} values of the floor were not judged: they are not held for all of its tokens.`,
        ];
  if (routing === null) return missing;
  const { flipped, choices, band, isBeyond, unusual, first, last } = routing;
  if (flipped === 0)
    return [
      'Routing: no choice flipped, so errors are judged by runs with routing pinned to the reference.',
      ...missing,
    ];
  const verdict = isBeyond ? 'more than noise makes' : 'as in noise';
  const where = `block ${first!.block}${first!.sequence === 0 ? '' : ` sequence ${first!.sequence}`} position ${first!.position}`;
  const lines = [
    `Routing: ${flipped} of ${choices} choices flipped (${band.low} to ${band.high} in runs with free routing): ${verdict}${unusual === 0 ? '' : `; ${unusual} of tokens that flip in none of them`}. Up to the first flip errors are judged by pinned runs, behind it by free ones, smooth error and flips apart.`,
  ];
  if (last !== null && last.keptNmse !== null && last.keptNmse > 0 && last.nmse >= LARGER * last.keptNmse)
    lines.push(
      `${count(flipped, 'flip')}, the first in ${where} (where ${first!.free} of ${runs} runs flip), ${flipped === 1 ? 'makes' : 'make'} the error of ${last.tap} ${Number((last.nmse / last.keptNmse).toPrecision(2))} times larger: ${formatError(last.nmse)}, over tokens that kept their experts ${formatError(last.keptNmse)}.`,
    );
  return [...lines, ...missing];
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
