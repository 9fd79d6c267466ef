/**
 * Reads zip archives (`numpy.savez`, `torch.save`): stored and deflated members, sizes beyond 4 GiB included.
 */
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { constants, crc32, inflateRaw, inflateRawSync } from 'node:zlib';
import { type ErrorCode, ZayascopeError } from '../../errors.js';
import { utf8Text } from '../../utf8.js';
import { readInto } from '../file-access.js';

const END_BYTES = 22;
const LOCAL_BYTES = 30;
const MAX_COMMENT_BYTES = 65_535;
const MAX_DIRECTORY_BYTES = 256 * 1024 * 1024;
const NEEDS_ZIP64 = 0xffffffff;
/** Deflate cannot make less than one byte of 1,032; a few bytes more for the last block. */
const MAX_INFLATION = 1032;
/** The version of the format of which all is known, times ten; Python's zipfile has the same. */
const NEWEST = 63;

/** Who reads an archive, for errors. */
export interface ZipReader {
  op: string;
  code: ErrorCode;
  handle: FileHandle;
  fileBytes: number;
  file: string;
  /** The part of the file that small reads came from last. */
  window?: { start: number; bytes: Uint8Array };
}

/** Headers of small members lie close together: an archive of many is read in parts of this size. */
const WINDOW_BYTES = 1 << 16;

async function readNear(reader: ZipReader, offset: number, out: Uint8Array): Promise<void> {
  const { op, handle, file, fileBytes, window } = reader;
  if (out.length > WINDOW_BYTES / 4 || offset + out.length > fileBytes)
    return readInto(op, handle, file, offset, out);
  const isInside =
    window !== undefined &&
    offset >= window.start &&
    offset + out.length <= window.start + window.bytes.length;
  const found = isInside
    ? window
    : { start: offset, bytes: new Uint8Array(Math.min(WINDOW_BYTES, fileBytes - offset)) };
  if (!isInside) await readInto(op, handle, file, offset, found.bytes);
  reader.window = found;
  out.set(found.bytes.subarray(offset - found.start, offset - found.start + out.length));
}

/** A member of an archive. */
export interface ZipMember {
  name: string;
  method: 'stored' | 'deflated';
  /** Bytes in the archive, and after inflating. */
  packedBytes: number;
  sizeBytes: number;
  crc: number;
  /** Where its local header begins. */
  offset: number;
}

/**
 * Lists the members of an archive. Sizes are checked against the file, so that what they promise can be held
 * or at least inflated from it. Throws the reader's code for a malformed archive, and for members that
 * overlap or have one name; `IO`.
 */
export async function readZipDirectory(reader: ZipReader): Promise<ZipMember[]> {
  const { op, handle, file, fileBytes } = reader;
  const tail = new Uint8Array(Math.min(fileBytes, END_BYTES + MAX_COMMENT_BYTES + 20));
  await readInto(op, handle, file, fileBytes - tail.length, tail);
  const view = new DataView(tail.buffer);
  let end = tail.length - END_BYTES;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw bad(reader, 'a zip archive', 'no end of a central directory (a cut file?)');
  const disks = [4, 6].map((offset) => view.getUint16(end + offset, true));
  let onThisDisk: number = view.getUint16(end + 8, true);
  let count: number = view.getUint16(end + 10, true);
  let size: number = view.getUint32(end + 12, true);
  let start: number = view.getUint32(end + 16, true);
  let directoryEnd = fileBytes - tail.length + end;
  const hasLocator = end >= 20 && view.getUint32(end - 20, true) === 0x07064b50;
  const needsWide = count === 0xffff || size === NEEDS_ZIP64 || start === NEEDS_ZIP64;
  if (needsWide && !hasLocator) throw bad(reader, 'a zip64 directory', 'no locator of one');
  // torch.save writes one always.
  if (hasLocator) {
    const at = Number(view.getBigUint64(end - 12, true));
    if (at > fileBytes - 56) throw bad(reader, 'a zip64 directory inside the file', `byte ${at}`);
    const record = new Uint8Array(56);
    await readInto(op, handle, file, at, record);
    const wide = new DataView(record.buffer);
    const recordEnd = at + 12 + Number(wide.getBigUint64(4, true));
    if (wide.getUint32(0, true) !== 0x06064b50 || recordEnd !== fileBytes - tail.length + end - 20)
      throw bad(reader, 'a zip64 directory where its locator says', 'other bytes');
    disks.push(
      wide.getUint32(16, true),
      wide.getUint32(20, true),
      view.getUint32(end - 16, true),
      view.getUint32(end - 4, true) - 1,
    );
    onThisDisk = Number(wide.getBigUint64(24, true));
    count = Number(wide.getBigUint64(32, true));
    size = Number(wide.getBigUint64(40, true));
    start = Number(wide.getBigUint64(48, true));
    directoryEnd = at;
  }
  if (onThisDisk !== count || disks.some((disk) => disk !== 0))
    throw bad(reader, 'an archive in one file', `${onThisDisk} of ${count} members in this one`);
  // Elsewhere it is an archive that something was put before or into: its offsets may mean other bytes than
  // its writer's.
  if (size > MAX_DIRECTORY_BYTES || start + size !== directoryEnd)
    throw bad(reader, `a directory that ends at byte ${directoryEnd}`, `${size} bytes at ${start}`);
  const directory = new Uint8Array(size);
  await readInto(op, handle, file, start, directory);
  const members = parseDirectory(directory, count, reader);
  checkMembers(members, start, reader);
  // Also of members that nobody asks for: one whose name was altered would be passed over.
  for (const member of members) await zipMemberStart(reader, member);
  return members;
}

