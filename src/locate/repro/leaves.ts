import type { Dump } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { Leaf } from './piece.js';
import { type PrefixValue, readPrefix } from './values.js';
import { weightValues } from './weights.js';

/** Where the values of leaves come from. */
export interface LeafSource {
  dump: Dump;
  sequence: number;
  tokens: number;
  /** Token ids of the sequence. */
  ids: readonly number[];
  checkpoint: Checkpoint;
}

/**
 * The value of a leaf; undefined for weights, which have a file of their own, and for constants, which follow
 * from the config.
 * @throws as {@link readPrefix}; `DTYPE_UNSUPPORTED` where a dump has numbers in the place of indices or the
 * reverse.
 */
export async function leafValue(
  { kind, name, dtype, shape }: Leaf,
  source: LeafSource,
): Promise<PrefixValue | undefined> {
  if (kind === 'tokens')
    return { dtype: 'I32', shape, data: Int32Array.from(source.ids.slice(0, source.tokens)) };
  if (kind === 'history')
    return { dtype: 'F32', shape, data: await initialState(name, elementCount(shape), source.checkpoint) };
  if (kind !== 'tap') return undefined;
  const value = await readPrefix(source.dump, name, source.sequence, source.tokens, shape);
  if ((value.dtype === 'I32') !== (dtype === 'I32'))
    throw new ZayascopeError(
      'DTYPE_UNSUPPORTED',
      `repro: expected ${dtype === 'I32' ? 'I32' : 'a floating dtype'} in the dump, got ${value.dtype} (${name})`,
      { op: 'repro', tensor: name, dtypes: [value.dtype] },
    );
  return value;
}

/**
 * What precedes a first token: zeros, and for the delayed value the projection of a zero, which is its bias.
 */
async function initialState(name: string, elements: number, checkpoint: Checkpoint): Promise<Float32Array> {
  const layer = /^(layers\.\d+)\.delayed_state$/.exec(name)?.[1];
  const bias = checkpoint.tensors.get(`model.${layer}.self_attn.qkv_proj.v_proj_delayed.bias`);
  return bias === undefined ? new Float32Array(elements) : weightValues(bias);
}
