/**
 * Judges a tested dump by a noise floor: how improbable each value's error is, if the tested run is one more
 * draw of the noise. Smooth error and flips apart; corrected for the number of values.
 */

import { changedExperts } from '../../../diff/routing.js';
import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';
import type { DumpNoise, TapNoiseRuns } from '../../../dump/noise/noise-file.js';
import { commonRows } from '../common-rows.js';
import { type Band, bandOf } from './band.js';
import { logSpread, probabilityOfCount, probabilityOfError, quartileSpread } from './improbable.js';
import { smoothRatio, TokenErrors } from './run-errors.js';

/** Probability that a run which is nothing but noise is accused at all. */
export const ACCUSED = 0.01;

/** Which draws an error is one more of. */
export type NoiseKind =
  /** No token that the tested run holds has taken another expert so far: runs with pinned routing. */
  | 'pinned'
  /** Runs that choose their own experts. */
  | 'free';

/** A value, judged by a floor. */
export interface FloorTap {
  tap: string;
  block: number | null;
  /** Energy NMSE over all tokens. */
  nmse: number;
  kind: NoiseKind;
  /** Of the runs of that kind. */
  band: Band;
  /**
   * Of the whole error, if it is noise; not corrected. null behind a flip before which hardly a run of the
   * floor has one: how far it reaches is not known, and flips alone are judged.
   */
  probability: number | null;
  /** null where no token has flipped (the whole error is smooth then), and where none has not. */
  smooth: SmoothError | null;
  /** What of it is more than noise makes; null for neither. */
  beyond: 'smooth error' | 'whole error' | null;
}

/** The error of tokens that have kept their experts. */
export interface SmoothError {
  /** How many times as large as usual it is (`TapNoiseRuns.smooth`), and what that is in free runs. */
  ratio: number;
  band: Band;
  /** Of the ratio, if it is noise; not corrected. */
  probability: number;
  /**
   * The ratio by that of an earlier value, the one with which it goes along best from run to run: what flips
   * have done to both drops out. null where there is none.
   */
  step: { from: string; factor: number; band: Band; probability: number } | null;
}

/** The experts that were taken, judged by a floor. */
export interface FloorRouting {
  choices: number;
  flipped: number;
  /** Flips of a free run. */
  band: Band;
  /** Of so many flips or more, if they are noise; not corrected. */
  probability: number;
  isBeyond: boolean;
  /** Flips of tokens that flip in no run of the floor. */
  unusual: number;
  /** The first flip in execution order, and in how many runs that token flips there. */
  first: { block: number; sequence: number; position: number; free: number } | null;
  /**
   * The last value that was judged: its error over all tokens, and over those that kept all their experts.
   */
  last: { tap: string; nmse: number; keptNmse: number | null } | null;
}

/** What a floor says of a tested dump. */
export interface FloorJudgement {
  runs: number;
  policy: string;
  /** Probabilities computed: each must be below {@link ACCUSED} by this for a value to be beyond. */
  tests: number;
  /** In the reference's order. */
  taps: FloorTap[];
  /** Values of the floor that were not judged: other tokens, other shapes, or not held. */
  notJudged: number;
  routing: FloorRouting | null;
  /** The first value beyond the floor, in the reference's order; null for none. */
  first: FloorTap | null;
}

/** @param noise of `floor.noise()`. */
export async function judgeByFloor(
  reference: DumpView,
  tested: DumpView,
  noise: DumpNoise,
): Promise<FloorJudgement> {
  const tokenOf = new Map(
    noise.tokens.map(({ sequence, position }, token) => [`${sequence} ${position}`, token]),
  );
  const order = new Map(reference.taps.map(({ name }, place) => [name, place]));
  const routing = await flipsOf(reference, tested, noise, tokenOf, order);
  const known = new Map(noise.taps.map((tap) => [tap.tap, tap]));
  const held = new Set(tested.taps.map(({ name }) => name));
  const measured: MeasuredTap[] = [];
  let last: FloorRouting['last'] = null;
  for (const { name, dtype, scope } of reference.taps) {
    const runs = known.get(name);
    if (runs === undefined || !held.has(name) || dtype === 'I32' || scope !== 'token') continue;
    const errors = await errorsOf(reference, tested, name, tokenOf);
    if (errors === undefined) continue;
    const isKept = (token: number) => routing.gone[token]! > order.get(name)!;
    measured.push({
      runs,
      flipped: runsWithFlips(noise, order.get(name)!, routing.places),
      nmse: errors.nmse(),
      kept: noise.tokens.filter((_, token) => isKept(token)).length,
      ratio: smoothRatio(errors, runs.tokens.pinned.median, isKept),
    });
    last = { tap: name, nmse: errors.nmse(), keptNmse: errors.nmseOver(isKept) };
  }
  const taps = measured.map((_, place) => judgeTap(measured, place, tokenOf.size));
  const tests =
    taps.reduce((sum, tap) => sum + probabilitiesOf(tap).length, 0) + (routing.counts === null ? 0 : 1);
  const limit = ACCUSED / Math.max(1, tests);
  const judged = taps.map((tap): FloorTap => ({ ...tap, beyond: beyondOf(tap, limit) }));
  return {
    runs: noise.seeds.length,
    policy: noise.policy,
    tests,
    taps: judged,
    notJudged: noise.taps.length - taps.length,
    routing:
      routing.counts === null
        ? null
        : { ...routing.counts, isBeyond: routing.counts.probability < limit, last },
    first: judged.find(({ beyond }) => beyond !== null) ?? null,
  };
}

