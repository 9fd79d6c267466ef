/**
 * Parses the metadata of Arrow IPC files (https://arrow.apache.org/docs/format/Columnar.html): schema,
 * footer, record batch messages. apache-arrow decodes these too, but without verifying them; see
 * `flatbuffer.ts`. Field numbers are those of Schema.fbs, Message.fbs, File.fbs.
 */
import {
  BATCH_BUFFERS,
  BATCH_COMPRESSION,
  BATCH_LENGTH,
  BATCH_NODES,
  MESSAGE_BODY_LENGTH,
  MESSAGE_HEADER,
  MESSAGE_HEADER_TYPE,
} from './batch-template.js';
import { CorruptBytes, FlatTable, readSize } from './flatbuffer.js';
import { FOOTER, MESSAGE, verifyFlatBuffer } from './verify.js';

/** A column of a schema; `type` is spelled as apache-arrow prints types, e.g. `FixedSizeList[6]<Float32>`. */
export interface Column {
  name: string;
  type: string;
  /** The field's own metadata. */
  metadata: ReadonlyMap<string, string>;
  /** Number of its dictionary, where it has one. */
  dictionary?: number;
}

/** What a schema says besides its columns. */
export interface ParsedSchema {
  columns: readonly Column[];
  /** The schema's own metadata. */
  metadata: ReadonlyMap<string, string>;
}

/** Where a message lies in the file: `metadataBytes` include the framing. */
export interface Block {
  offset: number;
  metadataBytes: number;
  bodyBytes: number;
}

/** A byte range of a batch's body. */
export interface BufferRange {
  offset: number;
  bytes: number;
}

/** The numbers of a record batch. */
export interface BatchMessage {
  rows: number;
  /** Length and null count per field node. */
  nodes: readonly { length: number; nulls: number }[];
  buffers: readonly BufferRange[];
  /** Number of the dictionary that it holds; absent of a record batch. */
  dictionary?: number;
}

/** A message of the stream part. */
export interface StreamMessage {
  kind: 'schema' | 'dictionary' | 'batch';
  bodyBytes: number;
  header: FlatTable;
}

const HEADER_KINDS: Record<number, StreamMessage['kind']> = { 1: 'schema', 2: 'dictionary', 3: 'batch' };

/**
 * Decodes the envelope of a message (without framing). Throws {@link CorruptBytes}, as all functions of this
 * file.
 */
export function parseMessage(bytes: Uint8Array): StreamMessage {
  verifyFlatBuffer(bytes, MESSAGE);
  const message = FlatTable.root(bytes);
  const kind = HEADER_KINDS[message.byte(MESSAGE_HEADER_TYPE)];
  const header = message.table(MESSAGE_HEADER);
  // V5 is 4, https://github.com/apache/arrow/blob/main/format/Schema.fbs
  const version = message.short(0);
  if (version < 3 || version > 4) throw new CorruptBytes(`metadata of version ${version + 1}, not 4 or 5`);
  if (kind === undefined || header === undefined) throw new CorruptBytes('a message of unknown kind');
  return { kind, header, bodyBytes: message.size(MESSAGE_BODY_LENGTH) };
}

/** Decodes a record batch or dictionary batch message whose body has `bodyBytes`. */
export function parseBatch(bytes: Uint8Array, bodyBytes: number): BatchMessage {
  const { kind, header, bodyBytes: own } = parseMessage(bytes);
  if (own !== bodyBytes) throw new CorruptBytes(`a body of ${own} bytes where the footer says ${bodyBytes}`);
  if (kind === 'schema') throw new CorruptBytes('a schema in place of a batch');
  const batch = kind === 'dictionary' ? header.table(1) : header;
  if (batch === undefined) throw new CorruptBytes('a dictionary without values');
  if (batch.table(BATCH_COMPRESSION) !== undefined) throw new CorruptBytes('compressed buffers');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const nodes = pairs(view, batch.vector(BATCH_NODES, 16)).map(([length, nulls]) => ({ length, nulls }));
  const buffers = pairs(view, batch.vector(BATCH_BUFFERS, 16)).map(([offset, size]) => ({
    offset,
    bytes: size,
  }));
  for (const { offset, bytes: size } of buffers)
    if (offset + size > bodyBytes)
      throw new CorruptBytes(`a buffer that ends beyond the batch's ${bodyBytes} bytes`);
    else if (offset % 8 !== 0)
      throw new CorruptBytes(`a buffer that begins at byte ${offset}, not at a multiple of 8`);
  const rows = batch.size(BATCH_LENGTH);
  if (kind === 'batch') return { rows, nodes, buffers };
  if (header.byte(2) !== 0) throw new CorruptBytes('an addition to a dictionary');
  return { rows, nodes, buffers, dictionary: header.size(0) };
}

