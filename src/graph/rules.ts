import type { Dtype } from '../dtype.js';
import { badArgument, type ErrorCode, ZayascopeError } from '../errors.js';
import type { OpName } from './ops.js';
import { formatShape } from './shape.js';
import { hasContiguousRows, isContiguous, type Tensor } from './tensor.js';

/**
 * Throws with the operands spelled out:
 * `mulMat: <expectation>, got a [7, 4096] F16, b [7, 4097] F32 (name of a, name of b)`.
 */
export function reject(
  code: ErrorCode,
  op: OpName,
  expectation: string,
  operands: Record<string, Tensor>,
): never {
  const entries = Object.entries(operands);
  const came = entries.map(([role, { shape, dtype }]) => `${role} ${formatShape(shape)} ${dtype}`).join(', ');
  const where = entries.map(([, { name }]) => name).join(', ');
  throw new ZayascopeError(code, `${op}: ${expectation}, got ${came} (${where})`, {
    op,
    tensor: entries[0]?.[1].name,
    shapes: entries.map(([, { shape }]) => shape),
    dtypes: entries.map(([, { dtype }]) => dtype),
  });
}

/** Rejects with `SHAPE_MISMATCH` unless the condition holds. */
export function requireShape(
  condition: boolean,
  op: OpName,
  expectation: string,
  operands: Record<string, Tensor>,
): void {
  if (!condition) reject('SHAPE_MISMATCH', op, expectation, operands);
}

/** Rejects with `DTYPE_UNSUPPORTED` unless the operand has one of the dtypes. */
export function requireDtype(op: OpName, role: string, tensor: Tensor, allowed: readonly Dtype[]): void {
  if (!allowed.includes(tensor.dtype))
    reject('DTYPE_UNSUPPORTED', op, `${role} must be ${allowed.join(' or ')}`, { [role]: tensor });
}

/** Rejects with `SHAPE_MISMATCH` unless the operand is contiguous; `cont()` makes it so. */
export function requireContiguous(op: OpName, role: string, tensor: Tensor): void {
  if (!isContiguous(tensor))
    reject(
      'SHAPE_MISMATCH',
      op,
      `${role} must be contiguous (strides are ${formatShape(tensor.strides)} bytes; use cont)`,
      {
        [role]: tensor,
      },
    );
}

/** Rejects with `SHAPE_MISMATCH` unless the last axis of the operand is contiguous. */
export function requireContiguousRows(op: OpName, role: string, tensor: Tensor): void {
  if (!hasContiguousRows(tensor))
    reject(
      'SHAPE_MISMATCH',
      op,
      `${role} must have contiguous rows (strides are ${formatShape(tensor.strides)} bytes; use cont)`,
      {
        [role]: tensor,
      },
    );
}

/** Rejects with `BAD_ARGUMENT` unless the scalar argument satisfies the condition. */
export function requireArgument(condition: boolean, op: string, expectation: string, value: unknown): void {
  if (!condition) throw badArgument(op, expectation, String(value));
}
