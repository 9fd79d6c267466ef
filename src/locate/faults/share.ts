import { type ErrorNode, errorShares } from '../../error-shares.js';
import { type TapInputs, tapPlace } from '../replay/tap-graph.js';

/** What a tap contributes to the estimate. */
export interface ShareTap extends Pick<ErrorNode<string>, 'cumulative' | 'energy' | 'local'> {
  name: string;
  /** See `tapInputs`. */
  inputs: TapInputs;
}

/**
 * {@link errorShares} of a value by kinds of op (tap without its block): they add up to 1, and are empty
 * where it has no error.
 * @param taps in execution order; `target` is the name of one of them.
 */
export function tapShares(taps: readonly ShareTap[], target: string): Map<string, number> {
  const nodes = taps.map(({ name, inputs: { inputs, joining }, ...errors }) => ({
    key: name,
    ...errors,
    inputs,
    joining,
  }));
  const shares = new Map<string, number>();
  for (const [name, share] of errorShares(nodes, target)) {
    const kind = tapPlace(name).suffix;
    shares.set(kind, (shares.get(kind) ?? 0) + share);
  }
  return shares;
}