/** Decodes the footer of a file of `fileBytes`. */
export function parseFooter(
  bytes: Uint8Array,
  fileBytes: number,
): { schema: ParsedSchema; batches: readonly Block[]; dictionaries: readonly Block[] } {
  verifyFlatBuffer(bytes, FOOTER);
  const footer = FlatTable.root(bytes);
  const schema = footer.table(1);
  if (schema === undefined) throw new CorruptBytes('a footer without schema');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = (field: number): Block[] => {
    const { start, length } = footer.vector(field, 24);
    return Array.from({ length }, (_, k) => {
      const at = start + 24 * k;
      const offset = readSize(view, at);
      const metadataBytes = view.getInt32(at + 8, true);
      const bodyBytes = readSize(view, at + 16);
      if (offset < 8 || metadataBytes < 16 || offset + metadataBytes + bodyBytes > fileBytes)
        throw new CorruptBytes(`a footer that points outside the file's ${fileBytes} bytes`);
      return { offset, metadataBytes, bodyBytes };
    });
  };
  const [batches, dictionaries] = [blocks(3), blocks(2)];
  checkApart([...batches, ...dictionaries]);
  return { schema: parseSchema(schema), batches, dictionaries };
}

/**
 * A batch that is listed twice, or lies inside another, would be read as many times as it is listed: a small
 * file could fill the memory.
 */
function checkApart(blocks: readonly Block[]): void {
  const sorted = [...blocks].sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const { offset, metadataBytes, bodyBytes } of sorted) {
    if (offset < end) throw new CorruptBytes(`a footer that lists bytes twice, at ${offset}`);
    end = offset + metadataBytes + bodyBytes;
  }
}

/** Decodes a schema table. */
export function parseSchema(schema: FlatTable): ParsedSchema {
  if (schema.short(0) !== 0) throw new CorruptBytes('big-endian data');
  const columns = schema.tables(1).map((field) => {
    const dictionary = field.table(4);
    const column = { name: field.string(0), type: typeName(field), metadata: keyValues(field, 6) };
    if (dictionary === undefined) return column;
    const keys = dictionary.table(1);
    if (keys === undefined) throw new CorruptBytes('a dictionary without the type of its indices');
    const type = `Dictionary<${intName(keys)}, ${column.type}>`;
    return { ...column, type, dictionary: dictionary.size(0) };
  });
  return { columns, metadata: keyValues(schema, 2) };
}

function keyValues(table: FlatTable, index: number): ReadonlyMap<string, string> {
  return new Map(
    table.tables(index).map((entry) => {
      if (entry.position(0) === undefined || entry.position(1) === undefined)
        throw new CorruptBytes('metadata without a key or a value');
      return [entry.string(0), entry.string(1)];
    }),
  );
}

function typeName(field: FlatTable): string {
  const type = field.table(3);
  if (type === undefined) throw new CorruptBytes('a field without a type');
  switch (field.byte(2)) {
    case 2:
      return intName(type);
    case 3:
      return `Float${[16, 32, 64][type.short(0)] ?? '?'}`;
    case 5:
      return 'Utf8';
    case 12:
      return `List<${itemName(field)}>`;
    case 16:
      return `FixedSizeList[${type.int(0)}]<${itemName(field)}>`;
    default:
      return `type ${field.byte(2)}`;
  }
}

function intName(type: FlatTable): string {
  return `${type.byte(1) === 1 ? 'Int' : 'Uint'}${type.int(0)}`;
}

function itemName(field: FlatTable): string {
  const [item, ...more] = field.tables(5);
  if (item === undefined || more.length > 0) throw new CorruptBytes('a list without one item type');
  // Lists of lists do not occur in this format, and not following them bounds the recursion.
  const type = item.byte(2);
  return type === 2 || type === 3 ? typeName(item) : `type ${type}`;
}

function pairs(view: DataView, vector: { start: number; length: number }): [number, number][] {
  return Array.from({ length: vector.length }, (_, k) => [
    readSize(view, vector.start + 16 * k),
    readSize(view, vector.start + 16 * k + 8),
  ]);
}
