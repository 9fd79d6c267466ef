import { blockBytes, blockSize, DTYPES, ggmlType, ggmlTypeName, INTERMEDIATE_TYPES } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import type { GgufValue } from '../../native.js';
import { fileSizeBytes, withFile } from '../file-access.js';
import { sniffFile, wrongKind } from './file-kind.js';
import { GgufFault, GgufReader } from './gguf-reader.js';

/** What a GGUF file's header holds. 64-bit integers beyond 2^53 come as bigint. */
export interface GgufHeader {
  version: number;
  /** Bytes; every tensor's data begins at a multiple of it. */
  alignment: number;
  /** File offset of the first tensor's data. */
  dataOffsetBytes: number;
  /** By key, in the order of the file. */
  metadata: Record<string, GgufValue>;
  tensors: GgufTensor[];
}

/** One tensor of a GGUF file. */
export interface GgufTensor {
  name: string;
  /** ggml's numeric type. */
  type: number;
  /** Four sizes, the fastest axis first. */
  ne: number[];
  /** Relative to `dataOffsetBytes`. */
  offsetBytes: number;
  sizeBytes: number;
}

const NEWEST_VERSION = 3;
const DEFAULT_ALIGNMENT = 32;
const MAX_AXES = 4;
/** ggml keeps a name in 64 bytes, its end included. */
const MAX_NAME_BYTES = 63;
/**
 * Least bytes of a key with its value, and of a tensor's entry: an empty name, and the smallest of the rest.
 */
const [KEY_BYTES, TENSOR_BYTES] = [8 + 4 + 1, 8 + 4 + 4 + 8];
/**
 * Elements and bytes of a block by ggml's number; also of the two types that only intermediate results have.
 */
const BLOCKS = new Map<number, readonly [elements: number, bytes: number]>([
  ...DTYPES.map((dtype) => [ggmlType(dtype), [blockSize(dtype), blockBytes(dtype)]] as const),
  ...Object.values(INTERMEDIATE_TYPES).map((each) => [each.type, [each.blockSize, each.blockBytes]] as const),
]);

/**
 * Reads the header of a GGUF file, without the addon and as strictly as ggml: what this gives, ggml opens.
 * @throws `BAD_CHECKPOINT` for another kind of file, a big-endian file, a version that ggml does not read, a
 * malformed header; `IO`.
 */
export async function readGgufHeader(op: string, file: string): Promise<GgufHeader> {
  const found = await sniffFile(op, file);
  if (found.kind !== 'gguf') throw wrongKind('BAD_CHECKPOINT', op, 'a GGUF file', found, file);
  const size = await fileSizeBytes(op, file);
  return withFile(op, file, async (handle) => {
    try {
      return parse(new GgufReader(handle.fd, size), size);
    } catch (cause) {
      if (!(cause instanceof GgufFault)) throw cause;
      const { expected, got } = cause;
      throw new ZayascopeError('BAD_CHECKPOINT', `${op}: expected ${expected}, got ${got} (${file})`, {
        op,
        tensor: file,
      });
    }
  });
}

function parse(reader: GgufReader, size: number): GgufHeader {
  if (size < 24) throw new GgufFault('a whole GGUF header', `${size} bytes`);
  reader.u32('its kind');
  const version = reader.u32('its version');
  checkVersion(version);
  const [tensorCount, keyCount] = [reader.count('tensors', TENSOR_BYTES), reader.count('keys', KEY_BYTES)];
  const metadata: Record<string, GgufValue> = {};
  for (let k = 0; k < keyCount; k++) {
    const key = reader.name(`key ${k}`);
    if (Object.hasOwn(metadata, key)) throw new GgufFault('each key once', `${JSON.stringify(key)} twice`);
    // Defined, not set: a key of the file named __proto__ must not change the object.
    const value = reader.value(JSON.stringify(key));
    Object.defineProperty(metadata, key, { value, enumerable: true, writable: true, configurable: true });
  }
  const alignment = alignmentOf(metadata);
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  let next = 0n;
  for (let k = 0; k < tensorCount; k++) {
    const { tensor, bytes, offset } = readTensor(reader, k);
    if (names.has(tensor.name))
      throw new GgufFault('each tensor once', `${JSON.stringify(tensor.name)} twice`);
    names.add(tensor.name);
    if (offset !== next)
      throw new GgufFault(
        `the data of ${JSON.stringify(tensor.name)} at ${next}, behind that before it`,
        `${offset}`,
      );
    next += padded(bytes, alignment);
    tensors.push(tensor);
  }
  const end = tensorCount === 0 ? reader.at : Number(padded(BigInt(reader.at), alignment));
  if (end > size) throw new GgufFault(`data from byte ${end} on`, `a file that ends at byte ${size}`);
  return { version, alignment, dataOffsetBytes: end, metadata, tensors };
}

