import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import type { TapInfo } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { badArgument, unmet } from '../../errors.js';
import type { CompiledGraph } from '../../graph/compile.js';
import { concat, cont, slice } from '../../graph/ops-layout.js';
import type { Tensor } from '../../graph/tensor.js';
import type { Taps } from '../../models/runtime/tap.js';
import { tapPattern } from '../../tap-pattern.js';
import { widened } from './span.js';

/** Which values of a dump take the place of computed ones. */
export interface GraftOptions {
  dump: DumpView;
  /**
   * Tap pattern of the values to replace; default `**`: each op then works on the dump's values, so that what
   * it shows differs by its own error only.
   */
  replace?: string;
  /** False for values that count as not held, though the dump has them. Default: all are held. */
  holds?: (name: string) => boolean;
  /** Sequence of the dump; default 0. */
  sequence?: number;
  /** Taps to make readable; default: all. */
  wants?: (name: string) => boolean;
  /** Reads all rows of a value; default: from the dump, each time anew. */
  read?: (name: string) => Promise<TensorBatch>;
}

/** Taps that replace values, and what fills them in before a segment runs. */
export interface GraftTaps extends Taps {
  /** Names of the values replaced so far: complete once a plan has been built with these taps. */
  readonly replaced: ReadonlySet<string>;
  /**
   * For `RunOptions.prepare`. Throws `BAD_DUMP` where the dump lacks rows, `SHAPE_MISMATCH` where a value has
   * another shape.
   */
  prepare(segment: number, graph: CompiledGraph): Promise<void>;
}

/** Input names of grafts start so; no tap does. */
const PREFIX = 'graft:';

/**
 * Replaces values of a run by those of a dump of the same tokens, read block by block. A value that the dump
 * does not hold is computed. Derived values that nothing reads (`margin`) are never replaced.
 *
 * @throws `BAD_ARGUMENT` for a dump that is not of tier full, and a malformed pattern.
 */
export function graftTaps({
  dump,
  replace = '**',
  holds = () => true,
  sequence = 0,
  wants = () => true,
  read = (name) => dump.read(name, { sequence }),
}: GraftOptions): GraftTaps {
  if (dump.manifest.tier !== 'full')
    throw badArgument('graft', 'a dump of tier full', dump.manifest.tier, dump.dir);
  const matches = tapPattern(replace);
  const held = new Map(dump.taps.filter(({ name }) => holds(name)).map((tap) => [tap.name, tap]));
  const replaced = new Set<string>();
  return {
    replaced,
    wants,
    apply(name, value) {
      if (!held.has(name) || !matches(name)) return value;
      replaced.add(name);
      const columns = heldColumns(dump, held.get(name)!, value.shape);
      const axis = value.shape.length - 1;
      const given = value.graph.input(PREFIX + name, value.dtype, value.shape.with(axis, columns));
      // What the other program cut off, it may not have computed: the op goes on with what the model makes of
      // it.
      return columns === value.shape[axis]
        ? given
        : concat(given, cont(slice(value, axis, columns, value.shape[axis]!)), axis);
    },
    async prepare(_, compiled) {
      for (const input of compiled.inputs)
        if (input.name.startsWith(PREFIX)) compiled.setInput(input.name, await graftValue(read, input));
    },
  };
}

/** Entries of the last axis that the dump holds: all, unless the tap is known to hold the first ones only. */
export function heldColumns(
  { prefixes }: Pick<DumpView, 'prefixes'>,
  { name, shape }: Pick<TapInfo, 'name' | 'shape'>,
  whole: readonly number[],
): number {
  const [width, own] = [whole.at(-1)!, shape.at(-1)];
  return prefixes.has(name) && typeof own === 'number' && own < width ? own : width;
}

async function graftValue(read: NonNullable<GraftOptions['read']>, tensor: Tensor): Promise<ArrayBufferView> {
  const name = tensor.name.slice(PREFIX.length);
  const batch = await read(name);
  const { dtype, shape } = batch;
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  const data = widened(batch, elements);
  if (data.length !== elements)
    throw unmet(
      'SHAPE_MISMATCH',
      'graft',
      `the values of [${tensor.shape.join(', ')}] in the dump`,
      `[${shape.join(', ')}]`,
      { where: name, tensor: name, shapes: [tensor.shape, shape] },
    );
  return dtype === 'I32' ? data : toFloat32(data, dtype);
}
