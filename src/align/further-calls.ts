/**
 * Whether pairs of the first call hold in the others: decode steps, and more sequences. A pair that is laid
 * out otherwise there is no rule for a map; one that differs in whatever layout stays, and says so.
 */
import type { Dump } from '../dump/reader.js';
import type { AlignedPair, Alignment } from './align-dumps.js';
import { nearest } from './classes.js';
import { bestFit, type CallSizes, type Elements, errorIn } from './layouts.js';
import { explainedBetween } from './pairing/explained.js';
import { type Call, readCall, sideValueOf } from './values.js';

/** A pair in another call than the first. */
export interface FurtherPair {
  pair: AlignedPair;
  error: number;
  /** What rounding explains there. */
  limit: number;
}

/** A call that both sides have, besides the first. */
export interface FurtherCall extends Call {
  tokens: number;
  /** Pairs that both sides have there. */
  compared: number;
  /** Their largest error. */
  error: number;
  /** Pairs that differ by more than rounding explains, in the order of the tested side. */
  differing: FurtherPair[];
  /** Pairs that agree in another layout than that of the first call, or whose shapes do not fit there. */
  moved: AlignedPair[];
}

/**
 * Compares every pair in every further call; `others` are calls that only one side has, or of other tokens.
 * Values are read one pair at a time.
 */
export async function furtherCalls(
  reference: Dump,
  tested: Dump,
  alignment: Pick<Alignment, 'pairs' | 'tested'>,
): Promise<{ calls: FurtherCall[]; others: number }> {
  const own = (await callsOf(reference)).filter(isFurther);
  const other = new Map((await callsOf(tested)).filter(isFurther).map((call) => [keyOf(call), call]));
  const calls: FurtherCall[] = [];
  for (const call of own) {
    const partner = other.get(keyOf(call));
    if (partner === undefined) continue;
    const { step, sequence, positions } = call;
    const isSame =
      String(positions) === String(partner.positions) && String(call.ids) === String(partner.ids);
    if (!isSame) continue;
    const sizes = { tokens: positions.length, visible: 1 + Math.max(...positions) };
    calls.push({
      step,
      sequence,
      tokens: positions.length,
      ...(await compareCall(reference, tested, alignment, { step, sequence }, sizes)),
    });
  }
  return { calls, others: own.length + other.size - 2 * calls.length };
}

async function compareCall(
  reference: Dump,
  tested: Dump,
  { pairs, tested: side }: Pick<Alignment, 'pairs' | 'tested'>,
  call: Call,
  sizes: CallSizes,
): Promise<Pick<FurtherCall, 'compared' | 'error' | 'differing' | 'moved'>> {
  const errors = new Map<AlignedPair, number>();
  const ofClass = new Map<number, number>();
  const moved: AlignedPair[] = [];
  /** Pairs of which one side holds more rows than in the first call: no rule of a map fits both. */
  const grown: AlignedPair[] = [];
  for (const pair of pairs) {
    const a = await readCall(reference, pair.reference.tap, call);
    const b = await readCall(tested, pair.tested.tap, call);
    if (a === undefined || b === undefined) continue;
    const inPlace = errorIn(a, b, pair.fit.layout, sizes);
    // A cache that holds what came before, too: only the call's own rows are the other program's.
    const part = inPlace === undefined ? lastRows(a, b, pair, sizes) : undefined;
    if (part !== undefined) {
      grown.push(pair);
      errors.set(pair, part);
      ofClass.set(pair.pair.tested, Math.max(part, ofClass.get(pair.pair.tested) ?? 0));
      continue;
    }
    const error = inPlace ?? Number.POSITIVE_INFINITY;
    if (inPlace === undefined || (!(error <= 1e-6) && agreesElsewhere(a, b, pair, sizes))) {
      moved.push(pair);
      continue;
    }
    errors.set(pair, error);
    ofClass.set(pair.pair.tested, Math.max(error, ofClass.get(pair.pair.tested) ?? 0));
  }
  const isKnown = (id: number) => ofClass.has(id);
  const differing = [...errors].flatMap(([pair, error]): FurtherPair[] => {
    // Of indices only what they give is judged.
    if (pair.reference.isExact) return [];
    const sources = [...nearest(side, pair.pair.tested, 'parents', isKnown)];
    const before = Math.max(0, pair.fit.error, ...sources.map((id) => ofClass.get(id)!));
    const { limit } = explainedBetween(side, pair.pair.tested, isKnown, before);
    return error <= limit ? [] : [{ pair, error, limit }];
  });
  return {
    compared: errors.size,
    error: Math.max(0, ...errors.values()),
    differing: differing.sort((a, b) => a.pair.tested.index - b.pair.tested.index),
    moved: [...moved, ...grown.filter((pair) => !differing.some((each) => each.pair === pair))],
  };
}

