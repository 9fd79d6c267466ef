import type { Dtype } from '../dtype.js';
import { copy } from './ops-layout.js';
import {
  reject,
  requireArgument,
  requireContiguous,
  requireContiguousRows,
  requireDtype,
  requireShape,
} from './rules.js';
import { broadcasts } from './shape.js';
import type { Tensor } from './tensor.js';

const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16'];

/**
 * `a + b`; `b` spreads over `a` (sizes equal or 1, aligned at the last axis). Result has the shape and dtype
 * of `a`.
 */
export function add(a: Tensor, b: Tensor): Tensor {
  return binary('add', a, b);
}

/** `a − b`; see {@link add}. */
export function sub(a: Tensor, b: Tensor): Tensor {
  return binary('sub', a, b);
}

/** `a · b` element by element; see {@link add}. */
export function mul(a: Tensor, b: Tensor): Tensor {
  return binary('mul', a, b);
}

/** `a / b` element by element; see {@link add}. */
export function div(a: Tensor, b: Tensor): Tensor {
  return binary('div', a, b);
}

// ggml computes in F32 and rounds to the dtype of `a`. Accepted: equal floating dtypes, or a half-width `a`
// with an F32 `b`; F32 with a half-width `b` aborts.
function binary(op: 'add' | 'sub' | 'mul' | 'div', a: Tensor, b: Tensor): Tensor {
  requireDtype(op, 'a', a, FLOATS);
  if (b.dtype !== a.dtype && b.dtype !== 'F32')
    reject('DTYPE_UNSUPPORTED', op, 'b must be of the dtype of a, or F32', { a, b });
  requireShape(broadcasts(b.shape, a.shape), op, 'b must spread over a', { a, b });
  requireContiguousRows(op, 'a', a);
  requireContiguousRows(op, 'b', b);
  return a.graph.emit({ op, sources: [a, b], dtype: a.dtype, shape: a.shape });
}

/** `x · factor + bias`, F32, contiguous. */
export function scale(x: Tensor, factor: number, bias = 0): Tensor {
  requireDtype('scale', 'x', x, ['F32']);
  requireContiguous('scale', 'x', x);
  requireArgument(Number.isFinite(factor), 'scale', 'a finite factor', factor);
  requireArgument(Number.isFinite(bias), 'scale', 'a finite bias', bias);
  return x.graph.emit({
    op: 'scale',
    sources: [x],
    params: bias === 0 ? [factor] : [factor, bias],
    dtype: 'F32',
    shape: x.shape,
  });
}

/** `√x`, F32, contiguous. */
export function sqrt(x: Tensor): Tensor {
  requireDtype('sqrt', 'x', x, ['F32']);
  requireContiguous('sqrt', 'x', x);
  return x.graph.emit({ op: 'sqrt', sources: [x], dtype: 'F32', shape: x.shape });
}

/** The largest F32. */
const MOST = 3.4028234663852886e38;

/** `min(max(x, least), most)`, F32; `most` by default the largest F32. ggml clamps in place, so a copy is. */
export function clamp(x: Tensor, least: number, most: number = MOST): Tensor {
  requireDtype('clamp', 'x', x, ['F32']);
  requireArgument(Number.isFinite(least), 'clamp', 'a finite least value', least);
  requireArgument(
    Number.isFinite(most) && most >= least,
    'clamp',
    `a finite most of at least ${least}`,
    most,
  );
  return x.graph.emit({
    op: 'clamp',
    sources: [copy(x)],
    params: [least, most],
    dtype: 'F32',
    shape: x.shape,
  });
}

/** `x / (1 + exp(−x))`. F32 or F16. */
export function silu(x: Tensor): Tensor {
  return activation('silu', x);
}

/**
 * The tanh approximation of GELU. On the CPU ggml reads it from a table with F16 steps: up to 2.4e-3 from the
 * exact form for |x| < 3. F32 or F16.
 */
export function gelu(x: Tensor): Tensor {
  return activation('gelu', x);
}

/** Exact GELU, `x/2 · (1 + erf(x/√2))`: what `nn.GELU()` computes. F32 or F16. */
export function geluErf(x: Tensor): Tensor {
  return activation('geluErf', x);
}

function activation(op: 'silu' | 'gelu' | 'geluErf', x: Tensor): Tensor {
  requireDtype(op, 'x', x, ['F32', 'F16']);
  requireContiguous(op, 'x', x);
  return x.graph.emit({ op, sources: [x], dtype: x.dtype, shape: x.shape });
}

/**
 * `silu(first half of each row) · second half`: `[.., 2n]` gives `[.., n]`, as the reference's
 * `gate, up = chunk(2)`. F32 or F16.
 */
export function swiglu(gateUp: Tensor): Tensor {
  requireDtype('swiglu', 'gateUp', gateUp, ['F32', 'F16']);
  requireContiguous('swiglu', 'gateUp', gateUp);
  const width = gateUp.shape[gateUp.shape.length - 1]!;
  requireShape(width % 2 === 0, 'swiglu', 'rows of even length', { gateUp });
  return gateUp.graph.emit({
    op: 'swiglu',
    sources: [gateUp],
    dtype: gateUp.dtype,
    shape: [...gateUp.shape.slice(0, -1), width / 2],
  });
}
