/**
 * What other blocks say: a tensor whose values are no other's, such as one that a conversion spoilt, belongs
 * to what the same name of other blocks holds.
 */
import type { TensorInfo } from '../../weights/checkpoint.js';
import type { Segment, WeightPair } from './pairing.js';
import { countOf } from './raw-weights.js';

/** A name and the number of its block. */
export interface Place {
  key: string;
  number: number;
}

/** Blocks that must agree on what a name holds. */
const LEAST_BLOCKS = 2;

/** `model.layers.3.mlp.up_proj.weight`, `blk.3.ffn_up.weight`: the first number that is a part of its own. */
export function placeOf(name: string): Place | undefined {
  const match = /(?<=\.|^)\d{1,5}(?=\.)/.exec(name);
  if (match === null) return undefined;
  const { 0: digits, index } = match;
  return { key: `${name.slice(0, index)}{l}${name.slice(index + digits.length)}`, number: Number(digits) };
}

/** What a name holds, with the block's number left out; undefined where it holds something of several. */
function contentOf(pair: WeightPair): string | undefined {
  const own = placeOf(pair.tested.name);
  if (own === undefined) return undefined;
  const parts = pair.segments.map(({ reference, first, count, order }) => {
    const place = placeOf(reference.name);
    return place?.number === own.number ? [place.key, first, count, order] : undefined;
  });
  if (parts.includes(undefined)) return undefined;
  return JSON.stringify([parts, pair.turned, pair.isReshaped, pair.change]);
}

/** By name without its block's number: what it holds in how many blocks. */
function contents(pairs: readonly WeightPair[]): Map<string, Map<string, WeightPair[]>> {
  const found = new Map<string, Map<string, WeightPair[]>>();
  for (const pair of pairs) {
    const content = contentOf(pair);
    if (content === undefined) continue;
    const { key } = placeOf(pair.tested.name)!;
    const own = found.get(key) ?? new Map<string, WeightPair[]>();
    found.set(key, own.set(content, [...(own.get(content) ?? []), pair]));
  }
  return found;
}

/** Pairs a tensor as the same name of other blocks is paired, where all of those agree. */
export function matchByNames(
  tested: readonly TensorInfo[],
  pairs: readonly WeightPair[],
  references: ReadonlyMap<string, TensorInfo>,
): WeightPair[] {
  const known = contents(pairs);
  return tested.flatMap((tensor) => {
    const place = placeOf(tensor.name);
    const kinds = place === undefined ? undefined : known.get(place.key);
    if (place === undefined || kinds?.size !== 1) return [];
    const [[example, ...more]] = [...kinds.values()] as [WeightPair[]];
    if (more.length + 1 < LEAST_BLOCKS) return [];
    const segments = example!.segments.map((segment): Segment | undefined => {
      const { key } = placeOf(segment.reference.name)!;
      const reference = references.get(key.replace('{l}', String(place.number)));
      const isAlike = String(reference?.shape) === String(segment.reference.shape);
      return reference !== undefined && isAlike ? { ...segment, reference } : undefined;
    });
    if (segments.includes(undefined) || countOf(tensor.shape) !== countOf(example!.tested.shape)) return [];
    return [{ ...example!, tested: tensor, segments: segments as Segment[], by: 'names' as const }];
  });
}
