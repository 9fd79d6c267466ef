/** Compares the weights of two models whose tensor names have nothing in common. */
import { nonFiniteCounts, sumNonFinite } from '../../diff/non-finite.js';
import { outcomeOf } from '../../diff/outcome.js';
import { badArgument } from '../../errors.js';
import { tapPattern } from '../../tap-pattern.js';
import type { DiffWeightsOptions, WeightDiff, WeightsDiffReport } from '../diff-weights.js';
import type { UnpairedTensor } from '../pair-tensors.js';
import { comparePair } from './compare-pair.js';
import { type MatchedWeights, matchWeights } from './match-weights.js';
import { misplacedOnes } from './misplaced.js';
import { rowOf, type WeightPair } from './pairing.js';
import { countOf, matrixOf, openRawWeights, type RawWeights } from './raw-weights.js';
import { layoutOf, namesOf } from './words.js';

/**
 * Compares the weights of any model folder or GGUF file with any other's, without a table of names: tensors
 * are paired by what they hold, and then compared in full. Found are rows in another order (as rotations of
 * llama.cpp want them), joined and parted tensors, stacks of experts, transposes, other axes, norms plus 1
 * and minus exp of logarithms; dtypes may differ (`docs/align.md`). What is not beyond doubt is not paired; a
 * tensor whose numbers are no other's is paired as its name is in other blocks.
 *
 * @param reference, tested model folders or GGUF files. `tensors` are globs over the reference's names.
 * @throws as `diffWeights`.
 */
export async function diffWeightsByContent(
  reference: string,
  tested: string,
  options: DiffWeightsOptions = {},
): Promise<WeightsDiffReport> {
  const { tensors: pattern = '**', failAbove, allowNonFinite = false, onProgress = () => {} } = options;
  if (failAbove !== undefined && !(failAbove >= 0))
    throw badArgument('diffWeights', 'failAbove to be 0 or more', failAbove);
  const wants = tapPattern(pattern);
  const [own, other] = [await openRawWeights(reference), await openRawWeights(tested)];
  // Every tensor is read once to find its partner, and those of the tested side again to compare.
  const total = own.tensors.size + 2 * other.tensors.size;
  let done = 0;
  const onRead = () => onProgress(++done, total);
  const matched = await matchWeights(own, other, onRead);
  const misplaced = misplacedOnes(matched.pairs, own.tensors);
  const tensors: WeightDiff[] = [];
  for (const pair of matched.pairs) {
    if (pair.segments.some((segment) => wants(segment.reference.name)))
      tensors.push(
        await diffOf(pair, { misplaced: misplaced.get(pair), same: matched.same }, allowNonFinite),
      );
    onRead();
  }
  const unpaired = unpairedOf(matched, own, other, wants);
  if (tensors.length + unpaired.length === 0)
    throw badArgument('diffWeights', 'a pattern that matches a tensor', pattern);
  const fails = tensors.some(({ metrics }) => failAbove !== undefined && !(metrics.nmse <= failAbove));
  const nonFinite = sumNonFinite(tensors);
  const judged = {
    failAbove: failAbove ?? null,
    pass:
      tensors.length > 0 &&
      unpaired.length === 0 &&
      !tensors.some((tensor) => tensor.misplaced) &&
      !fails &&
      nonFinite.counted === 0,
  };
  const notes = notesOf(matched);
  const describe = ({ name, layout }: RawWeights) => ({ name, layout });
  return {
    reference: describe(own),
    tested: describe(other),
    ...judged,
    outcome: outcomeOf(judged, tensors),
    nonFinite,
    unpaired,
    notes: notes.length > 0 ? notes : undefined,
    tensors: tensors.sort((a, b) => b.metrics.nmse - a.metrics.nmse || 0),
  };
}

async function diffOf(
  pair: WeightPair,
  { misplaced, same }: { misplaced: string | undefined; same: MatchedWeights['same'] },
  allowNonFinite: boolean,
): Promise<WeightDiff> {
  const metrics = await comparePair(pair, allowNonFinite);
  const notes = [
    ...(misplaced === undefined ? [] : [misplaced]),
    ...(pair.by === 'names' ? ['paired as in other blocks: its numbers are no tensor of the reference'] : []),
  ];
  const own = new Set(pair.segments.map(({ reference }) => reference.name));
  const others = [...own].flatMap((name) =>
    (same.get(name) ?? []).flatMap((other) => (own.has(other.name) ? [] : [other.name])),
  );
  return {
    name: namesOf(pair),
    from: pair.tested.name,
    layout: layoutOf(pair, others),
    shape: pair.tested.shape,
    dtypes: {
      reference: [...new Set(pair.segments.map(({ reference }) => reference.dtype))].join('+'),
      tested: pair.tested.dtype,
    },
    metrics,
    identical: metrics.bitEqual === 1 && metrics.nonFinite === 0,
    nonFinite: nonFiniteCounts(metrics, { masked: false, allowed: allowNonFinite }),
    misplaced: misplaced !== undefined,
    note: notes.length > 0 ? notes.join('; ') : undefined,
  };
}

function notesOf({ constants: { told, counted } }: MatchedWeights): string[] {
  if (told.length === 0) return [];
  const [first] = told as [(typeof told)[0]];
  return [
    `${told.length} tensors of the reference are one number throughout, which nothing tells from others (${first.name} is ${first.value}); the tested model has ${counted} such tensors of the same sizes and numbers`,
  ];
}

/** Tensors of the tested side without partner, and what of the reference no tested tensor holds. */
function unpairedOf(
  { pairs, open, same, constants }: MatchedWeights,
  reference: RawWeights,
  tested: RawWeights,
  wants: (name: string) => boolean,
): UnpairedTensor[] {
  const unread = (side: string, { unreadable }: RawWeights) =>
    unreadable.map(({ name, dtype }) => ({
      name,
      reason: `of the ${side} is stored in ${dtype}, which is not read`,
    }));
  const isTold = new Set(constants.told.map(({ name }) => name));
  const missing = [...reference.tensors.values()].flatMap((tensor): UnpairedTensor[] => {
    // A tied head is its embedding, and constants are told by no content.
    if (same.has(tensor.name) || isTold.has(tensor.name) || !wants(tensor.name)) return [];
    const rows = missingRows(tensor.name, countOf(tensor.shape), tensor.shape, pairs);
    if (rows === 0) return [];
    const reason =
      rows === undefined ? 'is in no tensor of the tested model' : `lacks ${rows} rows in the tested model`;
    return [{ name: tensor.name, reason }];
  });
  const others = open.flatMap(({ tensor, reason }): UnpairedTensor[] =>
    wants(tensor.name) ? [{ name: `${tensor.name} of the tested model`, reason }] : [],
  );
  return [...missing, ...others, ...unread('reference', reference), ...unread('tested model', tested)];
}

/** Rows of a reference tensor that no pair holds; undefined where none holds any. */
function missingRows(
  name: string,
  elements: number,
  shape: readonly number[],
  pairs: readonly WeightPair[],
): number | undefined {
  const { columns, rows } = matrixOf(shape);
  let held: Uint8Array | undefined;
  for (const { segments, turned } of pairs)
    for (const { reference, first, count, order } of segments) {
      if (reference.name !== name) continue;
      held ??= new Uint8Array(elements / (turned === 'reference' ? rows : columns));
      for (let k = 0; k < count; k++) held[first + rowOf(order, k)] = 1;
    }
  return held?.reduce((missing, each) => missing - each, held.length);
}
