import { type TapElements, toFloat32 } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import { badArgument } from '../../errors.js';

/**
 * Logits as F32. F64 is rounded, which the note of its source says; a finite value beyond F32 would become an
 * infinity that nobody computed.
 *
 * @throws `BAD_ARGUMENT` naming the value and `where` it lies.
 */
export function roundLogits(data: TapElements, dtype: TapDtype, where: string): Float32Array {
  const rounded = toFloat32(data, dtype);
  if (dtype === 'F64')
    for (let k = 0; k < rounded.length; k++)
      if (!Number.isFinite(rounded[k]!) && Number.isFinite(data[k]!))
        throw badArgument('verifyLogits', 'logits that F32 can hold', `${data[k]} at index ${k}`, where);
  return rounded;
}

/** What a user must know of logits of a dtype. */
export function roundingNotes(dtype: string, name: string): string[] {
  return dtype === 'F64' ? [`${name}: F64 rounded to F32`] : [];
}