function checkVersion(version: number): void {
  const swapped = new DataView(Uint32Array.of(version).buffer).getUint32(0, false);
  if (version > 0xffff && swapped <= 0xff)
    throw new GgufFault(
      'a little-endian GGUF file',
      `a big-endian one of version ${swapped}; gguf-py's gguf_convert_endian.py turns it around`,
    );
  if (version === 1)
    throw new GgufFault(
      'GGUF version 2 or 3',
      'version 1, of August 2023, whose sizes have 32 bits; convert the model again',
    );
  if (version === 0 || version > NEWEST_VERSION)
    throw new GgufFault(
      `GGUF version 2 or ${NEWEST_VERSION}`,
      `version ${version}${version > NEWEST_VERSION && version < 100 ? ', which is newer than this ggml' : ''}`,
    );
}

function alignmentOf(metadata: GgufHeader['metadata']): number {
  if (!Object.hasOwn(metadata, 'general.alignment')) return DEFAULT_ALIGNMENT;
  const { type, value } = metadata['general.alignment']!;
  const isPower = typeof value === 'number' && value > 0 && Number.isInteger(Math.log2(value));
  if (type !== 'u32' || !isPower)
    throw new GgufFault(
      'general.alignment to be a power of two of type u32',
      `${String(value)} of type ${type}`,
    );
  return value;
}

function readTensor(
  reader: GgufReader,
  index: number,
): { tensor: GgufTensor; bytes: bigint; offset: bigint } {
  const name = reader.name(`the name of tensor ${index}`);
  const quoted = JSON.stringify(name);
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw new GgufFault(
      `tensor names of at most ${MAX_NAME_BYTES} bytes`,
      `${Buffer.byteLength(name)}, ${quoted}`,
    );
  const axes = reader.u32(`the axes of ${quoted}`);
  if (axes > MAX_AXES) throw new GgufFault(`at most ${MAX_AXES} axes of ${quoted}`, `${axes}`);
  const ne = [1n, 1n, 1n, 1n].map((one, axis) => (axis < axes ? reader.u64(`the sizes of ${quoted}`) : one));
  const elements = ne.reduce((product, each) => product * each, 1n);
  const type = reader.u32(`the type of ${quoted}`);
  const block = BLOCKS.get(type);
  if (block === undefined) throw new GgufFault(`a type that ggml reads for ${quoted}`, ggmlTypeName(type));
  const bytes = (elements / BigInt(block[0])) * BigInt(block[1]);
  // ggml refuses from 2^63 on; a file of so many bytes does not exist.
  if (ne.some((each) => each > Number.MAX_SAFE_INTEGER) || bytes > Number.MAX_SAFE_INTEGER)
    throw new GgufFault(`sizes below 2^53 for ${quoted}`, `[${ne.join(', ')}]`);
  if (ne[0]! % BigInt(block[0]) !== 0n)
    throw new GgufFault(
      `rows of whole blocks of ${block[0]} elements in ${ggmlTypeName(type)} for ${quoted}`,
      `${ne[0]}`,
    );
  const offset = reader.u64(`the place of ${quoted}`);
  return {
    tensor: { name, type, ne: ne.map(Number), offsetBytes: Number(offset), sizeBytes: Number(bytes) },
    bytes,
    offset,
  };
}

function padded(bytes: bigint, alignment: number): bigint {
  const step = BigInt(alignment);
  return ((bytes + step - 1n) / step) * step;
}
