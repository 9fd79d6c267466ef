/** NumPy's array file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
import { utf8Text } from '../../utf8.js';
import { type ForeignDtype, foreignBytes, importError } from './foreign.js';
import { parsePythonLiteral } from './python-literal.js';

/** What the header of an array says. */
export interface NpyHeader {
  dtype: ForeignDtype;
  /** As the array has it, slowest axis first when `fortran` is false. */
  shape: number[];
  /** The first axis is the fastest. */
  fortran: boolean;
  /** Elements are stored with their most significant byte first. */
  bigEndian: boolean;
  /** Where the elements begin, in bytes. */
  dataOffset: number;
}

/** Bytes from the start that hold every header that is read: NumPy keeps them below 64 KiB. */
export const NPY_HEADER_BYTES = 65_536 + 12;

/** NumPy's kind and size; the byte order stands in front. */
const DTYPES: Readonly<Record<string, ForeignDtype>> = {
  f4: 'F32',
  f2: 'F16',
  f8: 'F64',
  i1: 'I8',
  i2: 'I16',
  i4: 'I32',
  i8: 'I64',
  u1: 'U8',
  u4: 'U32',
  u8: 'U64',
  b1: 'BOOL',
  // What ml_dtypes and JAX write for bfloat16, the only type of theirs with two bytes.
  V2: 'BF16',
};

/**
 * NumPy's other spellings, those of 64-bit systems where they differ. The byte order goes before letters
 * alone.
 */
const LETTERS: Readonly<Record<string, string>> = {
  ...{ f: 'f4', e: 'f2', d: 'f8', '?': 'b1', b: 'i1', h: 'i2', i: 'i4', l: 'i8', q: 'i8', p: 'i8', n: 'i8' },
  ...{ B: 'u1', H: 'u2', I: 'u4', L: 'u8', Q: 'u8', P: 'u8', N: 'u8', g: 'f16', F: 'c8', D: 'c16' },
};
const WORDS: Readonly<Record<string, string>> = {
  ...{ float16: 'f2', float32: 'f4', float64: 'f8', half: 'f2', single: 'f4', double: 'f8', float: 'f8' },
  ...{ int8: 'i1', int16: 'i2', int32: 'i4', int64: 'i8', byte: 'i1', short: 'i2', intc: 'i4', int: 'i8' },
  ...{ intp: 'i8', long: 'i8', longlong: 'i8', uint8: 'u1', uint16: 'u2', uint32: 'u4', uint64: 'u8' },
  ...{ ubyte: 'u1', ushort: 'u2', uintc: 'u4', uint: 'u8', uintp: 'u8', ulong: 'u8', ulonglong: 'u8' },
  ...{ bool: 'b1', bool_: 'b1', longdouble: 'f16', float128: 'f16', complex64: 'c8', complex128: 'c16' },
  ...{ object: 'O', object_: 'O', str: 'U', datetime64: 'M8', timedelta64: 'm8' },
};

/** Why others are not read. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^O/, 'Python objects, which only running a pickle gives back; save plain arrays'],
  [/^c\d/, 'complex numbers; save real and imaginary part'],
  [/^f(16|12)/, 'long doubles, whose bytes depend on the machine; save float64'],
  [
    /^V1$/,
    'one-byte values of ml_dtypes, which the file does not tell apart (float8_e4m3, float8_e5m2, ..); save float32',
  ],
  [/^[mM]/, 'dates or durations'],
  [/^[SUac]/, 'text'],
];

/**
 * The array's header with a dtype that an import cannot use: the file is well-formed, but this array is not
 * for a dump.
 */
export interface UnusableNpy {
  unusable: string;
}

/**
 * Reads the header of a `.npy` file.
 * @param start its first bytes, up to {@link NPY_HEADER_BYTES}. @param fileBytes size of the whole file.
 * @param bf16Bits arrays of uint16 hold bits of BF16: NumPy has no such type.
 * @returns what it says, or why an array of its dtype cannot be used.
 * @throws `BAD_DUMP` for a malformed file.
 */
