/**
 * The weights that a recording's graph reads: as a file stores them, or as a run of our own has loaded them.
 */

import { sizeBytes } from '../../dtype.js';
import { openBackend } from '../../graph/backend.js';
import type { Policy } from '../../graph/policy.js';
import { readResident } from '../../graph/resident.js';
import { elementCount } from '../../graph/shape.js';
import { openModelSource } from '../../models/layout/source.js';
import { loadWeights } from '../../models/runtime/loader.js';
import { modelPolicy } from '../../models/runtime/model-policy.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import { weightsSha256 } from '../../weights/identity.js';
import { readTensor } from '../../weights/tensor-data.js';

/** Weights by the names that the graph has. Close them when done. */
export interface WeightValues extends Disposable {
  readonly tensors: ReadonlyMap<string, { dtype: string; sizeBytes: number }>;
  /** All bytes of one. */
  read(name: string): Promise<Uint8Array>;
}

/** Those of a file, in the types that it has. */
export function storedWeights({ tensors }: Pick<Checkpoint, 'tensors'>): WeightValues {
  return {
    tensors,
    read: (name) => readTensor(tensors.get(name)!),
    [Symbol.dispose]() {},
  };
}

/** Of a graph that reads none. */
export const NO_WEIGHTS: WeightValues = storedWeights({ tensors: new Map() });

/**
 * Those of a model in any layout, in the types that a policy gives them.
 * @param policy what the recording's manifest says of it.
 * @throws what loading a model throws.
 */
export async function loadedWeights(
  model: string,
  policy: Readonly<Record<string, unknown>>,
): Promise<{ stored: WeightValues; sha256: string }> {
  const source = await openModelSource(model);
  const sha256 = await weightsSha256(source.checkpoint);
  const backend = openBackend('cpu');
  const used = modelPolicy(policy as unknown as Policy, source.config);
  const weights = await loadWeights(source, backend, used).catch((error: unknown) => {
    backend.close();
    throw error;
  });
  const tensors = new Map(
    [...weights.tensors].map(([name, { dtype, shape }]) => [
      name,
      { dtype, sizeBytes: sizeBytes(dtype, elementCount(shape)) },
    ]),
  );
  return {
    sha256,
    stored: {
      tensors,
      read: async (name) => readResident(weights.tensors.get(name)!),
      [Symbol.dispose]() {
        weights.close();
        backend.close();
      },
    },
  };
}
