/**
 * Stable identifiers of everything that can go wrong. Tests and callers branch on these, never on messages.
 *
 * - `BAD_ARGUMENT`: a value the caller passed is malformed (wrong type, out of range, unknown name).
 * - `SHAPE_MISMATCH`, `DTYPE_UNSUPPORTED`: a graph op was given operands that its rule rejects.
 * - `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR`: a model folder cannot be used as it is.
 * - `BAD_DUMP`: a dump folder or file is not readable; `UNPAIRED`: two dumps do not cover the same tensors.
 * - `IO`: the file system refused (missing, unwritable, no space); `NO_SPACE`: the estimate exceeds the free
 *   space.
 * - `BACKEND`: a device or ggml itself failed; `VERSION_MISMATCH`: ggml's libraries and headers differ.
 * - `CANCELLED`: the caller cancelled; `CLOSED`: a disposed object was used.
 */
export type ErrorCode =
  | 'BAD_ARGUMENT'
  | 'SHAPE_MISMATCH'
  | 'DTYPE_UNSUPPORTED'
  | 'BAD_CONFIG'
  | 'BAD_CHECKPOINT'
  | 'MISSING_TENSOR'
  | 'BAD_DUMP'
  | 'UNPAIRED'
  | 'IO'
  | 'NO_SPACE'
  | 'BACKEND'
  | 'VERSION_MISMATCH'
  | 'CANCELLED'
  | 'CLOSED';

/** Machine-readable context of a {@link ZayascopeError}; every field is optional. */
export interface ErrorDetails {
  /** The operation that failed, such as `mulMat` or `openSafetensors`. */
  op?: string | undefined;
  /** The tensor, tap or file at fault. */
  tensor?: string | undefined;
  /** Shapes of the operands in the reference's axis order (slowest axis first). */
  shapes?: readonly (readonly number[])[];
  /** Dtypes of the operands. */
  dtypes?: readonly string[];
  /** The error that caused this one. */
  cause?: unknown;
}

/** Longest message, in UTF-16 units: a value of a file that is quoted may be as long as the file. */
const MAX_MESSAGE = 3000;

/** A message with its middle cut out where it is too long; what and where stand at its ends. */
function bounded(message: string): string {
  if (message.length <= MAX_MESSAGE) return message;
  const half = MAX_MESSAGE / 2 - 20;
  const cut = message.length - 2 * half;
  return `${message.slice(0, half)} [... ${cut} characters ...] ${message.slice(-half)}`;
}

/**
 * The one error class of the library. Messages read: operation, expectation, what came, where.
 *
 * @example `mulMat: inner sizes must match, got a [7, 4096] F16, b [7, 4097] F32 (layers.3.self_attn.o_proj)`
 */
export class ZayascopeError extends Error {
  override readonly name = 'ZayascopeError';
  readonly code: ErrorCode;
  readonly op: string | undefined;
  readonly tensor: string | undefined;
  readonly shapes: readonly (readonly number[])[] | undefined;
  readonly dtypes: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(bounded(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.op = details.op;
    this.tensor = details.tensor;
    this.shapes = details.shapes;
    this.dtypes = details.dtypes;
  }
}

/** What an error of {@link unmet} says besides what was expected and what came. */
export interface UnmetDetails extends ErrorDetails {
  /** What stands in brackets at the end: the tensor, tap or file at fault; default nothing. */
  where?: string | undefined;
}

/**
 * The error of an expectation that was not met: `op: expected ..., got ... (where)`, the order in which every
 * message of the library says so.
 */
export function unmet(
  code: ErrorCode,
  op: string,
  expected: string,
  got: string | number,
  { where, ...details }: UnmetDetails = {},
): ZayascopeError {
  const place = where === undefined ? '' : ` (${where})`;
  return new ZayascopeError(code, `${op}: expected ${expected}, got ${got}${place}`, { op, ...details });
}

/** {@link unmet} of a value that a caller passed; `where` is the error's `tensor` too. */
export function badArgument(
  op: string,
  expected: string,
  got: string | number,
  where?: string,
  cause?: unknown,
): ZayascopeError {
  return unmet('BAD_ARGUMENT', op, expected, got, { where, tensor: where, cause });
}