export function parseNpyHeader(
  start: Uint8Array,
  fileBytes: number,
  bf16Bits: boolean,
  where: string,
): NpyHeader | UnusableNpy {
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (start.length < 12 || magic.some((byte, at) => start[at] !== byte))
    throw importError('BAD_DUMP', 'a .npy file', 'other bytes at its start', where);
  const [major, minor] = [start[6]!, start[7]!];
  if (major < 1 || major > 3 || minor !== 0)
    throw importError('BAD_DUMP', 'version 1.0, 2.0 or 3.0 of the .npy format', `${major}.${minor}`, where);
  const view = new DataView(start.buffer, start.byteOffset);
  const lengthBytes = major === 1 ? 2 : 4;
  const dataOffset = 8 + lengthBytes + (major === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (dataOffset > start.length)
    throw importError('BAD_DUMP', 'a whole header', `${start.length} bytes`, where);
  const headerBytes = start.subarray(8 + lengthBytes, dataOffset);
  const text = major < 3 ? new TextDecoder('latin1').decode(headerBytes) : utf8Text(headerBytes);
  if (text === undefined) throw importError('BAD_DUMP', 'a header of UTF-8', 'other bytes', where);
  const header = parsePythonLiteral(text);
  const field = (key: string): unknown => (header instanceof Map ? header.get(key) : undefined);
  const [fortran, shape, descr] = [field('fortran_order'), field('shape'), field('descr')];
  const keys = header instanceof Map ? header.size : 0;
  if (Array.isArray(shape) && !isShape(shape) && shape.every((size) => typeof size === 'number'))
    throw importError('BAD_DUMP', 'a shape of whole numbers from 0 to 2^53', `[${shape.join(', ')}]`, where);
  if (typeof fortran !== 'boolean' || !isShape(shape) || descr === undefined || keys !== 3)
    throw importError(
      'BAD_DUMP',
      'descr, fortran_order, a tuple shape and nothing else in the header',
      text.trim().slice(0, 80),
      where,
    );
  const [, order, spelling] = /^([<>|=]?)(.*)$/s.exec(String(descr)) as unknown as [string, string, string];
  const kind = kindOf(order, spelling);
  if (typeof descr !== 'string')
    return { unusable: 'a structured dtype; save its fields as arrays of their own' };
  const isBits = kind === 'u2';
  const dtype = isBits && bf16Bits ? 'BF16' : DTYPES[kind];
  if (dtype === undefined) {
    const why = isBits
      ? 'uint16, which may be numbers or bits of BF16; --bf16-bits declares the latter'
      : (REFUSED.find(([pattern]) => pattern.test(kind))?.[1] ?? 'a dtype that a dump cannot hold');
    return { unusable: `dtype '${descr.slice(0, 20)}', ${why}` };
  }
  const bytes = shape.reduce((all, size) => all * size, foreignBytes(dtype));
  const stored = fileBytes - dataOffset;
  if (bytes !== stored)
    throw importError(
      'BAD_DUMP',
      `${bytes} bytes of elements`,
      `${stored}${stored > bytes && bytes > 0 ? ' (several arrays in one file?)' : ''}`,
      where,
    );
  return { dtype, shape, fortran, bigEndian: order === '>' && foreignBytes(dtype) > 1, dataOffset };
}

/** Kind and size as NumPy itself writes them, of any of its spellings of one. */
function kindOf(order: string, spelling: string): string {
  const known = Object.hasOwn(LETTERS, spelling)
    ? LETTERS[spelling]
    : order === '' && Object.hasOwn(WORDS, spelling)
      ? WORDS[spelling]
      : undefined;
  return known ?? spelling.replace(/^([a-zA-Z])0+(?=[1-9])/, '$1');
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Turns elements of `size` bytes around, in place. */
export function swapBytes(bytes: Uint8Array, size: number): Uint8Array {
  for (let at = 0; at + size <= bytes.length; at += size) bytes.subarray(at, at + size).reverse();
  return bytes;
}
