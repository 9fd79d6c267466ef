/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header, the data section.
 * Format and rules: https://github.com/huggingface/safetensors#format
 */

import { describeValue } from '../describe-value.js';
import type { Dtype } from '../dtype.js';
import { unmet } from '../errors.js';
import type { StoredTensor } from './checkpoint.js';
import { readInto, withFile } from './file-access.js';
import { sniffFile, wrongKind } from './formats/file-kind.js';
import { parseJsonObject } from './json-object.js';

const OP = 'openCheckpoint';
const LENGTH_BYTES = 8;
/** The reference implementation's limit; it also bounds what a malformed length can make us allocate. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bits per element of every dtype that the format knows. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E5M2FNUZ: 8,
  F8_E4M3FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Bits of an element of a dtype of the format; undefined for any other. */
export function storedBits(dtype: string): number | undefined {
  return Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined;
}

/** The dtypes of the format that this library has too; both spell them alike. */
const SAFETENSORS_DTYPES = [
  'F32',
  'F16',
  'BF16',
  'F64',
  'I8',
  'I16',
  'I32',
  'I64',
] as const satisfies Dtype[];

/** One dtype that both the format and this library know. */
export type SafetensorsDtype = (typeof SAFETENSORS_DTYPES)[number];

/** True for dtypes that a safetensors file can hold and this library can read. */
export function isSafetensorsDtype(dtype: string): dtype is SafetensorsDtype {
  return (SAFETENSORS_DTYPES as readonly string[]).includes(dtype);
}

/**
 * What the header of one file says: all its tensors in the order of their data, and the `__metadata__`
 * strings.
 */
export interface SafetensorsHeader {
  tensors: StoredTensor[];
  metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and validates the header of one file.
 * @throws `IO` when the file cannot be read, `BAD_CHECKPOINT` when its content breaks a rule of the format.
 */
export async function readSafetensorsHeader(file: string): Promise<SafetensorsHeader> {
  const found = await sniffFile(OP, file);
  const size = found.sizeBytes;
  // Damaged headers are explained below; what is another format altogether is said here.
  if (found.kind !== 'safetensors' && found.kind !== 'binary' && found.kind !== 'empty')
    throw wrongKind('BAD_CHECKPOINT', OP, 'a safetensors file', found, file);
  return withFile(OP, file, async (handle) => {
    const prefix = new Uint8Array(Math.min(LENGTH_BYTES, size));
    await readInto(OP, handle, file, 0, prefix);
    const header = new Uint8Array(headerLength(prefix, size, file));
    await readInto(OP, handle, file, LENGTH_BYTES, header);
    return parseSafetensorsHeader(header, size, file);
  });
}

/**
 * Validates header bytes (without the 8 length bytes) against the size of their file.
 * @throws `BAD_CHECKPOINT` naming file and tensor.
 */
export function parseSafetensorsHeader(
  header: Uint8Array,
  fileSize: number,
  file: string,
): SafetensorsHeader {
  if (header[0] !== 0x7b) bad('a header that starts with {', `byte ${describeValue(header[0])}`, file);
  const json = parseJsonObject(header, {
    code: 'BAD_CHECKPOINT',
    op: OP,
    where: `header of ${file}`,
    plain: true,
  });
  const { __metadata__: metadata, ...entries } = json;
  const dataOffset = LENGTH_BYTES + header.length;
  const tensors = Object.entries(entries).map(([name, entry]) =>
    parseEntry(name, entry, dataOffset, fileSize, file),
  );
  const begin = (tensor: StoredTensor) => tensor.offsetBytes;
  tensors.sort((a, b) => begin(a) - begin(b) || a.sizeBytes - b.sizeBytes);
  // The format forbids holes, overlaps and trailing bytes, so the ranges must follow each other exactly.
  let end = dataOffset;
  for (const tensor of tensors) {
    if (begin(tensor) !== end)
      bad(
        `data at byte ${end - dataOffset}, without gaps or overlaps`,
        `data_offsets starting at ${begin(tensor) - dataOffset}`,
        file,
        tensor.name,
      );
    end += tensor.sizeBytes;
  }
  if (end !== fileSize) bad(`a file of ${end} bytes, as its header describes`, `${fileSize} bytes`, file);
  return { tensors, metadata: parseMetadata(metadata, file) };
}

function headerLength(prefix: Uint8Array, fileSize: number, file: string): number {
  if (prefix.length < LENGTH_BYTES) bad('at least 8 bytes of header length', `${prefix.length} bytes`, file);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) bad(`a header of at most ${MAX_HEADER_BYTES} bytes`, `${length}`, file);
  if (Number(length) > fileSize - LENGTH_BYTES)
    bad(
      `a header inside the file's ${fileSize} bytes`,
      `a header of ${length} bytes (truncated file?)`,
      file,
    );
  return Number(length);
}

function parseEntry(
  name: string,
  entry: unknown,
  dataOffset: number,
  fileSize: number,
  file: string,
): StoredTensor {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    bad('an object with dtype, shape and data_offsets', describeValue(entry), file, name);
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const bits = typeof dtype === 'string' ? storedBits(dtype) : undefined;
  if (typeof dtype !== 'string' || bits === undefined)
    return bad('a dtype of the safetensors format', describeValue(dtype), file, name);
  if (!isSizes(shape))
    return bad('a shape of whole numbers from 0 to 2^53', describeValue(shape), file, name);
  if (!isSizes(offsets) || offsets.length !== 2)
    return bad('two non-negative integers as data_offsets', describeValue(offsets), file, name);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > fileSize - dataOffset)
    bad(
      `data_offsets in order and inside the ${fileSize - dataOffset} bytes of data`,
      `[${begin}, ${end}] (truncated file?)`,
      file,
      name,
    );
  const elements = shape.reduce((product, size) => product * size, 1);
  // Beyond 2^53 the product is inexact, but then it exceeds every possible file as well.
  if (!Number.isSafeInteger(elements * bits) || elements * bits !== (end - begin) * 8)
    bad(
      `${dtype} ${describeValue(shape)} to occupy ${Math.ceil((elements * bits) / 8)} bytes`,
      `${end - begin} bytes`,
      file,
      name,
    );
  const part = { file, offsetBytes: dataOffset + begin, sizeBytes: end - begin };
  return { name, dtype, shape, ...part, parts: [part] };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function parseMetadata(value: unknown, file: string): Map<string, string> {
  if (value === undefined) return new Map();
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    bad('an object of strings', describeValue(value), file, '__metadata__');
  const entries = Object.entries(value as Record<string, unknown>);
  for (const [key, text] of entries)
    if (typeof text !== 'string')
      bad('an object of strings', `${describeValue(text)} at ${describeValue(key)}`, file, '__metadata__');
  return new Map(entries as [string, string][]);
}

function bad(expected: string, got: string, file: string, tensor?: string): never {
  const where = tensor === undefined ? file : `${tensor} in ${file}`;
  throw unmet('BAD_CHECKPOINT', OP, expected, got, { where, tensor: tensor ?? file });
}
