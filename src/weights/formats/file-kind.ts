/**
 * What a file is, by its content. Every reader asks here before it reads, so that no format is taken for
 * another one, whatever the name.
 */
import { ZayascopeError } from '../../errors.js';
import { fileSizeBytes, readInto, withFile } from '../file-access.js';

/**
 * Kinds that some reader of this library reads; `other` is known but not read, `text` and `binary` have no
 * mark of their own.
 */
export type FileKind =
  | 'gguf'
  | 'safetensors'
  | 'npy'
  | 'zip'
  | 'llama-perplexity'
  | 'json'
  | 'logits text'
  | 'text'
  | 'binary'
  | 'empty'
  | 'other';

/** A file as its first bytes show it. */
export interface SniffedFile {
  kind: FileKind;
  /** With its article, for messages: `a NumPy array (.npy)`. */
  what: string;
  /** What the user can do about it; undefined where nothing follows from the content alone. */
  advice?: string;
  sizeBytes: number;
}

/** Enough for every mark, and for telling text from floats. */
const START_BYTES = 4096;

interface Mark {
  /** Bytes at `offset`, as Latin-1. */
  bytes: string;
  offset?: number;
  kind: FileKind;
  what: string;
  advice?: string;
}

/** Longer marks first where one begins like another. */
const MARKS: readonly Mark[] = [
  { bytes: '_logits_', kind: 'llama-perplexity', what: 'log-probabilities of llama-perplexity' },
  { bytes: '\x93NUMPY', kind: 'npy', what: 'a NumPy array (.npy)' },
  {
    bytes: 'version https://git-lfs',
    kind: 'other',
    what: 'a git-lfs pointer instead of the file',
    advice: 'run `git lfs pull` in its repository',
  },
  {
    bytes: 'version https://hawser',
    kind: 'other',
    what: 'a git-lfs pointer instead of the file',
    advice: 'run `git lfs pull` in its repository',
  },
  { bytes: 'GGUF', kind: 'gguf', what: 'a GGUF file' },
  ...['tjgg', 'fmgg', 'lmgg', 'algg'].map(
    (bytes): Mark => ({
      bytes,
      kind: 'other',
      what: 'a GGML file of before GGUF',
      advice: 'convert the original model again with a recent llama.cpp',
    }),
  ),
  { bytes: 'PK\x03\x04', kind: 'zip', what: 'a zip archive' },
  { bytes: 'PK\x05\x06', kind: 'zip', what: 'an empty zip archive' },
  {
    bytes: '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19',
    kind: 'other',
    what: 'a PyTorch file of before version 1.6',
    advice: "save it again: torch.save(torch.load(old, weights_only=True, map_location='cpu'), new)",
  },
  { bytes: 'ARROW1\0\0', kind: 'other', what: 'an Arrow file', advice: 'a dump is the folder that holds it' },
  { bytes: 'PAR1', kind: 'other', what: 'a Parquet file' },
  { bytes: 'FEA1', kind: 'other', what: 'a Feather file of version 1' },
  {
    bytes: '\x89HDF\r\n\x1a\n',
    kind: 'other',
    what: 'an HDF5 file',
    advice: 'save its arrays with numpy.savez',
  },
  { bytes: '\x1f\x8b\x08', kind: 'other', what: 'a gzip file', advice: 'unpack it with gunzip' },
  { bytes: '\x28\xb5\x2f\xfd', kind: 'other', what: 'a Zstandard file', advice: 'unpack it with unzstd' },
  { bytes: '\xfd7zXZ\0', kind: 'other', what: 'an xz file', advice: 'unpack it with unxz' },
  { bytes: 'BZh91AY&SY', kind: 'other', what: 'a bzip2 file', advice: 'unpack it with bunzip2' },
  { bytes: '\x04\x22\x4d\x18', kind: 'other', what: 'an LZ4 file', advice: 'unpack it with unlz4' },
  { bytes: "7z\xbc\xaf'\x1c", kind: 'other', what: 'a 7-Zip archive', advice: 'unpack it' },
  { bytes: 'ustar', offset: 257, kind: 'other', what: 'a tar archive', advice: 'unpack it with tar -x' },
  { bytes: '\x7fELF', kind: 'other', what: 'a program or library (ELF)' },
  { bytes: '\x89PNG\r\n', kind: 'other', what: 'a PNG image' },
  { bytes: '%PDF-', kind: 'other', what: 'a PDF document' },
  { bytes: 'SQLite format 3\0', kind: 'other', what: 'an SQLite database' },
  {
    bytes: 'MATLAB 5.0 MAT',
    kind: 'other',
    what: 'a MATLAB file',
    advice: 'save its arrays with numpy.savez',
  },
];

