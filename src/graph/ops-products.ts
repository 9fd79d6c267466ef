import { blockSize, type Dtype, ggmlType, QUANTIZED_DTYPES } from '../dtype.js';
import { reshape } from './ops-layout.js';
import {
  reject,
  requireArgument,
  requireContiguous,
  requireContiguousRows,
  requireDtype,
  requireShape,
} from './rules.js';
import type { Tensor } from './tensor.js';

const MATRICES: readonly Dtype[] = ['F32', 'F16', 'BF16', ...QUANTIZED_DTYPES];

/**
 * `b · aᵀ`, batched: `a` [.., m, k], `b` [.., n, k] gives F32 [.., n, m]; a weight comes first, as in
 * `ggml_mul_mat`. Leading sizes of `b` are multiples of those of `a`; matrix i of `b` uses matrix ⌊i / ratio⌋
 * of `a` (grouped-query attention needs no repeat). `b` is F32, or has the half-width dtype of `a`. On the
 * CPU an F32 `b` is first rounded to what the dtype of `a` multiplies with: F16, BF16, Q8_0, Q8_K, or F32 for
 * F32.
 */
export function mulMat(a: Tensor, b: Tensor): Tensor {
  requireOperand('mulMat', a);
  const halfPair = b.dtype === a.dtype && (a.dtype === 'F16' || a.dtype === 'BF16');
  if (b.dtype !== 'F32' && !halfPair)
    reject('DTYPE_UNSUPPORTED', 'mulMat', 'b must be F32, or F16 or BF16 like a', { a, b });
  requireContiguousRows('mulMat', 'b', b);
  const [k, m] = lastTwo(a);
  const [kb, n] = lastTwo(b);
  requireShape(k === kb, 'mulMat', 'inner sizes must match', { a, b });
  const rank = Math.max(a.shape.length, b.shape.length);
  const leadA = leading(a, rank);
  const leadB = leading(b, rank);
  const fits = leadB.every((size, axis) => size % leadA[axis]! === 0);
  requireShape(fits, 'mulMat', 'leading sizes of b must be multiples of those of a', { a, b });
  const shape = b.shape.length === 1 ? [m] : [...leadB, n, m];
  return a.graph.emit({ op: 'mulMat', sources: [a, b], dtype: 'F32', shape });
}

/**
 * One matrix per row: `experts` [E, m, k], `b` F32 [rows, k], `ids` I32 [rows] gives F32 [rows, m], row i
 * being `experts[ids[i]] · b[i]`. With `ids` [rows, n] it gives [rows, n, m]: n different matrices a row,
 * each times the row or, of `b` [rows, n, k], times a row of its own. `ids` out of range abort inside ggml:
 * they must come from the graph itself or have been checked.
 */
export function mulMatId(experts: Tensor, b: Tensor, ids: Tensor): Tensor {
  requireOperand('mulMatId', experts);
  requireContiguous('mulMatId', 'experts', experts);
  requireDtype('mulMatId', 'b', b, ['F32']);
  requireDtype('mulMatId', 'ids', ids, ['I32']);
  requireContiguous('mulMatId', 'b', b);
  requireContiguous('mulMatId', 'ids', ids);
  const operands = { experts, b, ids };
  requireShape(
    experts.shape.length === 3 && fitsIds(b, ids),
    'mulMatId',
    'experts [E, m, k], b [rows, k], ids [rows]; or b [rows, k] or [rows, n, k], ids [rows, n]',
    operands,
  );
  requireShape(experts.shape[2] === b.shape.at(-1), 'mulMatId', 'inner sizes must match', operands);
  requireShape(b.shape[0] === ids.shape[0], 'mulMatId', 'one id per row of b', operands);
  const m = experts.shape[1]!;
  if (ids.shape.length === 2) {
    const [count, n] = ids.shape as [number, number];
    requireShape(b.shape.length === 2 || b.shape[1] === n, 'mulMatId', 'as many rows as ids a row', operands);
    requireShape(n <= experts.shape[0]!, 'mulMatId', 'at most as many ids a row as experts', operands);
    const rowsOf = b.shape.length === 3 ? b : reshape(b, [count, 1, b.shape[1]!]);
    return experts.graph.emit({
      op: 'mulMatId',
      sources: [experts, rowsOf, ids],
      dtype: 'F32',
      shape: [count, n, m],
    });
  }
  // ggml's axes are [tokens, experts of a token, ..]: one expert each. Rows given as the experts of one token
  // would be the same to its plain kernels, but those for repacked weights count on a token's experts being
  // different ones and write beyond their tables otherwise.
  const [rows, k] = b.shape as [number, number];
  const product = experts.graph.emit({
    op: 'mulMatId',
    sources: [experts, reshape(b, [rows, 1, k]), reshape(ids, [rows, 1])],
    dtype: 'F32',
    shape: [rows, 1, m],
  });
  return reshape(product, [rows, m]);
}

function fitsIds(b: Tensor, ids: Tensor): boolean {
  if (ids.shape.length === 1) return b.shape.length === 2;
  return ids.shape.length === 2 && (b.shape.length === 2 || b.shape.length === 3);
}

