/** Judges one recorded value by what its node gives on the recorded inputs. */
import { dtypeKind } from '../../dump/dtypes.js';
import type { GraphTensor } from '../../dump/graph-file.js';
import { sameBytes } from '../../same-bytes.js';
import { COPY_OPS } from '../quiet-ops.js';
import type { ReadyNode } from '../replay/node-walk.js';
import { packed } from '../replay/strided.js';
import { nmse, widenToFloat64 } from '../replay/widen.js';
import { findCause } from './causes.js';
import type { JudgedNode } from './locate.js';
import { placeOf } from './wrong-place.js';

/** NMSE is quadratic: twice the rounding of the node itself. */
const FACTOR = 4;
/** Below this no port can be told from another order of summation. */
const LEAST_LIMIT = 1e-13;
const F32_EPSILON = 2 ** -24;

type Judgement = Pick<
  JudgedNode,
  'ownError' | 'addedError' | 'limit' | 'isFault' | 'widened' | 'cause' | 'place' | 'nonFinite'
>;

/** What else is known of the node. */
export interface JudgeContext {
  /** Tokens before and in the run: RoPE's angles lose bits with the position. */
  positions: number;
  /** ggml's axis of which each entry is a token. */
  tokenAxis: number | undefined;
  /** The reference's graph does not have it, or has something before it that this one lacks. */
  isMissing: boolean;
  /** The reference stores its value in more bits. */
  isStoredLower: boolean;
  /** The node as the recording's own graph has it, run on the same inputs: its NMSE to what was recorded. */
  asRecorded: () => Promise<number>;
  /** In words, for the cause. */
  differences: readonly string[];
}

/** @throws what running the node throws. */
export async function judgeNode(ready: ReadyNode, context: JudgeContext): Promise<Judgement> {
  const { node, recorded, written } = ready;
  if (context.isMissing) return judgeMissing(ready);
  const again = ready.run();
  const isSame = sameBytes(again, recorded);
  if (dtypeKind(node.type) === 'integer') return judgeIntegers(ready, again, isSame, context);
  const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, node.type, written.ne[0]);
  const least = floorOf(node, ready, context);
  const wide = await ready.widened();
  if (isSame && wide === undefined && !context.isStoredLower)
    return { ownError: 0, addedError: 0, limit: least, isFault: false, widened: [], nonFinite: 0 };
  const [values, own] = [await numbers(recorded), await numbers(again)];
  const reference = wide?.values ?? own;
  const ownError = nmse(reference, values);
  const limit = context.isStoredLower ? least : Math.max(least, FACTOR * nmse(reference, own));
  const isFault = !(isSame && !context.isStoredLower) && !(ownError <= limit);
  const judgement: Judgement = {
    ownError,
    addedError: context.isStoredLower ? ownError : isSame ? 0 : nmse(own, values),
    limit,
    isFault,
    widened: wide?.types ?? [],
    nonFinite: countNonFinite(values, reference),
  };
  if (!isFault) return judgement;
  const { ne } = written;
  const place = placeOf(reference, values, ne, limit, context.tokenAxis);
  const cause = await findCause({ reference, values, ne, limit, ...context });
  return { ...judgement, place, cause };
}

/** Only what copies its source changes nothing. */
async function judgeMissing({ node, prepared, recorded, written }: ReadyNode): Promise<Judgement> {
  const source = prepared.src[0] == null ? undefined : prepared.tensors[prepared.src[0]];
  const isCopy = COPY_OPS.has(node.op) && source !== undefined;
  const ownError = isCopy
    ? nmse(
        await widenToFloat64(packed(prepared.roots[source.root]!, source), source.dtype, source.ne[0]!),
        await widenToFloat64(recorded, node.type, written.ne[0]),
      )
    : null;
  return {
    ownError,
    addedError: ownError ?? Number.POSITIVE_INFINITY,
    limit: 0,
    isFault: ownError !== 0,
    widened: [],
    nonFinite: 0,
  };
}

/** The NMSE that F32 itself gives: the longest sum of the node times the square of a rounding. */
export function floorOf(
  node: GraphTensor,
  { prepared }: Pick<ReadyNode, 'prepared'>,
  { positions }: Pick<JudgeContext, 'positions'>,
): number {
  const first = prepared.src[0] == null ? undefined : prepared.tensors[prepared.src[0]];
  const terms = Math.max(1, ...(first?.ne ?? []).slice(0, node.op === 'CONV_2D' ? 4 : 1));
  const angle = node.op === 'ROPE' ? (4 * positions * F32_EPSILON) ** 2 : 0;
  return Math.max(LEAST_LIMIT, FACTOR * terms * F32_EPSILON ** 2, angle);
}

/** Indices are right or wrong; of a sorting, places whose scores are equal to their last bits may change. */
async function judgeIntegers(
  ready: ReadyNode,
  again: Uint8Array,
  isSame: boolean,
  context: JudgeContext,
): Promise<Judgement> {
  const right = { ownError: 0, addedError: 0, limit: 0, isFault: false, widened: [], nonFinite: 0 };
  if (isSame) return right;
  const { node, recorded, written } = ready;
  const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, node.type, written.ne[0]);
  const [values, own] = [await numbers(recorded), await numbers(again)];
  const scores = await sortedScores(ready);
  const isWrong = (k: number): boolean => {
    if (values[k] === own[k]) return false;
    if (scores === undefined) return true;
    const row = Math.floor(k / written.ne[0]) * scores.columns;
    const [a, b] = [scores.values[row + values[k]!], scores.values[row + own[k]!]];
    if (a === undefined || b === undefined || !(values[k]! >= 0 && values[k]! < scores.columns)) return true;
    return Math.abs(a - b) > 16 * F32_EPSILON * Math.max(Math.abs(a), Math.abs(b));
  };
  const wrong = own.map((_, k) => (isWrong(k) ? 1 : 0));
  if (!wrong.some((each) => each === 1)) return right;
  const place = placeOf(new Float64Array(wrong.length), wrong, written.ne, 0, context.tokenAxis);
  const left = await context.asRecorded();
  return {
    ...right,
    ownError: 1,
    addedError: 1,
    isFault: true,
    place,
    ...(context.differences.length > 0 &&
      left === 0 && { cause: { words: context.differences.join('; '), left } }),
  };
}

/** What an ARGSORT or TOP_K sorts. */
async function sortedScores({
  node,
  prepared,
}: ReadyNode): Promise<{ values: ArrayLike<number>; columns: number } | undefined> {
  if (node.op !== 'ARGSORT' && node.op !== 'TOP_K') return undefined;
  const source = prepared.src[0] == null ? undefined : prepared.tensors[prepared.src[0]];
  if (source === undefined) return undefined;
  const bytes = packed(prepared.roots[source.root]!, source);
  return { values: await widenToFloat64(bytes, source.dtype, source.ne[0]!), columns: source.ne[0]! };
}

/** Values that are not finite where the reference's are. */
function countNonFinite(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  let count = 0;
  for (let k = 0; k < values.length; k++)
    if (!Number.isFinite(values[k]!) && Number.isFinite(reference[k]!)) count++;
  return count;
}
