/** NumPy's array file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
import { type ForeignDtype, foreignBytes, importError } from './foreign.js';

/** What the header of an array says. */
export interface NpyHeader {
  dtype: ForeignDtype;
  /** As the array has it, slowest axis first when `fortran` is false. */
  shape: number[];
  /** The first axis is the fastest. */
  fortran: boolean;
  /** Where the elements begin, in bytes. */
  dataOffset: number;
}

/** Bytes from the start that hold every header that is read: NumPy keeps them below 64 KiB. */
export const NPY_HEADER_BYTES = 65_536 + 12;

const DTYPES: Readonly<Record<string, ForeignDtype>> = {
  '<f4': 'F32',
  '<f2': 'F16',
  '<f8': 'F64',
  '|i1': 'I8',
  '<i2': 'I16',
  '<i4': 'I32',
  '<i8': 'I64',
  '|u1': 'U8',
  '|b1': 'BOOL',
};

/**
 * Reads the header of a `.npy` file.
 * @param start its first bytes, up to {@link NPY_HEADER_BYTES}. @param fileBytes size of the whole file.
 * @param bf16Bits arrays of uint16, and of the 2-byte void that `ml_dtypes` writes, hold bits of BF16: NumPy has no such type.
 * @throws `BAD_DUMP` for a malformed file, `BAD_ARGUMENT` for a dtype that a dump cannot hold.
 */
export function parseNpyHeader(
  start: Uint8Array,
  fileBytes: number,
  bf16Bits: boolean,
  where: string,
): NpyHeader {
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (start.length < 12 || magic.some((byte, at) => start[at] !== byte))
    throw importError('BAD_DUMP', 'a .npy file', 'other bytes at its start', where);
  const major = start[6]!;
  if (major < 1 || major > 3)
    throw importError('BAD_DUMP', 'version 1 to 3 of the .npy format', `${major}`, where);
  const view = new DataView(start.buffer, start.byteOffset);
  const lengthBytes = major === 1 ? 2 : 4;
  const dataOffset = 8 + lengthBytes + (major === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (dataOffset > start.length)
    throw importError('BAD_DUMP', 'a whole header', `${start.length} bytes`, where);
  const text = new TextDecoder().decode(start.subarray(8 + lengthBytes, dataOffset));
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1];
  const sizes = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (order === undefined || sizes === undefined)
    throw importError('BAD_DUMP', 'fortran_order and shape in the header', text.trim().slice(0, 80), where);
  const isBits = descr === '<u2' || descr === '|V2';
  const dtype = isBits && bf16Bits ? 'BF16' : DTYPES[descr ?? ''];
  if (dtype === undefined)
    throw importError(
      'BAD_ARGUMENT',
      `${Object.keys(DTYPES).join(', ')}${isBits ? ' (or that uint16 is declared to hold bits of BF16)' : ''}`,
      descr === undefined ? 'a structured dtype' : `dtype '${descr}'`,
      where,
    );
  const shape = sizes
    .split(',')
    .map((size) => size.trim())
    .filter((size) => size !== '')
    .map(Number);
  const bytes = shape.reduce((all, size) => all * size, foreignBytes(dtype));
  if (bytes !== fileBytes - dataOffset)
    throw importError('BAD_DUMP', `${bytes} bytes of elements`, `${fileBytes - dataOffset}`, where);
  return { dtype, shape, fortran: order === 'True', dataOffset };
}