/**
 * Patches of a one-dimensional convolution without padding, stride 1: `kernel` [out, channels, size] (its
 * sizes count, its values do not), `x` F32 [batch, channels, time] (time fastest), gives `dtype` (F32 or F16)
 * [batch, time − size + 1, channels · size]; a row holds for each channel its `size` consecutive samples. F16
 * rounds the samples: the classic drift.
 */
export function im2col(kernel: Tensor, x: Tensor, dtype: 'F32' | 'F16'): Tensor {
  requireDtype('im2col', 'kernel', kernel, ['F32', 'F16', 'BF16']);
  requireDtype('im2col', 'x', x, ['F32']);
  requireContiguous('im2col', 'x', x);
  requireArgument(dtype === 'F32' || dtype === 'F16', 'im2col', 'a result dtype of F32 or F16', dtype);
  const operands = { kernel, x };
  requireShape(
    kernel.shape.length === 3 && x.shape.length === 3,
    'im2col',
    'kernel [out, channels, size], x [batch, channels, time]',
    operands,
  );
  const [batch, channels, time] = x.shape as [number, number, number];
  const size = kernel.shape[2]!;
  requireShape(kernel.shape[1] === channels, 'im2col', 'as many channels in the kernel as in x', operands);
  requireShape(time >= size, 'im2col', `at least ${size} samples`, operands);
  // s0, s1, p0, p1, d0, d1, is_2D, dst_type
  const params = [1, 0, 0, 0, 1, 0, 0, ggmlType(dtype)];
  return x.graph.emit({
    op: 'im2col',
    sources: [kernel, x],
    params,
    dtype,
    shape: [batch, time - size + 1, channels * size],
  });
}

/**
 * Depthwise causal convolution without padding: `x` F32 [batch, channels, time] (time fastest), `kernel` F32
 * [channels, size], gives F32 [batch, time − size + 1, channels]. CUDA has no kernel of size 2: see
 * `conv1dDepthwise` for the portable form.
 */
export function ssmConv(x: Tensor, kernel: Tensor): Tensor {
  requireDtype('ssmConv', 'x', x, ['F32']);
  requireDtype('ssmConv', 'kernel', kernel, ['F32']);
  requireContiguous('ssmConv', 'x', x);
  requireContiguous('ssmConv', 'kernel', kernel);
  const operands = { x, kernel };
  requireShape(
    x.shape.length === 3 && kernel.shape.length === 2,
    'ssmConv',
    'x [batch, channels, time], kernel [channels, size]',
    operands,
  );
  requireShape(x.shape[1] === kernel.shape[0], 'ssmConv', 'one kernel per channel', operands);
  const samples = x.shape[2]! - kernel.shape[1]! + 1;
  requireShape(samples >= 1, 'ssmConv', 'at least as many samples as the kernel is long', operands);
  return x.graph.emit({
    op: 'ssmConv',
    sources: [x, kernel],
    dtype: 'F32',
    shape: [x.shape[0]!, samples, x.shape[1]!],
  });
}

/**
 * ggml's own rotary embedding, neox form (pairs i and i + dims/2), on the first `dims` of each head: `x` F32
 * or F16 [tokens, heads, head_dim], `positions` I32 [tokens]. ggml multiplies angles up step by step, so they
 * differ from `position · base^(−2i/dims)` by about i·6e-8 relative: see `ropeFromTables` for the reference's
 * own angles.
 */
export function rope(x: Tensor, positions: Tensor, dims: number, base: number): Tensor {
  requireDtype('rope', 'x', x, ['F32', 'F16']);
  requireDtype('rope', 'positions', positions, ['I32']);
  requireContiguousRows('rope', 'x', x);
  requireShape(
    x.shape.length === 3 && positions.shape.length === 1,
    'rope',
    'x [tokens, heads, head_dim], positions [tokens]',
    { x, positions },
  );
  requireShape(x.shape[0] === positions.shape[0], 'rope', 'one position per token', { x, positions });
  requireArgument(
    Number.isInteger(dims) && dims > 0 && dims % 2 === 0 && dims <= x.shape[2]!,
    'rope',
    `an even number of dims up to ${x.shape[2]}`,
    dims,
  );
  requireArgument(Number.isFinite(base) && base > 0, 'rope', 'a positive base', base);
  const NEOX = 2;
  // n_dims, mode, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow: no
  // context extension.
  return x.graph.emit({
    op: 'rope',
    sources: [x, positions],
    params: [dims, NEOX, 0, base, 1, 0, 1, 32, 1],
    dtype: x.dtype,
    shape: x.shape,
  });
}

function requireOperand(op: 'mulMat' | 'mulMatId', a: Tensor): void {
  requireDtype(op, 'a', a, MATRICES);
  requireContiguousRows(op, 'a', a);
  requireShape(a.shape.length >= 2, op, 'a with at least 2 axes', { a });
  requireShape(
    a.shape[a.shape.length - 1]! % blockSize(a.dtype) === 0,
    op,
    `rows of whole ${a.dtype} blocks`,
    { a },
  );
}

function lastTwo(x: Tensor): [number, number] {
  return [x.shape[x.shape.length - 1]!, x.shape.length === 1 ? 1 : x.shape[x.shape.length - 2]!];
}

function leading(x: Tensor, rank: number): number[] {
  const own = x.shape.slice(0, -2);
  return [...new Array<number>(Math.max(0, rank - 2 - own.length)).fill(1), ...own];
}
