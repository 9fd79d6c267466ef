import type { Dump } from '../../dump/reader.js';
import { familyOf } from '../../dump/roles.js';
import { ZayascopeError } from '../../errors.js';
import { roleTap } from '../../families/roles.js';
import type { Figure } from '../figure.js';
import { compareTensors, tensorView } from './tensor-view.js';

/**
 * A state that a sequence leaves behind in a block: cached keys or values, and in ZAYA the last rows of the
 * convolution's input, the value that waits for the next token.
 */
export type BlockState = 'keys' | 'values' | 'convolution' | 'delayed';

const CACHE_AXES = ['position', 'KV head', 'channel'];

/** The tap of a state, and the names of its axes. */
function stateTap(dump: Dump, block: number, state: BlockState): { name: string; axes: readonly string[] } {
  const family = familyOf(dump.manifest);
  if (state === 'keys') return { name: roleTap(family, 'cache.key', block)!, axes: CACHE_AXES };
  if (state === 'values') return { name: roleTap(family, 'cache.value', block)!, axes: CACHE_AXES };
  const { tap, axes } = family.states[state] ?? { tap: `:${state}`, axes: [] };
  return { name: `layers.${block}${tap}`, axes };
}

/** Options of {@link stateView}. */
export interface StateViewOptions {
  /** Forward step after which the state is shown. Default: the last of the dump. */
  step?: number;
  /** Default 0. */
  sequence?: number;
  /** Another run of the same steps: reference, tested and difference are shown. */
  tested?: Dump;
}

/**
 * A state of a block after a step of a captured session, as heat maps: keys and values by position and
 * channel, a facet a KV head.
 *
 * @throws `BAD_ARGUMENT` for a dump without that state (only sessions have states: `captureSession`,
 * `generate --capture`) or step.
 */
export async function stateView(
  dump: Dump,
  block: number,
  state: BlockState,
  options: StateViewOptions = {},
): Promise<Figure> {
  const { name, axes } = stateTap(dump, block, state);
  for (const each of options.tested === undefined ? [dump] : [dump, options.tested])
    if (!each.taps.some((held) => held.name === name))
      throw new ZayascopeError(
        'BAD_ARGUMENT',
        `stateView: expected the captured states of a session, got a dump without ${name} (${each.dir})`,
        { op: 'stateView', tensor: name },
      );
  const { sequence = 0 } = options;
  const step = options.step ?? Math.max(...(await dump.rows(name)).step);
  const read = async (from: Dump) => {
    const batch = await from.read(name, { step, sequence });
    return { ...batch, shape: batch.shape.slice(1) };
  };
  const view = {
    title: `${name} after step ${step}`,
    axisNames: axes,
    // A facet a KV head: positions downwards, channels to the right.
    ...(axes.length === 3 ? { rows: 0, columns: 2, facets: 1 } : {}),
    ...(axes.length === 2 ? { rows: 1, columns: 0 } : {}),
  };
  const figure =
    options.tested === undefined
      ? tensorView(await read(dump), view)
      : compareTensors(await read(dump), await read(options.tested), view);
  return { ...figure, name: 'state-view' };
}
