import { itemBytes, type TapDtype } from '../../dump/dtypes.js';
import { elementsOf, type TapElements } from '../../dump/float.js';

/** Stored bytes as elements: without a copy where they are aligned. */
export function alignedElements(type: TapDtype, bytes: Uint8Array): TapElements {
  return elementsOf(type, bytes.byteOffset % itemBytes(type) === 0 ? bytes : bytes.slice());
}
