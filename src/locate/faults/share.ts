import { type TapInputs, tapPlace } from '../replay/tap-graph.js';

/** What a tap contributes to the estimate. */
export interface ShareTap {
  name: string;
  /** Energy NMSE against the reference in the cumulative run; integers: share that differs. */
  cumulative: number;
  /** Energy of that error, Σ(a−b)². */
  energy: number;
  /** Energy NMSE of the op's own error. */
  local: number;
  /** See `tapInputs`. */
  inputs: TapInputs;
}

/**
 * Estimates how much of a value's error comes from each kind of op (tap without its block), as shares that
 * add up to 1; empty where it has no error.
 *
 * Each op's error is split: its own error's share is that of the energy NMSEs (own / cumulative, at most 1),
 * and the rest is shared out among its inputs, by the energy of their errors where they add up, by their NMSE
 * where they multiply. This takes errors of different sources for uncorrelated and equally amplified; what a
 * source truly costs says a run without it. One pass, no run of the model.
 * @param taps in execution order; `target` is the name of one of them.
 */
export function tapShares(taps: readonly ShareTap[], target: string): Map<string, number> {
  const known = new Map<string, { tap: ShareTap; shares: Map<string, number> }>();
  for (const tap of taps) {
    const shares = new Map<string, number>();
    known.set(tap.name, { tap, shares });
    if (tap.cumulative === 0) continue;
    const inputs = tap.inputs.inputs.flatMap((name) => known.get(name) ?? []);
    const weigh = (input: ShareTap) =>
      finite(tap.inputs.joining === 'sum' && input.energy > 0 ? input.energy : input.cumulative);
    const total = inputs.reduce((sum, { tap: input }) => sum + weigh(input), 0);
    const own = total === 0 ? 1 : Math.min(1, finite(tap.local) / finite(tap.cumulative));
    add(shares, tapPlace(tap.name).suffix, own);
    for (const input of inputs)
      for (const [kind, share] of input.shares)
        if (total > 0) add(shares, kind, (1 - own) * (weigh(input.tap) / total) * share);
  }
  return known.get(target)?.shares ?? new Map();
}

function add(shares: Map<string, number>, kind: string, share: number): void {
  if (share > 0) shares.set(kind, (shares.get(kind) ?? 0) + share);
}

/** Infinite errors outweigh all others, but must not make shares NaN. */
function finite(value: number): number {
  return Math.min(value, 1e100);
}
