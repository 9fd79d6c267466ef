/** Values that lie in a file as they are: a range of bytes each. */
import { readInto, withFile } from '../../weights/file-access.js';
import { FOREIGN_DTYPES, type ForeignValue, importError } from './foreign.js';

const OP = 'importDump';

/** The reading half of a value that occupies `sizeBytes` of `path` from `offsetBytes` on. */
export function readsFrom(
  path: string,
  offsetBytes: number,
  sizeBytes: number,
): Required<Pick<ForeignValue, 'read' | 'readRange'>> {
  const readRange = async (begin: number, end: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(end - begin);
    await withFile(OP, path, (handle) => readInto(OP, handle, path, offsetBytes + begin, bytes));
    return bytes;
  };
  return { read: () => readRange(0, sizeBytes), readRange };
}

/** A value that cannot be used, which only shows when it is wanted: reading it throws `BAD_ARGUMENT`. */
export function unusableValue(name: string, why: string, origin: string): ForeignValue {
  const read = async (): Promise<never> => {
    throw unusableError(why, origin);
  };
  return { name, step: 0, dtype: 'U8', shape: [], unusable: why, origin, read };
}

/** The error for a value of an unusable dtype. */
export function unusableError(why: string, where: string): Error {
  return importError('BAD_ARGUMENT', `a dtype of ${FOREIGN_DTYPES.join(', ')}`, why, where);
}

/**
 * How a value is brought into the order of its axes whose file has them in the order `storedAxes`, slowest
 * first.
 */
export function fromStoredAxes(
  shape: readonly number[],
  storedAxes: readonly number[],
): Pick<ForeignValue, 'shape' | 'layout'> {
  const axes = shape.map((_, axis) => storedAxes.indexOf(axis));
  return { shape: storedAxes.map((axis) => shape[axis]!), layout: [{ op: 'permute', axes }] };
}

/** A source that holds values of one forward step and nothing else. */
export function plainSource(
  kind: string,
  name: string,
  values: readonly ForeignValue[],
  more: {
    close?: () => Promise<void>;
    producer?: Readonly<Record<string, unknown>>;
    notes?: readonly string[];
  } = {},
) {
  const { close = async () => {}, producer = {}, notes = [] } = more;
  return {
    kind,
    name,
    values,
    steps: undefined,
    mayLackFirstRows: false,
    producer,
    notes,
    [Symbol.asyncDispose]: close,
  };
}