function parseDirectory(bytes: Uint8Array, count: number, reader: ZipReader): ZipMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const members: ZipMember[] = [];
  let at = 0;
  for (let k = 0; k < count; k++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50)
      throw bad(reader, `${count} members in the directory`, `${k} whole ones`);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) =>
      view.getUint16(at + offset, true),
    );
    const extraStart = at + 46 + nameBytes!;
    const next = extraStart + extraBytes! + commentBytes!;
    if (next > bytes.length) throw bad(reader, 'whole members in the directory', 'a cut one');
    const name = utf8Text(bytes.subarray(at + 46, extraStart));
    if (name === undefined) throw bad(reader, 'names of UTF-8 in the directory', 'other bytes');
    const method = view.getUint16(at + 10, true);
    const flags = view.getUint16(at + 8, true);
    const isEncrypted = (flags & 0x2041) !== 0;
    const needed = view.getUint16(at + 6, true) & 0xff;
    // PyTorch gives uninitialised memory as the values of one.
    if ((view.getUint32(at + 38, true) & 0x10) !== 0 && view.getUint32(at + 24, true) > 0)
      throw bad(reader, 'members with data that are files', 'one that is marked as a folder', name);
    const disk = view.getUint16(at + 34, true);
    if (disk !== 0) throw bad(reader, 'an archive in one file', `a member in part ${disk}`, name);
    if (needed > NEWEST || (flags & 0x20) !== 0)
      throw bad(
        reader,
        `members that version ${NEWEST / 10} of the zip format unpacks`,
        flags & 0x20 ? 'patched data' : `one that needs version ${needed / 10}`,
        name,
      );
    if ((method !== 0 && method !== 8) || isEncrypted)
      throw bad(
        reader,
        'members that are stored or deflated, not encrypted',
        isEncrypted ? 'an encrypted one' : `${METHODS[method] ?? `method ${method}`}`,
        name,
      );
    // Each field that is full stands, in this order, in the zip64 extra field.
    const wide = zip64Fields(view, extraStart, extraStart + extraBytes!);
    const field = (offset: number): number => {
      const value = view.getUint32(at + offset, true);
      return value === NEEDS_ZIP64 ? (wide.shift() ?? value) : value;
    };
    const sizeBytes = field(24);
    const packedBytes = field(20);
    const offset = field(42);
    members.push({
      name,
      method: method === 0 ? 'stored' : 'deflated',
      packedBytes,
      sizeBytes,
      crc: view.getUint32(at + 16, true),
      offset,
    });
    at = next;
  }
  // Python's zipfile goes by the directory's size: with a smaller count members would be left out.
  if (at !== bytes.length)
    throw bad(reader, `${count} members in the directory`, `${bytes.length - at} bytes beyond them`);
  return members;
}

const METHODS: Readonly<Record<number, string>> = {
  9: 'deflate64',
  12: 'bzip2',
  14: 'LZMA',
  93: 'Zstandard',
  95: 'xz',
};

