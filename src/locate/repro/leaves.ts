import type { Dump } from '../../dump/reader.js';
import { unmet } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
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
  config: ModelConfig;
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
  if (kind === 'history') return { dtype: 'F32', shape, data: await initialState({ name, shape }, source) };
  if (kind !== 'tap') return undefined;
  const value = await readPrefix(source.dump, name, source.sequence, source.tokens, shape);
  if ((value.dtype === 'I32') !== (dtype === 'I32'))
    throw unmet(
      'DTYPE_UNSUPPORTED',
      'repro',
      `${dtype === 'I32' ? 'I32' : 'a floating dtype'} in the dump`,
      value.dtype,
      { where: name, tensor: name, dtypes: [value.dtype] },
    );
  return value;
}

/** What precedes a first token: zeros, or a weight (see the architecture's `histories`). */
export async function initialState(
  { name, shape }: Pick<Leaf, 'name' | 'shape'>,
  { checkpoint, config }: Pick<LeafSource, 'checkpoint' | 'config'>,
): Promise<Float32Array> {
  const [, block, history = ''] = /^layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  const start = architectureOf(config).histories(config)[history]?.start;
  const weight = start === undefined ? undefined : checkpoint.tensors.get(start(Number(block)));
  return weight === undefined ? new Float32Array(elementCount(shape)) : weightValues(weight);
}
