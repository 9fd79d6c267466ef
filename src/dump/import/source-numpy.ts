import { open, readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileSizeBytes, ioError, readInto, withFile } from '../../weights/file-access.js';
import { type ForeignSource, type ForeignValue, importError } from './foreign.js';
import { NPY_HEADER_BYTES, type NpyHeader, parseNpyHeader } from './npy.js';
import { readZipDirectory, readZipMember, type ZipMember } from './zip.js';

const OP = 'importDump';

/** How arrays are read. */
export interface NumpyOptions {
  /** Arrays of uint16 hold bits of BF16. Default false: they are refused. */
  bf16Bits?: boolean;
}

/**
 * Opens a folder of `.npy` files, one array each; a name is the file's without `.npy`, all arrays are of one forward step. Arrays in Fortran order are transposed.
 * Throws `BAD_DUMP` for malformed files, `BAD_ARGUMENT` for other dtypes and for a folder without arrays, `IO`.
 */
export async function openNpyFolder(folder: string, options: NumpyOptions = {}): Promise<ForeignSource> {
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw ioError(OP, 'a readable folder', folder, cause);
  });
  const files = entries.filter((entry) => entry.endsWith('.npy')).sort();
  if (files.length === 0) throw importError('BAD_ARGUMENT', '.npy files', 'none', folder);
  const values: ForeignValue[] = [];
  for (const file of files) {
    const path = join(folder, file);
    const size = await fileSizeBytes(OP, path);
    const start = new Uint8Array(Math.min(size, NPY_HEADER_BYTES));
    await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, start));
    const header = parseNpyHeader(start, size, options.bf16Bits === true, path);
    values.push(
      value(file.slice(0, -'.npy'.length), header, async () => {
        const bytes = new Uint8Array(size - header.dataOffset);
        await withFile(OP, path, (handle) => readInto(OP, handle, path, header.dataOffset, bytes));
        return bytes;
      }),
    );
  }
  return source('npy folder', folder, values, async () => {});
}

/** Opens a `.npz` archive as `numpy.savez` and `savez_compressed` write it; otherwise as {@link openNpyFolder}. */
export async function openNpz(path: string, options: NumpyOptions = {}): Promise<ForeignSource> {
  const size = await fileSizeBytes(OP, path);
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw ioError(OP, 'a readable file', path, cause);
  });
  try {
    const members = (await readZipDirectory(handle, size, path)).filter(({ name }) => name.endsWith('.npy'));
    if (members.length === 0) throw importError('BAD_ARGUMENT', 'arrays', 'none', path);
    const values: ForeignValue[] = [];
    for (const member of members) {
      const parse = (bytes: Uint8Array): NpyHeader =>
        parseNpyHeader(bytes, member.sizeBytes, options.bf16Bits === true, `${member.name} in ${path}`);
      // A deflated member has to be inflated for its header: it is inflated again when its turn comes, so that one is in memory at a time.
      const header = parse(await startOf(member));
      values.push(
        value(member.name.slice(0, -'.npy'.length), header, async () =>
          (await readZipMember(handle, member, path)).subarray(header.dataOffset),
        ),
      );
    }
    return source('npz', path, values, () => handle.close());
  } catch (error) {
    await handle.close();
    throw error;
  }

  async function startOf(member: ZipMember): Promise<Uint8Array> {
    const bytes = await readZipMember(handle, member, path);
    return bytes.subarray(0, Math.min(bytes.length, NPY_HEADER_BYTES));
  }
}

function value(name: string, header: NpyHeader, read: () => Promise<Uint8Array>): ForeignValue {
  const { dtype, shape, fortran } = header;
  if (!fortran || shape.length < 2) return { name, step: 0, dtype, shape, read };
  // The first axis is the fastest: as stored, the axes are the other way round.
  const axes = shape.map((_, axis) => shape.length - 1 - axis);
  return { name, step: 0, dtype, shape: [...shape].reverse(), layout: [{ op: 'permute', axes }], read };
}

function source(
  kind: string,
  path: string,
  values: readonly ForeignValue[],
  close: () => Promise<void>,
): ForeignSource {
  return {
    kind,
    name: basename(resolve(path)),
    values,
    steps: undefined,
    mayLackFirstRows: false,
    producer: {},
    notes: [],
    [Symbol.asyncDispose]: close,
  };
}