/** Members lie before the directory, one after the other, and inflate to no more than they can. */
function checkMembers(members: readonly ZipMember[], directoryStart: number, reader: ZipReader): void {
  const names = new Set<string>();
  let end = 0;
  for (const { name, method, packedBytes, sizeBytes, offset } of [...members].sort(
    (a, b) => a.offset - b.offset,
  )) {
    if (names.has(name)) throw bad(reader, 'each name once', 'it twice', name);
    names.add(name);
    if (offset < end) throw bad(reader, `a member from byte ${end} on`, `${offset}, an overlap`, name);
    end = offset + LOCAL_BYTES + packedBytes;
    if (!(end <= directoryStart))
      throw bad(
        reader,
        `a member inside the ${directoryStart} bytes before the directory`,
        `bytes ${offset} to ${end}`,
        name,
      );
    const most = method === 'stored' ? packedBytes : packedBytes * MAX_INFLATION;
    if (sizeBytes > most || (method === 'stored' && sizeBytes !== packedBytes))
      throw bad(reader, `at most ${most} bytes from ${packedBytes} that are ${method}`, `${sizeBytes}`, name);
  }
}

function zip64Fields(view: DataView, start: number, end: number): number[] {
  for (let at = start; at + 4 <= end; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    const stop = Math.min(end, at + 4 + view.getUint16(at + 2, true));
    const fields: number[] = [];
    for (let field = at + 4; field + 8 <= stop; field += 8)
      fields.push(Number(view.getBigUint64(field, true)));
    return fields;
  }
  return [];
}

/** Where the data of a member begins. Throws the reader's code where there is no member, `IO`. */
export async function zipMemberStart(reader: ZipReader, member: ZipMember): Promise<number> {
  const { fileBytes } = reader;
  const local = new Uint8Array(LOCAL_BYTES);
  await readNear(reader, member.offset, local);
  const view = new DataView(local.buffer);
  if (view.getUint32(0, true) !== 0x04034b50) throw bad(reader, 'a member', 'other bytes', member.name);
  const name = new Uint8Array(view.getUint16(26, true));
  const start = member.offset + LOCAL_BYTES + name.length + view.getUint16(28, true);
  if (start + member.packedBytes > fileBytes)
    throw bad(
      reader,
      `${member.packedBytes} bytes from byte ${start} on`,
      'the end of the file',
      member.name,
    );
  await readNear(reader, member.offset + LOCAL_BYTES, name);
  if (utf8Text(name) !== member.name)
    throw bad(reader, 'one name of a member', 'another one before its data', member.name);
  return start;
}

/** Reads one member whole, checked by its CRC. Throws the reader's code for damaged data, `IO`. */
export async function readZipMember(reader: ZipReader, member: ZipMember): Promise<Uint8Array> {
  const { op, handle, file } = reader;
  const start = await zipMemberStart(reader, member);
  const packed = new Uint8Array(member.packedBytes);
  await readInto(op, handle, file, start, packed);
  let bytes: Uint8Array = packed;
  if (member.method === 'deflated')
    bytes = await promisify(inflateRaw)(packed, { maxOutputLength: Math.max(1, member.sizeBytes) }).catch(
      (cause: Error) => {
        throw bad(reader, 'deflated data', cause.message, member.name);
      },
    );
  if (bytes.byteLength !== member.sizeBytes || crc32(bytes) !== member.crc)
    throw bad(reader, `${member.sizeBytes} undamaged bytes`, 'others', member.name);
  return bytes;
}

/**
 * The first bytes of a member, at most `most`, read and inflated no further than that. Throws as {@link
 * readZipMember}; the CRC is not checked.
 */
export async function readZipStart(reader: ZipReader, member: ZipMember, most: number): Promise<Uint8Array> {
  const start = await zipMemberStart(reader, member);
  const wanted = Math.min(most, member.sizeBytes);
  // Incompressible data grows by a few bytes a block.
  const packed = new Uint8Array(Math.min(member.packedBytes, wanted + Math.ceil(wanted / 1000) + 1024));
  await readNear(reader, start, packed);
  if (member.method === 'stored') return packed.subarray(0, wanted);
  // No more than this input can give, and no more than a header's worth of it at a time.
  for (let part = Math.min(packed.length, 1024); ; part = Math.min(packed.length, part * 4)) {
    try {
      const out = inflateRawSync(packed.subarray(0, part), {
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: part * MAX_INFLATION + 1024,
      });
      if (out.length >= wanted || part === packed.length) return out.subarray(0, wanted);
    } catch (cause) {
      throw bad(reader, 'deflated data', (cause as Error).message, member.name);
    }
  }
}

function bad(reader: ZipReader, expected: string, got: string, member?: string): ZayascopeError {
  const { op, code, file } = reader;
  const where = member === undefined ? file : `${member} in ${file}`;
  return new ZayascopeError(code, `${op}: expected ${expected}, got ${got} (${where})`, {
    op,
    tensor: where,
  });
}
