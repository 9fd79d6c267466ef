import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { describePlace } from '../../describe-place.js';
import { openRegularFile } from '../../regular-file.js';
import { fileSizeBytes, ioError, readInto, withFile } from '../../weights/file-access.js';
import { sniffFile, wrongKind } from '../../weights/formats/file-kind.js';
import { readZipDirectory, readZipMember, readZipStart, type ZipReader } from '../../weights/formats/zip.js';
import { zipMemberRanges } from '../../weights/formats/zip-stream.js';
import { fromStoredAxes, plainSource, readsFrom, unusableValue } from './file-values.js';
import { type ForeignSource, type ForeignValue, foreignBytes, importError } from './foreign.js';
import { NPY_HEADER_BYTES, type NpyHeader, parseNpyHeader, swapBytes, type UnusableNpy } from './npy.js';

const OP = 'importDump';
/** Larger members are inflated part by part into the memory of the array, small ones faster at once. */
const STREAMED_BYTES = 1 << 20;

/** How arrays are read. */
export interface NumpyOptions {
  /** Arrays of uint16 hold bits of BF16. Default false: they are refused. */
  bf16Bits?: boolean;
}

/**
 * Opens a folder of `.npy` files, one array each; a name is the file's without `.npy`, all arrays are of one
 * forward step. Arrays in Fortran order are transposed, big-endian ones turned around. Throws `BAD_DUMP` for
 * malformed files, `BAD_ARGUMENT` for a folder without arrays, `IO`.
 */
export async function openNpyFolder(folder: string, options: NumpyOptions = {}): Promise<ForeignSource> {
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw ioError(OP, 'a readable folder', folder, cause);
  });
  const files = entries.filter((entry) => entry.endsWith('.npy')).sort();
  if (files.length === 0)
    throw importError(
      'BAD_ARGUMENT',
      'a folder that zayascope_dump.h wrote (with index.jsonl) or one of .npy files',
      await describePlace(folder),
      folder,
    );
  const values: ForeignValue[] = [];
  for (const file of files) values.push(await npyValue(join(folder, file), options));
  return plainSource('npy folder', basename(resolve(folder)), values);
}

/** Opens one `.npy` file; otherwise as {@link openNpyFolder}. */
export async function openNpy(path: string, options: NumpyOptions = {}): Promise<ForeignSource> {
  return plainSource('npy', basename(path), [await npyValue(path, options)]);
}

async function npyValue(path: string, options: NumpyOptions): Promise<ForeignValue> {
  const found = await sniffFile(OP, path);
  if (found.kind !== 'npy') throw wrongKind('BAD_ARGUMENT', OP, 'a NumPy array (.npy)', found, path);
  const size = found.sizeBytes;
  const start = new Uint8Array(Math.min(size, NPY_HEADER_BYTES));
  await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, start));
  const header = parseNpyHeader(start, size, options.bf16Bits === true, path);
  const offset = 'unusable' in header ? size : header.dataOffset;
  const name = basename(path).replace(/\.npy$/, '');
  return arrayValue(name, header, readsFrom(path, offset, size - offset), path);
}

/**
 * Opens a `.npz` archive as `numpy.savez` and `savez_compressed` write it; otherwise as {@link
 * openNpyFolder}.
 */
export async function openNpz(path: string, options: NumpyOptions = {}): Promise<ForeignSource> {
  const fileBytes = await fileSizeBytes(OP, path);
  const handle = await openRegularFile(path).catch((cause: unknown) => {
    throw ioError(OP, 'a readable file', path, cause);
  });
  const reader: ZipReader = { op: OP, code: 'BAD_DUMP', handle, fileBytes, file: path };
  try {
    const all = await readZipDirectory(reader);
    const members = all.filter(({ name }) => name.endsWith('.npy'));
    if (members.length === 0)
      throw importError(
        'BAD_ARGUMENT',
        'arrays (.npy) in the archive',
        all.length === 0
          ? 'an empty archive'
          : `a zip archive of ${all.length} other files, ${all[0]!.name} the first`,
        path,
      );
    const values: ForeignValue[] = [];
    for (const member of members) {
      // The header alone is inflated; the array, or a range of it, is when its turn comes.
      const header = parseNpyHeader(
        await readZipStart(reader, member, NPY_HEADER_BYTES),
        member.sizeBytes,
        options.bf16Bits === true,
        `${member.name} in ${path}`,
      );
      const offset = 'unusable' in header ? 0 : header.dataOffset;
      const ranges = zipMemberRanges(reader, member);
      const readRange = (begin: number, end: number) => ranges(offset + begin, offset + end);
      const read = async (): Promise<Uint8Array> =>
        member.sizeBytes > STREAMED_BYTES
          ? readRange(0, member.sizeBytes - offset)
          : (await readZipMember(reader, member)).subarray(offset);
      const name = member.name.slice(0, -'.npy'.length);
      values.push(arrayValue(name, header, { read, readRange }, `${member.name} in ${path}`));
    }
    return plainSource('npz', basename(path), values, { close: () => handle.close() });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

type Reading = Pick<ForeignValue, 'read' | 'readRange'>;

function arrayValue(
  name: string,
  header: NpyHeader | UnusableNpy,
  reading: Reading,
  origin: string,
): ForeignValue {
  if ('unusable' in header) return unusableValue(name, header.unusable, origin);
  const { dtype, shape, fortran, bigEndian } = header;
  const value = {
    name,
    step: 0,
    dtype,
    origin,
    ...(bigEndian ? turned(reading, foreignBytes(dtype)) : reading),
  };
  if (!fortran || shape.length < 2) return { ...value, shape };
  // The first axis is the fastest: as stored, the axes are the other way round.
  return { ...value, ...fromStoredAxes(shape, shape.map((_, axis) => axis).reverse()) };
}

function turned({ read, readRange }: Reading, size: number): Reading {
  return {
    read: async () => swapBytes((await read()).slice(), size),
    ...(readRange === undefined
      ? {}
      : { readRange: async (begin: number, end: number) => swapBytes(await readRange(begin, end), size) }),
  };
}
