import type { Dump } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';
import type { Figure } from '../figure.js';
import { compareTensors, tensorView } from './tensor-view.js';

/** States that a sequence leaves behind in a block, by tap, with the names of their axes. */
const STATES = {
  keys: { tap: '.self_attn:k_cache', axes: ['position', 'KV head', 'channel'] },
  values: { tap: '.self_attn:v_cache', axes: ['position', 'KV head', 'channel'] },
  convolution: { tap: '.self_attn.qkv_proj:conv_state', axes: ['channel of q and k', 'row kept'] },
  delayed: { tap: '.self_attn.qkv_proj:delayed_state', axes: ['channel'] },
} as const;

/** A state: cached keys or values, the last rows of the convolution's input, the value that waits for the next token. */
export type BlockState = keyof typeof STATES;

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
 * A state of a block after a step of a captured session, as heat maps: keys and values by position and channel, a facet a KV head.
 *
 * @throws `BAD_ARGUMENT` for a dump without that state (only sessions have states: `captureSession`, `generate --capture`) or step.
 */
export async function stateView(
  dump: Dump,
  block: number,
  state: BlockState,
  options: StateViewOptions = {},
): Promise<Figure> {
  const { tap, axes } = STATES[state];
  const name = `layers.${block}${tap}`;
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