/** Whether the values agree as the first call's do, but lie otherwise: in other cells of a cache. */
function agreesElsewhere(
  reference: Elements,
  tested: Elements,
  { fit }: AlignedPair,
  sizes: CallSizes,
): boolean {
  const limit = Math.max(1e-6, 100 * fit.error);
  if (fit.layout.some(({ op }) => op === 'visible')) return cells(tested, sizes).some(isNear);
  const other = bestFit(sideValueOf(reference), sideValueOf(tested), sizes, 0);
  return other !== undefined && other.error <= limit;

  function isNear(part: Elements): boolean {
    return (errorIn(reference, part, fit.layout, sizes) ?? Number.POSITIVE_INFINITY) <= limit;
  }
}

/**
 * Error of the call's own rows, where the reference holds more along one axis than it does in the first call;
 * undefined where that is not how the shapes differ.
 */
export function lastRows(
  reference: Elements,
  tested: Elements,
  { reference: first }: { reference: Pick<Elements, 'shape'> },
  sizes: CallSizes,
): number | undefined {
  const { shape, data } = reference;
  const other = shape.flatMap((size, axis) => (size === first.shape[axis] ? [] : [axis]));
  const [axis] = other;
  if (axis === undefined || other.length > 1 || shape[axis]! <= sizes.tokens) return undefined;
  const inner = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const [width, kept] = [shape[axis]! * inner, sizes.tokens * inner];
  const own = new Float32Array((data.length / width) * kept);
  for (let k = 0; k * width < data.length; k++)
    own.set(data.subarray((k + 1) * width - kept, (k + 1) * width), k * kept);
  const part = { ...reference, data: own, shape: shape.with(axis, sizes.tokens) };
  return bestFit(sideValueOf(part), sideValueOf(tested), sizes, 0)?.error;
}

/** The value with other columns in front, in turn. */
function cells(value: Elements, { visible }: CallSizes): Elements[] {
  const width = value.shape.at(-1) ?? 1;
  const rows = value.data.length / width;
  return Array.from({ length: Math.max(0, width - visible) }, (_, k) => {
    const data = new Float32Array(value.data.length);
    for (let row = 0; row < rows; row++)
      data.set(value.data.subarray(row * width + k + 1, (row + 1) * width), row * width);
    return { ...value, data };
  });
}

interface TokensOfCall extends Call {
  positions: number[];
  ids: number[];
}

/** Calls of a dump, from the tap that has the most rows. */
async function callsOf(dump: Dump): Promise<TokensOfCall[]> {
  const calls = new Map<string, TokensOfCall>();
  const seen = new Set<string>();
  for (const { name, scope } of dump.taps) {
    if (scope !== 'token') continue;
    const rows = await dump.rows(name);
    for (const row of rows.position.keys()) {
      const [step, sequence] = [rows.step[row]!, rows.sequence[row]!];
      const [position, id] = [rows.position[row]!, rows.tokenId[row]!];
      const key = `${step} ${sequence}`;
      if (seen.has(`${key} ${position}`)) continue;
      seen.add(`${key} ${position}`);
      const call = calls.get(key) ?? { step, sequence, positions: [], ids: [] };
      calls.set(key, call);
      call.positions.push(position);
      call.ids.push(id);
    }
  }
  return [...calls.values()];
}

function isFurther({ step, sequence }: Call): boolean {
  return step !== 0 || sequence !== 0;
}

function keyOf({ step, sequence }: Call): string {
  return `${step} ${sequence}`;
}