type Unjudged = Omit<FloorTap, 'beyond'>;

function probabilitiesOf({ probability, smooth }: Unjudged): number[] {
  if (smooth === null) return probability === null ? [] : [probability];
  return [probability!, smooth.probability, ...(smooth.step === null ? [] : [smooth.step.probability])];
}

function beyondOf(tap: Unjudged, limit: number): FloorTap['beyond'] {
  const [whole, ...smooth] = probabilitiesOf(tap);
  if (smooth.some((probability) => probability < limit)) return 'smooth error';
  if (whole === undefined || whole >= limit) return null;
  return tap.kind === 'pinned' ? 'smooth error' : 'whole error';
}

/** What was measured of a value of the tested dump. */
interface MeasuredTap {
  runs: TapNoiseRuns;
  /** Free runs of the floor in which a token has flipped before the value. */
  flipped: readonly number[];
  nmse: number;
  /** Tokens that have kept their experts. */
  kept: number;
  ratio: number | null;
}

/** Earlier values among which a value's companion is sought. */
const COMPANIONS = 10;
/** Of a step's spread: the companion was chosen because of how little it spread. */
const CHOSEN = { factor: 1.15, least: 0.1 } as const;
/** Runs that have flipped before a value, behind whose flips it is judged by. */
const LEAST_RUNS = 6;
/** Least spread of the logarithm of a whole error behind flips, which may be of other tokens each time. */
const LEAST_FREE = 0.5;

/** Free runs in which a token has flipped before a place of the reference's order. */
function runsWithFlips(noise: DumpNoise, place: number, places: ReadonlyMap<number, number>): number[] {
  const before = noise.routing?.blocks.filter(({ block }) => (places.get(block) ?? Infinity) < place) ?? [];
  return [...noise.seeds.keys()].filter((run) => before.some(({ free }) => free[run]! > 0));
}

function judgeTap(measured: readonly MeasuredTap[], place: number, tokens: number): Unjudged {
  const { runs, flipped, nmse, kept, ratio } = measured[place]!;
  const kind: NoiseKind = kept === tokens ? 'pinned' : 'free';
  const common = { tap: runs.tap, block: runs.block, nmse, kind, smooth: null } as const;
  if (kind === 'pinned')
    return { ...common, band: bandOf(runs.pinned), probability: probabilityOfError(runs.pinned, nmse) };
  const free = flipped.map((run) => runs.free[run]!);
  // Where hardly a run has flipped, how far a flip there reaches is not known.
  if (flipped.length < LEAST_RUNS) return { ...common, band: bandOf(runs.free), probability: null };
  const whole = { ...common, band: bandOf(free), probability: probabilityOfError(free, nmse, LEAST_FREE) };
  const draws = flipped.map((run) => runs.smooth[run]!).filter((draw) => draw !== null);
  if (ratio === null || draws.length < LEAST_RUNS) return whole;
  const spread = quartileSpread(kept, runs.width);
  return {
    ...whole,
    smooth: {
      ratio,
      band: bandOf(draws),
      probability: probabilityOfError(draws, ratio, Math.max(spread, LEAST_FREE / 2)),
      step: stepOf(measured, place, spread),
    },
  };
}

