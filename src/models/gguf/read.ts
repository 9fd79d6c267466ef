/** What reading the GGUF files of every family has in common. */
import { unmet, type ZayascopeError } from '../../errors.js';
import type { GgufValue } from '../../native.js';
import type { Checkpoint, StoredTensor, TensorInfo } from '../../weights/checkpoint.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import type { RequiredTensor } from '../runtime/architecture.js';

/**
 * Metadata as a plain object. Arrays at the keys `perBlock` that repeat one value (zero where it does not
 * apply) become that value.
 */
export function plainMetadata(
  metadata: GgufHeader['metadata'],
  perBlock: readonly string[] = [],
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, { type, value }]: [string, GgufValue]) => {
      if (Array.isArray(value) && perBlock.includes(key)) {
        const used = [...new Set(value.filter((entry) => entry !== 0))];
        return [key, used.length === 1 ? used[0] : value];
      }
      return [key, type === 'f32' && typeof value === 'number' ? shortestFloat32(value) : value];
    }),
  );
}

/** The shortest decimal that rounds to the same float32: 1e-5 instead of 0.000009999999747378752. */
function shortestFloat32(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** A shape without its axes of size one, which GGUF drops. */
export function squeezed(sizes: readonly number[]): string {
  return String(sizes.filter((each) => each !== 1));
}

/**
 * A file's tensors under the transformers layout's names; those that the model does not use keep their own.
 *
 * @param names for every required tensor its names in the file, the likeliest first. @param reshaped a shape
 * of a tensor that the file has in another order of axes; other differences stay, for `checkWeights` to
 * report. @throws `MISSING_TENSOR` naming the first missing tensor by its GGUF name.
 */
export function nativeView(
  op: string,
  stored: Checkpoint,
  required: readonly RequiredTensor[],
  names: ReadonlyMap<string, readonly string[]>,
  reshaped: (
    tensor: TensorInfo,
    required: RequiredTensor,
  ) => Pick<TensorInfo, 'shape' | 'storedAxes'> | undefined = () => undefined,
): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  const used = new Set<string>();
  const missing: string[] = [];
  for (const wanted of required) {
    const candidates = names.get(wanted.name)!;
    const name = candidates.find((each) => stored.tensors.has(each) || stored.unreadable.has(each));
    if (name === undefined) {
      missing.push(candidates[0]!);
      continue;
    }
    used.add(name);
    const tensor = stored.tensors.get(name);
    if (tensor === undefined)
      unreadable.set(wanted.name, { ...stored.unreadable.get(name)!, name: wanted.name });
    else {
      const isSame = squeezed(tensor.shape) === squeezed(wanted.shape);
      const own = isSame ? { shape: wanted.shape } : (reshaped(tensor, wanted) ?? { shape: tensor.shape });
      tensors.set(wanted.name, { ...tensor, name: wanted.name, ...own });
    }
  }
  if (missing.length > 0) throw missingError(op, missing, stored.folder);
  for (const tensor of stored.tensors.values()) if (!used.has(tensor.name)) tensors.set(tensor.name, tensor);
  for (const tensor of stored.unreadable.values())
    if (!used.has(tensor.name)) unreadable.set(tensor.name, tensor);
  return { ...stored, tensors, unreadable };
}

/** An error about tensors that the file lacks. */
export function missingError(op: string, missing: readonly string[], file: string): ZayascopeError {
  return unmet(
    'MISSING_TENSOR',
    op,
    'every tensor of the model',
    `${missing.length} missing, first ${missing[0]}`,
    { where: file, tensor: missing[0] },
  );
}
