import type { ModelSource } from '../models/layout/source.js';
import type { StoredTensor, TensorInfo } from '../weights/checkpoint.js';
import { isFloatDtype } from './tensor-values.js';

/** Two tensors to compare, under their name in the transformers layout. */
export interface TensorPair {
  name: string;
  reference: TensorInfo;
  tested: TensorInfo;
  /** Elements to compare, from the first on. */
  elements: number;
  /** Set where not simply all of two tensors of this name are compared. */
  note?: string;
}

/** A tensor that could not be compared. One is enough for the diff not to pass. */
export interface UnpairedTensor {
  name: string;
  reason: string;
}

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';
/** Tensors with a row per token id. */
const VOCABULARY_ROWS = new Set([EMBEDDING, HEAD, 'lm_head.bias']);

/**
 * Pairs the tensors of two models by their names in the transformers layout. Converters trim the vocabulary
 * to the tokenizer's (the rows beyond are padding): such tensors are compared up to the shorter one's end. A
 * head that is stored on one side and tied on the other is compared with the embedding it is tied to.
 */
export function pairTensors(
  reference: ModelSource,
  tested: ModelSource,
  wants: (name: string) => boolean,
): { pairs: TensorPair[]; unpaired: UnpairedTensor[] } {
  const [left, right] = [allTensors(reference), allTensors(tested)];
  const pairs: TensorPair[] = [];
  const unpaired: UnpairedTensor[] = [];
  for (const name of new Set([...left.keys(), ...right.keys()])) {
    if (!wants(name)) continue;
    const a = left.get(name) ?? tiedHead(name, reference, left);
    const b = right.get(name) ?? tiedHead(name, tested, right);
    if (a === undefined || b === undefined)
      unpaired.push({ name, reason: `is not in the ${a === undefined ? 'reference' : 'tested model'}` });
    else {
      const pair = pairOf(name, a, b);
      if ('reason' in pair) unpaired.push(pair);
      else pairs.push(pair);
    }
  }
  return { pairs, unpaired };
}

function allTensors({ checkpoint }: ModelSource): ReadonlyMap<string, StoredTensor> {
  return new Map<string, StoredTensor>([...checkpoint.tensors, ...checkpoint.unreadable]);
}

function tiedHead(
  name: string,
  { config }: ModelSource,
  tensors: ReadonlyMap<string, StoredTensor>,
): StoredTensor | undefined {
  return name === HEAD && config.tie_word_embeddings ? tensors.get(EMBEDDING) : undefined;
}

function pairOf(name: string, a: StoredTensor, b: StoredTensor): TensorPair | UnpairedTensor {
  const unreadable = [a, b].find(({ dtype }) => !isFloatDtype(dtype as TensorInfo['dtype']));
  if (unreadable !== undefined)
    return { name, reason: `is stored in ${unreadable.dtype}, which is not read` };
  const pair = { name, reference: a as TensorInfo, tested: b as TensorInfo };
  const notes =
    a.name === b.name ? [] : [`${a.name === name ? b.name : a.name} of the other side, which ties it`];
  const elements = Math.min(count(a.shape), count(b.shape));
  if (String(a.shape) !== String(b.shape)) {
    const isTrimmed = VOCABULARY_ROWS.has(name) && String(a.shape.slice(1)) === String(b.shape.slice(1));
    if (!isTrimmed)
      return { name, reason: `has the shapes [${a.shape.join(', ')}] and [${b.shape.join(', ')}]` };
    const [most, least] = [Math.max(a.shape[0]!, b.shape[0]!), Math.min(a.shape[0]!, b.shape[0]!)];
    notes.push(`first ${least} of ${most} rows: the vocabulary is trimmed`);
  }
  return notes.length === 0 ? { ...pair, elements } : { ...pair, elements, note: notes.join('; ') };
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
