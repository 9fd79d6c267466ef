/** Reads the archives that `numpy.savez` writes: stored and deflated members, sizes beyond 4 GiB included. */
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, inflateRaw } from 'node:zlib';
import { readInto } from '../../weights/file-access.js';
import { importError } from './foreign.js';

const OP = 'importDump';
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 65_535;
const MAX_DIRECTORY_BYTES = 256 * 1024 * 1024;
const NEEDS_ZIP64 = 0xffffffff;

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

/** Lists the members of an archive. Throws `BAD_DUMP` for a malformed one, `IO`. */
export async function readZipDirectory(
  handle: FileHandle,
  fileBytes: number,
  file: string,
): Promise<ZipMember[]> {
  const tail = new Uint8Array(Math.min(fileBytes, END_BYTES + MAX_COMMENT_BYTES + 20));
  await readInto(OP, handle, file, fileBytes - tail.length, tail);
  const view = new DataView(tail.buffer);
  let end = tail.length - END_BYTES;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw importError('BAD_DUMP', 'a zip archive', 'no end of a central directory', file);
  let count: number = view.getUint16(end + 10, true);
  let size: number = view.getUint32(end + 12, true);
  let start: number = view.getUint32(end + 16, true);
  if (count === 0xffff || size === NEEDS_ZIP64 || start === NEEDS_ZIP64) {
    if (end < 20 || view.getUint32(end - 20, true) !== 0x07064b50)
      throw importError('BAD_DUMP', 'a zip64 directory', 'no locator of one', file);
    const record = new Uint8Array(56);
    await readInto(OP, handle, file, Number(view.getBigUint64(end - 12, true)), record);
    const wide = new DataView(record.buffer);
    count = Number(wide.getBigUint64(32, true));
    size = Number(wide.getBigUint64(40, true));
    start = Number(wide.getBigUint64(48, true));
  }
  if (size > MAX_DIRECTORY_BYTES || start + size > fileBytes)
    throw importError('BAD_DUMP', 'a directory inside the archive', `${size} bytes at ${start}`, file);
  const directory = new Uint8Array(size);
  await readInto(OP, handle, file, start, directory);
  return parseDirectory(directory, count, file);
}

function parseDirectory(bytes: Uint8Array, count: number, file: string): ZipMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const members: ZipMember[] = [];
  let at = 0;
  for (let k = 0; k < count; k++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50)
      throw importError('BAD_DUMP', `${count} members in the directory`, `${k} whole ones`, file);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) =>
      view.getUint16(at + offset, true),
    );
    const extraStart = at + 46 + nameBytes!;
    const next = extraStart + extraBytes! + commentBytes!;
    if (next > bytes.length)
      throw importError('BAD_DUMP', 'whole members in the directory', 'a cut one', file);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, extraStart));
    const method = view.getUint16(at + 10, true);
    if ((method !== 0 && method !== 8) || (view.getUint16(at + 8, true) & 1) !== 0)
      throw importError(
        'BAD_DUMP',
        'members that are stored or deflated, not encrypted',
        `method ${method}`,
        `${name} in ${file}`,
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
  return members;
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

/** Reads one member whole, checked by its CRC. Throws `BAD_DUMP` for damaged data, `IO`. */
export async function readZipMember(
  handle: FileHandle,
  member: ZipMember,
  file: string,
): Promise<Uint8Array> {
  const where = `${member.name} in ${file}`;
  const local = new Uint8Array(30);
  await readInto(OP, handle, file, member.offset, local);
  const view = new DataView(local.buffer);
  if (view.getUint32(0, true) !== 0x04034b50) throw importError('BAD_DUMP', 'a member', 'other bytes', where);
  const start = member.offset + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  const packed = new Uint8Array(member.packedBytes);
  await readInto(OP, handle, file, start, packed);
  let bytes: Uint8Array = packed;
  if (member.method === 'deflated')
    bytes = await promisify(inflateRaw)(packed, { maxOutputLength: Math.max(1, member.sizeBytes) }).catch(
      (cause: Error) => {
        throw importError('BAD_DUMP', 'deflated data', cause.message, where);
      },
    );
  if (bytes.byteLength !== member.sizeBytes || crc32(bytes) !== member.crc)
    throw importError('BAD_DUMP', `${member.sizeBytes} undamaged bytes`, 'others', where);
  return bytes;
}
