/** What an importer reads: values of another program under its own names. */
import { ZayascopeError } from '../../errors.js';
import { storedBits } from '../../weights/safetensors.js';
import type { TapElements } from '../float.js';
import type { TapDtype } from '../format.js';
import type { Transform } from './layout.js';

/** Stands in a manifest where an import does not know a name, hash or dtype. */
export const UNKNOWN = 'unknown';

/** Element types that other programs write, as safetensors spells them. */
export const FOREIGN_DTYPES = [
  'F32',
  'F16',
  'BF16',
  'F64',
  'I8',
  'I16',
  'I32',
  'I64',
  'U8',
  'U16',
  'U32',
  'U64',
  'BOOL',
] as const;

/** One of {@link FOREIGN_DTYPES}. */
export type ForeignDtype = (typeof FOREIGN_DTYPES)[number];

/** One value in one forward step. */
export interface ForeignValue {
  /** The other program's name. */
  name: string;
  step: number;
  dtype: ForeignDtype;
  /** As stored, slowest axis first. */
  shape: readonly number[];
  /**
   * Applied before any layout of a map: leads from the stored axes to those that the other program means.
   * Default: none.
   */
  layout?: readonly Transform[];
  /** Where it lies, for messages. Default: the name alone. */
  origin?: string;
  /**
   * Why the value cannot be used (its dtype); such a value can be left out, not imported. `dtype` and `shape`
   * then mean nothing.
   */
  unusable?: string;
  /** Rows of the step that it is of, where it is known to be of some only. Default: found by its shape. */
  rows?: readonly number[];
  /** True if its axis of cache positions may hold those of other sequences too. Default false. */
  sharesCache?: boolean;
  /** Contiguous little-endian elements, in memory of their own. */
  read(): Promise<Uint8Array>;
  /** Bytes `[begin, end)` of what {@link read} gives, where they can be had alone. */
  readRange?(begin: number, end: number): Promise<Uint8Array>;
}

/** One forward step of one sequence. */
export interface ForeignStep {
  /** Tokens that it computed. */
  count: number;
  /** Their ids, if the source has them. */
  tokens?: readonly number[];
  /**
   * Number of the forward call, which steps of several sequences share. Default: each step is a call, in
   * order.
   */
  call?: number;
  /** Number of the sequence, from 0. Default 0. */
  sequence?: number;
  /** Position of its first token. Default: after the step before. */
  start?: number;
  /**
   * Rows of which logits were asked for, ascending, where those are not all: other rows of late values were
   * not computed.
   */
  outputs?: readonly number[];
}

/** A source of values. */
export interface ForeignSource extends AsyncDisposable {
  /** What kind of source, e.g. `safetensors`. */
  kind: string;
  /** Basename of the file or folder. */
  name: string;
  values: readonly ForeignValue[];
  /** The forward steps; undefined where the source does not say (then all values are of one step). */
  steps: readonly ForeignStep[] | undefined;
  /**
   * True if `values` come in the order in which they were computed. Default false: a file's own order says
   * nothing.
   */
  isExecutionOrder?: boolean;
  /** True if the program ended before its run did. Default false. */
  isUnfinished?: boolean;
  /** True if the source may hold the last positions of the sequence only. */
  mayLackFirstRows: boolean;
  /**
   * The call from which on values may be missing, since the program ended early. Default: all calls are
   * whole.
   */
  mayLackValuesFrom?: number | undefined;
  /**
   * Whole values of calls whose sequences the user gave, or that are taken for one, since the source does not
   * say, with the tokens of each sequence in the call: their shapes may contradict.
   */
  claimed?:
    | readonly { name: string; shape: readonly number[]; lengths: readonly number[]; isAssumed: boolean }[]
    | undefined;
  /** What a layout that does not fit may come from: a sentence for its message. */
  misfitHint?: string | undefined;
  /** What the source said about itself. */
  producer: Readonly<Record<string, unknown>>;
  /** What a user should know about how it was read. */
  notes: readonly string[];
}

/** Bytes of one element. */
export function foreignBytes(dtype: ForeignDtype): number {
  return storedBits(dtype)! / 8;
}

/** The dtype that a dump stores a value in: floats keep theirs, integers become I32. */
export function tapDtypeOf(dtype: ForeignDtype): TapDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64' ? dtype : 'I32';
}

/**
 * Elements as a dump stores them. Throws `BAD_ARGUMENT` naming the value for an integer outside of 32 bits;
 * `expected` says what was expected instead.
 */
export function toTapElements(
  bytes: Uint8Array,
  dtype: ForeignDtype,
  name: string,
  expected = 'integers that fit 32 bits',
): TapElements {
  const size = foreignBytes(dtype);
  // Typed arrays need alignment, which a part of a larger read may lack. (A Buffer's `slice` would be a view
  // of the same memory.)
  const own = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = own;
  const length = own.byteLength / size;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, length);
    case 'F16':
    case 'BF16':
      return new Uint16Array(buffer, byteOffset, length);
    case 'F64':
      return new Float64Array(buffer, byteOffset, length);
    case 'I32':
      return new Int32Array(buffer, byteOffset, length);
    case 'I64':
      return narrowed(new BigInt64Array(buffer, byteOffset, length), name, expected);
    case 'U64':
      return narrowed(new BigUint64Array(buffer, byteOffset, length), name, expected);
    case 'U32':
      return narrowed(new Uint32Array(buffer, byteOffset, length), name, expected);
    case 'U16':
      return Int32Array.from(new Uint16Array(buffer, byteOffset, length));
    case 'I16':
      return Int32Array.from(new Int16Array(buffer, byteOffset, length));
    case 'I8':
      return Int32Array.from(new Int8Array(buffer, byteOffset, length));
    case 'U8':
    case 'BOOL':
      return Int32Array.from(own);
  }
}

function narrowed(
  wide: BigInt64Array | BigUint64Array | Uint32Array,
  name: string,
  expected: string,
): Int32Array {
  const out = new Int32Array(wide.length);
  for (let k = 0; k < wide.length; k++) {
    out[k] = Number(wide[k]);
    if (out[k] !== Number(wide[k]))
      throw importError('BAD_ARGUMENT', expected, `${wide[k]} at index ${k}`, name);
  }
  return out;
}

/** An error of an import: expectation, what came, where. */
export function importError(
  code: 'BAD_ARGUMENT' | 'BAD_DUMP',
  expected: string,
  got: string,
  where: string,
): ZayascopeError {
  return new ZayascopeError(code, `importDump: expected ${expected}, got ${got} (${where})`, {
    op: 'importDump',
    tensor: where,
  });
}
