import { type Dtype, ggmlType } from '../../dtype.js';
import { type TapElements, toFloat32 } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import { badArgument, unmet, ZayascopeError } from '../../errors.js';
import type { OutputValue } from '../../graph/compile.js';
import { elementCount, formatShape, type Shape } from '../../graph/shape.js';
import { native } from '../../native.js';

/** Statistics over all elements of a value: the first five over the finite ones, NaN where there is none. */
export interface ValueStats {
  min: number;
  max: number;
  mean: number;
  rms: number;
  /** Largest magnitude. */
  absmax: number;
  /** Counts. */
  nan: number;
  inf: number;
}

/** A value of the model as a stepper shows it. */
export interface StepValue {
  /** Tap name. */
  name: string;
  /** Decoder block; null for embedding and head. */
  block: number | null;
  /** Place in {@link Stepper.names}. */
  index: number;
  dtype: 'F32' | 'I32';
  /** Names of the axes, e.g. `['T', 'nq', 'd']`, and their sizes; slowest first. */
  axes: readonly string[];
  shape: Shape;
  /** The elements: the caller's own to read, but shared with later readings of the same value. */
  data: Float32Array | Int32Array;
  stats: ValueStats;
  /** True if it is what `replace` put there. */
  isReplaced: boolean;
}

/**
 * What {@link Stepper.replace} takes: plain elements, or a value as `Dump.read` and `Stepper.value` give it.
 * A `shape`, where given, must hold as many elements.
 */
export type Replacement = Float32Array | Int32Array | { data: TapElements; dtype: TapDtype; shape?: Shape };

/** Copies an output out of the graph's memory. */
export function elements({ bytes, dtype }: Pick<OutputValue, 'bytes' | 'dtype'>): Float32Array | Int32Array {
  const own = bytes.slice().buffer;
  return dtype === 'I32' ? new Int32Array(own) : new Float32Array(own);
}

/** Statistics of several values at once, off the JavaScript thread. */
export async function valueStats(values: readonly (Float32Array | Int32Array)[]): Promise<ValueStats[]> {
  const rows = await native().rowStats(
    values.map((data) => ({
      bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      type: ggmlType(data instanceof Int32Array ? 'I32' : 'F32'),
      columns: data.length,
    })),
  );
  return rows.map(statsOfRow);
}

/** The seven numbers of `rowStats` by name. */
export function statsOfRow(row: ArrayLike<number>): ValueStats {
  const [min, max, mean, rms, absmax, nan, inf] = row as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { min, max, mean, rms, absmax, nan, inf };
}

/**
 * The elements of a replacement for a value, F16 and BF16 widened; a copy.
 * @param most largest index that the value may hold; ggml aborts on larger ones.
 * @throws `SHAPE_MISMATCH`, `DTYPE_UNSUPPORTED`, `BAD_ARGUMENT` for an index out of range.
 */
export function replacementElements(
  name: string,
  shape: Shape,
  dtype: Dtype,
  replacement: Replacement,
  most: number,
): Float32Array | Int32Array {
  const given = ArrayBuffer.isView(replacement)
    ? { data: replacement, dtype: replacement instanceof Int32Array ? 'I32' : 'F32', shape: undefined }
    : replacement;
  const { data } = given;
  const count = given.shape === undefined ? data.length : elementCount(given.shape);
  if (data.length !== elementCount(shape) || count !== data.length)
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `replace: expected ${elementCount(shape)} elements of ${formatShape(shape)}, got ${given.shape === undefined ? `${data.length} elements` : formatShape(given.shape)} (${name})`,
      { op: 'replace', tensor: name, shapes: [shape] },
    );
  if ((dtype === 'I32') !== (given.dtype === 'I32'))
    throw unmet('DTYPE_UNSUPPORTED', 'replace', dtype, given.dtype, {
      where: name,
      tensor: name,
      dtypes: [dtype, given.dtype],
    });
  if (data instanceof Int32Array) {
    const wrong = data.find((id) => id < 0 || id > most);
    if (wrong !== undefined) throw badArgument('replace', `values from 0 to ${most}`, wrong, name);
    return data.slice();
  }
  return toFloat32(data, given.dtype as TapDtype).slice();
}