/** The step from the earlier value whose ratio goes along best with a value's in the runs of the floor. */
function stepOf(measured: readonly MeasuredTap[], place: number, spread: number): SmoothError['step'] {
  const own = measured[place]!;
  let best: { from: MeasuredTap; draws: number[]; spread: number } | undefined;
  for (const from of measured.slice(Math.max(0, place - COMPANIONS), place)) {
    if (from.ratio === null) continue;
    const draws = own.flipped.flatMap((run) => {
      const [after, before] = [own.runs.smooth[run], from.runs.smooth[run]];
      return after == null || before == null ? [] : [after / before];
    });
    if (draws.length < LEAST_RUNS) continue;
    const ownSpread = logSpread(draws);
    if (best === undefined || ownSpread < best.spread) best = { from, draws, spread: ownSpread };
  }
  if (best === undefined) return null;
  const factor = own.ratio! / best.from.ratio!;
  return {
    from: best.from.runs.tap,
    factor,
    band: bandOf(best.draws),
    probability: probabilityOfError(
      best.draws,
      factor,
      Math.max(CHOSEN.least, CHOSEN.factor * best.spread, CHOSEN.factor * spread),
    ),
  };
}

/** Errors of all tokens of the floor; undefined where the dumps lack some of them, or disagree in shape. */
async function errorsOf(
  reference: DumpView,
  tested: DumpView,
  name: string,
  tokenOf: ReadonlyMap<string, number>,
): Promise<TokenErrors | undefined> {
  const errors = new TokenErrors(tokenOf.size);
  let rows = 0;
  for await (const [a, b] of commonRows([reference, tested], name)) {
    if (a!.data.length !== b!.data.length) return undefined;
    const [mine, theirs] = [toFloat32(a!.data, a!.dtype), toFloat32(b!.data, b!.dtype)];
    const count = a!.shape[0]!;
    const width = mine.length / count;
    for (let row = 0; row < count; row++) {
      const token = tokenOf.get(`${a!.sequence[row]} ${a!.position[row]}`);
      if (token === undefined) continue;
      const part = (values: Float32Array) => values.subarray(row * width, (row + 1) * width);
      errors.add(part(mine), part(theirs), 1, token);
      rows++;
    }
  }
  return rows === tokenOf.size ? errors : undefined;
}

/** By token, the place of its first flip; and the counts. */
async function flipsOf(
  reference: DumpView,
  tested: DumpView,
  noise: DumpNoise,
  tokenOf: ReadonlyMap<string, number>,
  order: ReadonlyMap<string, number>,
): Promise<{
  gone: Float64Array;
  places: ReadonlyMap<number, number>;
  counts: Omit<FloorRouting, 'isBeyond' | 'last'> | null;
}> {
  const places = new Map<number, number>();
  const gone = new Float64Array(tokenOf.size).fill(Number.POSITIVE_INFINITY);
  const held = new Set(tested.taps.map(({ name }) => name));
  const usual = new Map(
    noise.routing?.flips.map((flip) => [`${flip.block} ${flip.sequence} ${flip.position}`, flip.free]),
  );
  const names = new Set(reference.roles?.['router.expert']);
  const routers = reference.taps.filter(({ name }) => names.has(name));
  if (noise.routing === null || routers.length === 0 || routers.some(({ name }) => !held.has(name)))
    return { gone, places, counts: null };
  let [choices, flipped, unusual] = [0, 0, 0];
  let first: FloorRouting['first'] = null;
  for (const { name, block } of routers)
    for await (const [a, b] of commonRows([reference, tested], name)) {
      const rows = a!.shape[0]!;
      const width = a!.data.length / rows;
      for (let row = 0; row < rows; row++) {
        const [sequence, position] = [a!.sequence[row]!, a!.position[row]!];
        const token = tokenOf.get(`${sequence} ${position}`);
        if (token === undefined) continue;
        choices++;
        const of = ({ data }: typeof a & {}) =>
          Array.from({ length: width }, (_, k) => Number(data[row * width + k]));
        if (changedExperts(of(a!), of(b!)).length === 0) continue;
        flipped++;
        const free = usual.get(`${block} ${sequence} ${position}`) ?? 0;
        if (free === 0) unusual++;
        first ??= { block: block!, sequence, position, free };
        gone[token] = Math.min(gone[token]!, order.get(name)!);
      }
    }
  const totals = noise.seeds.map((_, run) =>
    noise.routing!.blocks.reduce((sum, { free }) => sum + free[run]!, 0),
  );
  for (const { name, block } of routers) if (block !== null) places.set(block, order.get(name)!);
  return {
    gone,
    places,
    counts: {
      choices,
      flipped,
      unusual,
      first,
      band: bandOf(totals),
      probability: probabilityOfCount(totals, flipped),
    },
  };
}