/**
 * Looks at the content of a file.
 * @param op the operation that is going to read it, for errors. @throws `IO` for what is no regular file or
 * cannot be read.
 */
export async function sniffFile(op: string, path: string): Promise<SniffedFile> {
  const sizeBytes = await fileSizeBytes(op, path);
  const start = new Uint8Array(Math.min(sizeBytes, START_BYTES));
  const last = new Uint8Array(Math.min(sizeBytes, 1));
  await withFile(op, path, async (handle) => {
    await readInto(op, handle, path, 0, start);
    await readInto(op, handle, path, sizeBytes - last.length, last);
  });
  return sniffBytes(start, sizeBytes, last[0]);
}

/** What {@link sniffFile} says of the first bytes of a file, and of its last one. */
export function sniffBytes(start: Uint8Array, sizeBytes: number, last = start.at(-1)): SniffedFile {
  if (sizeBytes === 0) return { kind: 'empty', what: 'an empty file', sizeBytes };
  const text = Buffer.from(start.buffer, start.byteOffset, start.byteLength).toString('latin1');
  const mark = MARKS.find(({ bytes, offset = 0 }) => text.startsWith(bytes, offset));
  if (mark !== undefined) {
    const { kind, what, advice } = mark;
    return { kind, what, ...(advice === undefined ? {} : { advice }), sizeBytes };
  }
  if (isPickle(text, last))
    return {
      kind: 'other',
      what: 'a Python pickle',
      advice:
        'save tensors with safetensors, arrays with numpy.save (reading a pickle can run code, so it is not read)',
      sizeBytes,
    };
  if (isSafetensors(start, sizeBytes)) return { kind: 'safetensors', what: 'a safetensors file', sizeBytes };
  if (isText(start, sizeBytes)) return sniffText(text, sizeBytes);
  return { kind: 'binary', what: 'binary data without a mark of its format', sizeBytes };
}

/**
 * Two bytes of a protocol are too little beside floats: an opcode follows, and a full stop ends every pickle.
 */
function isPickle(text: string, last: number | undefined): boolean {
  const [start, version, opcode = ''] = text;
  if (start !== '\x80' || last !== 0x2e) return false;
  if (version === '\x04' || version === '\x05') return opcode === '\x95';
  return (version === '\x02' || version === '\x03') && '}](cXUKJMNG\x85\x86\x87\x88\x89\x8a'.includes(opcode);
}

/** Eight bytes of a header length that fits the file, then the header's JSON. */
function isSafetensors(start: Uint8Array, sizeBytes: number): boolean {
  if (start.length < 10 || start[8] !== 0x7b) return false;
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length < 2n) return false;
  // A cut or damaged file has less than its header says: the text after the brace decides.
  return (
    Number(length) <= sizeBytes - 8 ||
    /^\{\s*["}]/.test(Buffer.from(start.subarray(8, 40)).toString('latin1'))
  );
}

function isText(start: Uint8Array, sizeBytes: number): boolean {
  if (start.some((byte) => byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d, 0x1b].includes(byte))) return false;
  try {
    // A character may be cut at the end of what was read.
    new TextDecoder('utf-8', { fatal: true }).decode(start, { stream: start.length < sizeBytes });
    return true;
  } catch {
    return false;
  }
}

function sniffText(text: string, sizeBytes: number): SniffedFile {
  const first = text.replace(/^\xef\xbb\xbf/, '').trimStart();
  if (/^0: *[-+]?(\d|inf|nan)/i.test(first))
    return { kind: 'logits text', what: "the text of llama.cpp's scripts (index: logit)", sizeBytes };
  if (/^[{[]/.test(first)) return { kind: 'json', what: 'JSON text', sizeBytes };
  if (/^<(!doctype|html|\?xml)/i.test(first))
    return {
      kind: 'other',
      what: 'a web page (HTML or XML)',
      advice: 'the download gave a page instead of the file',
      sizeBytes,
    };
  return { kind: 'text', what: 'text', sizeBytes };
}

/** What a file is and what can be done about it: `a gzip file; unpack it with gunzip`. */
export function describeFile({ what, advice }: SniffedFile): string {
  return advice === undefined ? what : `${what}; ${advice}`;
}

/** The error for a file that is of another kind than the operation reads. */
export function wrongKind(
  code: 'BAD_ARGUMENT' | 'BAD_CHECKPOINT' | 'IO',
  op: string,
  expected: string,
  found: SniffedFile,
  path: string,
): ZayascopeError {
  return new ZayascopeError(code, `${op}: expected ${expected}, got ${describeFile(found)} (${path})`, {
    op,
    tensor: path,
  });
}
