/** A value of a graph with errors: what came in and what was made. */
export interface ErrorNode<K> {
  key: K;
  /** Energy NMSE against the reference in the cumulative run; integers: share that differs. */
  cumulative: number;
  /** Energy of that error, Σ(a−b)². */
  energy: number;
  /** Energy NMSE of the op's own error. */
  local: number;
  /** Values that it is computed from, all before it in the list; others are passed over. */
  inputs: readonly K[];
  /** Whether errors of its inputs add up, or multiply with the values of the others. */
  joining: 'sum' | 'product';
}

/**
 * Estimates how much of a value's error each value makes, as shares that add up to 1; empty where it has no
 * error.
 *
 * Each op's error is split: its own error's share is that of the energy NMSEs (own / cumulative, at most 1),
 * and the rest is shared out among its inputs, by the energy of their errors where they add up, by their NMSE
 * where they multiply. This takes errors of different sources for uncorrelated and equally amplified; what a
 * source truly costs says a run without it. One pass back from the value, no run of the model.
 * @param nodes in execution order; `target` is the key of one of them.
 */
export function errorShares<K>(nodes: readonly ErrorNode<K>[], target: K): Map<K, number> {
  const places = new Map(nodes.map(({ key }, place) => [key, place]));
  const shares = new Map<K, number>();
  const end = places.get(target);
  if (end === undefined || nodes[end]!.cumulative === 0) return shares;
  const weights = new Float64Array(end + 1);
  weights[end] = 1;
  for (let place = end; place >= 0; place--) {
    const weight = weights[place]!;
    if (weight === 0) continue;
    const { key, cumulative, local, inputs, joining } = nodes[place]!;
    const before = inputs.flatMap((input) => {
      const at = places.get(input);
      return at !== undefined && at < place ? [at] : [];
    });
    const amounts = before.map((at) => {
      const input = nodes[at]!;
      return finite(joining === 'sum' && input.energy > 0 ? input.energy : input.cumulative);
    });
    const total = amounts.reduce((sum, amount) => sum + amount, 0);
    const own = total === 0 ? 1 : Math.min(1, finite(local) / finite(cumulative));
    if (own > 0) shares.set(key, weight * own);
    for (const [k, at] of before.entries())
      if (total > 0) weights[at]! += weight * (1 - own) * (amounts[k]! / total);
  }
  return shares;
}

/** Infinite errors outweigh all others, but must not make shares NaN. */
function finite(value: number): number {
  return Math.min(value, 1e100);
}
