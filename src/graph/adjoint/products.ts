import { add } from '../ops-arithmetic.js';
import { cont, reshape, slice, transpose } from '../ops-layout.js';
import { mulMat, mulMatId } from '../ops-products.js';
import { reject } from '../rules.js';
import { elementCount } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { pad, plain, sumTo, transposed } from './pieces.js';
import type { BackwardRule, BackwardRules } from './rules.js';

const mulMatBackward: BackwardRule = (node, gradient, isAsked) => {
  const [a, b] = node.sources as [Tensor, Tensor];
  return [
    isAsked(a) ? matrixGradient(a, b, gradient) : undefined,
    isAsked(b) ? reshape(timesMatrix(a, gradient), b.shape) : undefined,
  ];
};

/** Elements that are transposed at once: a head's matrix would take gigabytes twice over. */
const MOST_TRANSPOSED = 2 ** 26;

/** `gradient · a`, of a matrix in parts of its rows where it is large. */
function timesMatrix(a: Tensor, gradient: Tensor): Tensor {
  const [m, k] = a.shape.slice(-2) as [number, number];
  const step = Math.max(1, Math.floor(MOST_TRANSPOSED / k));
  if (a.shape.length > 2 || m <= step) return mulMat(transposed(a), gradient);
  let sum: Tensor | undefined;
  for (let start = 0; start < m; start += step) {
    const end = Math.min(m, start + step);
    const part = mulMat(transposed(slice(a, 0, start, end)), cont(slice(gradient, -1, start, end)));
    sum = sum === undefined ? part : add(sum, part);
  }
  return sum!;
}

/**
 * Of `b · aᵀ`: gradientᵀ · b. Where several matrices of `b` share one of `a` (grouped queries), their rows
 * are taken together, which adds up what each contributes.
 */
function matrixGradient(a: Tensor, b: Tensor, gradient: Tensor): Tensor {
  const [m, k] = a.shape.slice(-2) as [number, number];
  const lead = a.shape.slice(0, -2);
  const n = elementCount(b.shape) / k / elementCount(lead);
  // Matrices of `b` that share one must follow each other: all leading sizes but the last that differs agree.
  const outer = [
    ...new Array<number>(Math.max(0, lead.length + 2 - b.shape.length)).fill(1),
    ...b.shape.slice(0, -2),
  ];
  const own = [...new Array<number>(Math.max(0, outer.length - lead.length)).fill(1), ...lead];
  const differs = own.findIndex((size, axis) => size !== outer[axis]);
  if (differs >= 0 && own.slice(differs + 1).some((size) => size !== 1))
    reject('SHAPE_MISMATCH', 'mulMat', 'a gradient needs matrices that share one to follow each other', {
      a,
      b,
    });
  const rows = (x: Tensor, width: number) => cont(transpose(reshape(x, [...lead, n, width])));
  return mulMat(rows(plain(b), k), rows(gradient, m)); //                                    .., m, k
}

const mulMatIdBackward: BackwardRule = (node, gradient, isAsked) => {
  const [experts, b, ids] = node.sources as [Tensor, Tensor, Tensor];
  if (isAsked(experts))
    reject('DTYPE_UNSUPPORTED', 'mulMatId', 'no gradient of the experts, which are weights', { experts, b });
  return [undefined, isAsked(b) ? sumTo(mulMatId(transposed(experts), gradient, ids), b.shape) : undefined];
};

/** `x` [batch, channels, time] from `taps` samples each [batch, samples, channels]: shifted and added. */
function shifted(x: Tensor, size: number, sample: (tap: number) => Tensor): Tensor {
  let sum: Tensor | undefined;
  for (let tap = 0; tap < size; tap++) {
    const part = pad(cont(transpose(sample(tap))), 2, tap, size - 1 - tap);
    sum = sum === undefined ? part : add(sum, part);
  }
  return reshape(sum!, x.shape);
}

const im2colBackward: BackwardRule = (node, gradient, isAsked) => {
  const [kernel, x] = node.sources as [Tensor, Tensor];
  if (!isAsked(x)) return [];
  const [batch, samples] = node.shape as [number, number];
  const [, channels, size] = kernel.shape as [number, number, number];
  const bySample = reshape(gradient, [batch, samples, channels, size]);
  const sample = (tap: number) => reshape(cont(slice(bySample, 3, tap, tap + 1)), [batch, samples, channels]);
  return [undefined, shifted(x, size, sample)];
};

/** ggml's own rotary embedding backwards: the same with the angles turned round. */
const ropeBackward: BackwardRule = (node, gradient) => {
  const [dims, mode, context, base, factor, ...rest] = node.params;
  const back = node.graph.emit({
    op: 'rope',
    sources: [gradient, node.sources[1]!],
    params: [dims!, mode!, context!, base!, -factor!, ...rest],
    dtype: 'F32',
    shape: node.shape,
  });
  return [back];
};

/** Backward of products and convolutions. */
export const PRODUCTS: BackwardRules = {
  mulMat: mulMatBackward,
  mulMatId: mulMatIdBackward,
  im2col: im2colBackward,
  rope: ropeBackward,
};
