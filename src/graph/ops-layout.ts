import { blockSize, type Dtype, isQuantized, QUANTIZED_DTYPES, sizeBytes } from '../dtype.js';
import {
  reject,
  requireArgument,
  requireContiguous,
  requireContiguousRows,
  requireDtype,
  requireShape,
} from './rules.js';
import { elementCount, resolveAxis, type Shape, sameShape, toNe } from './shape.js';
import { isContiguous, isPacked, type Tensor } from './tensor.js';

const PLAIN: readonly Dtype[] = ['F32', 'F16', 'BF16', 'I32'];
const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16'];
const ROW_SOURCES: readonly Dtype[] = [...PLAIN, ...QUANTIZED_DTYPES];

/**
 * The same elements under other sizes; no data moves. The operand must be contiguous (strides of axes of size
 * 1 do not count) and hold as many elements.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  if (!isPacked(x)) requireContiguous('reshape', 'x', x);
  requireShape(
    elementCount(shape) === elementCount(x.shape),
    'reshape',
    `sizes must hold as many elements as [${shape.join(', ')}]`,
    { x },
  );
  requireShape(
    shape[shape.length - 1]! % blockSize(x.dtype) === 0,
    'reshape',
    `rows must hold whole ${x.dtype} blocks`,
    { x },
  );
  return x.graph.emit({ op: 'reshape', sources: [x], dtype: x.dtype, shape });
}

/**
 * Elements `start` (inclusive) to `end` (exclusive) along one axis, as a view; no data moves. Rows must be
 * contiguous. Negative axes count from the end.
 */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const at = resolveAxis('view', axis, x.shape.length);
  const size = x.shape[at]!;
  requireArgument(
    Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= size,
    'view',
    `a range within 0..${size} along axis ${at} of ${x.name}`,
    `${start}..${end}`,
  );
  const last = at === x.shape.length - 1;
  const block = blockSize(x.dtype);
  requireArgument(
    !last || (start % block === 0 && end % block === 0),
    'view',
    `multiples of ${block} for ${x.dtype} rows`,
    `${start}..${end}`,
  );
  const offsetBytes = last ? sizeBytes(x.dtype, start) : start * x.strides[at]!;
  const shape = x.shape.map((length, index) => (index === at ? end - start : length));
  return view(x, shape, x.strides, offsetBytes);
}

/**
 * Splits one axis in two: `[.., n, ..]` becomes `[.., outer, n / outer, ..]`, as a view. Rows must be
 * contiguous, other axes need not be.
 */
export function splitAxis(x: Tensor, axis: number, outer: number): Tensor {
  const at = resolveAxis('view', axis, x.shape.length);
  const size = x.shape[at]!;
  requireShape(x.shape.length < 4, 'view', 'a split needs at most 3 axes', { x });
  requireArgument(
    Number.isInteger(outer) && outer > 0 && size % outer === 0,
    'view',
    `a divisor of ${size} (axis ${at} of ${x.name})`,
    outer,
  );
  requireArgument(!isQuantized(x.dtype), 'view', 'a plain dtype to split', x.dtype);
  const inner = size / outer;
  const shape = [...x.shape.slice(0, at), outer, inner, ...x.shape.slice(at + 1)];
  const strides = [...x.strides.slice(0, at), x.strides[at]! * inner, ...x.strides.slice(at)];
  return view(x, shape, strides, 0);
}

function view(x: Tensor, shape: Shape, strides: readonly number[], offsetBytes: number): Tensor {
  requireContiguousRows('view', 'x', x); // ggml gives every view a fastest stride of one element
  const nb = [...strides].reverse();
  const ne = toNe(shape);
  while (nb.length < 4) nb.push(nb[nb.length - 1]! * ne[nb.length - 1]!);
  return x.graph.emit({
    op: 'view',
    sources: [x],
    params: [...ne, ...nb.slice(1), offsetBytes],
    dtype: x.dtype,
    shape,
    strides,
  });
}

/** Reorders axes: result axis i is operand axis `order[i]`, as `torch.Tensor.permute`; no data moves. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  const rank = x.shape.length;
  const valid =
    order.length === rank && [...order].sort((a, b) => a - b).every((axis, index) => axis === index);
  requireArgument(valid, 'permute', `an order of the ${rank} axes of ${x.name}`, `[${order.join(', ')}]`);
  requireArgument(
    !isQuantized(x.dtype) || order[rank - 1] === rank - 1,
    'permute',
    `the last axis of ${x.dtype} rows to stay last`,
    order,
  );
  // ggml_permute says where each operand axis goes, fastest first: params[i] is the new place of ggml axis i.
  const params = [0, 1, 2, 3];
  order.forEach((source, target) => {
    params[rank - 1 - source] = rank - 1 - target;
  });
  return x.graph.emit({
    op: 'permute',
    sources: [x],
    params,
    dtype: x.dtype,
    shape: order.map((axis) => x.shape[axis]!),
    strides: order.map((axis) => x.strides[axis]!),
  });
}

/** Swaps the last two axes, as `torch.Tensor.mT`; no data moves. */
export function transpose(x: Tensor): Tensor {
  const rank = x.shape.length;
  requireShape(rank >= 2, 'transpose', 'at least 2 axes', { x });
  const order = x.shape.map((_, axis) => axis);
  [order[rank - 2], order[rank - 1]] = [rank - 1, rank - 2];
  requireArgument(!isQuantized(x.dtype), 'transpose', 'a plain dtype', x.dtype);
  return x.graph.emit({
    op: 'transpose',
    sources: [x],
    dtype: x.dtype,
    shape: order.map((axis) => x.shape[axis]!),
    strides: order.map((axis) => x.strides[axis]!),
  });
}

/**
 * A contiguous copy in the order of the axes; the operand itself, or a reshape of it, where its elements lie
 * in that order already.
 */
export function cont(x: Tensor): Tensor {
  if (isContiguous(x)) return x;
  return isPacked(x) ? reshape(x, x.shape) : copy(x);
}

/**
 * A contiguous copy: the value as it is when the node runs, whatever becomes of the operand's memory later.
 */
export function copy(x: Tensor): Tensor {
  requireDtype('cont', 'x', x, PLAIN);
  return x.graph.emit({ op: 'cont', sources: [x], dtype: x.dtype, shape: x.shape });
}

/**
 * Rounds to another dtype (nearest even), or converts between I32 and F32. Returns the operand itself where
 * the dtype is the same.
 */
export function cast(x: Tensor, dtype: Dtype): Tensor {
  if (x.dtype === dtype) return x;
  const floats = FLOATS.includes(x.dtype) && FLOATS.includes(dtype);
  const integers = (x.dtype === 'I32' && dtype === 'F32') || (x.dtype === 'F32' && dtype === 'I32');
  if (!floats && !integers)
    reject(
      'DTYPE_UNSUPPORTED',
      'cast',
      `a conversion among F32, F16 and BF16 or between F32 and I32, not to ${dtype}`,
      { x },
    );
  return x.graph.emit({ op: 'cast', sources: [x], dtype, shape: x.shape });
}

/**
 * Copies `x` into resident memory (a state), converting among floating dtypes; same element count. It runs
 * although nothing reads its result, after the nodes that were built before it.
 */
export function copyInto(x: Tensor, target: Tensor): Tensor {
  requireShape(
    elementCount(x.shape) === elementCount(target.shape),
    'copyInto',
    'as many elements as the target',
    { x, target },
  );
  requireDtype('copyInto', 'x', x, PLAIN);
  if (x.dtype !== target.dtype && !(FLOATS.includes(x.dtype) && FLOATS.includes(target.dtype)))
    reject('DTYPE_UNSUPPORTED', 'copyInto', 'floating dtypes or the same dtype', { x, target });
  const node = x.graph.emit({
    op: 'copyInto',
    sources: [x, target],
    dtype: target.dtype,
    shape: target.shape,
    strides: target.strides,
  });
  x.graph.effects.push(node);
  return node;
}

/** Joins two tensors along an axis; all other sizes and the dtype must match. */
export function concat(a: Tensor, b: Tensor, axis: number): Tensor {
  const at = resolveAxis('concat', axis, a.shape.length);
  requireDtype('concat', 'a', a, PLAIN);
  if (a.dtype !== b.dtype) reject('DTYPE_UNSUPPORTED', 'concat', 'one dtype', { a, b });
  const fits =
    a.shape.length === b.shape.length &&
    a.shape.every((size, index) => index === at || size === b.shape[index]);
  requireShape(fits, 'concat', `sizes must match but along axis ${at}`, { a, b });
  const shape = a.shape.map((size, index) => (index === at ? size + b.shape[at]! : size));
  return a.graph.emit({
    op: 'concat',
    sources: [a, b],
    params: [a.shape.length - 1 - at],
    dtype: a.dtype,
    shape,
  });
}

/**
 * Repeats a tensor to `shape`: each size must be the operand's or the operand's must be 1 (aligned at the
 * last axis).
 */
export function repeat(x: Tensor, shape: Shape): Tensor {
  requireDtype('repeat', 'x', x, ['F32', 'F16', 'I32']);
  requireContiguousRows('repeat', 'x', x);
  const target = toNe(shape);
  requireShape(
    toNe(x.shape).every((size, axis) => size === 1 || size === target[axis]),
    'repeat',
    `sizes that spread over [${shape.join(', ')}]`,
    { x },
  );
  if (sameShape(x.shape, shape)) return x;
  return x.graph.emit({ op: 'repeat', sources: [x], dtype: x.dtype, shape });
}

/**
 * Rows of a table by index: `table` [n, width], `ids` I32 [count] gives [count, width] (F32; I32 for an I32
 * table). With a leading axis on both, `table` [batch, n, width] and `ids` [batch, count] gives [batch,
 * count, width]. Indices out of range abort inside ggml, so they must come from the graph itself (argmax,
 * argsort) or have been checked by the caller.
 */
export function getRows(table: Tensor, ids: Tensor): Tensor {
  requireDtype('getRows', 'table', table, ROW_SOURCES);
  requireDtype('getRows', 'ids', ids, ['I32']);
  requireContiguousRows('getRows', 'table', table);
  requireContiguousRows('getRows', 'ids', ids);
  const batched = table.shape.length === 3;
  const fits = batched
    ? ids.shape.length === 2 && ids.shape[0] === table.shape[0]
    : table.shape.length === 2 && ids.shape.length === 1;
  requireShape(
    fits,
    'getRows',
    'table [n, width] with ids [count], or both with one leading axis of the same size',
    { table, ids },
  );
  const shape = [...ids.shape, table.shape[table.shape.length - 1]!];
  return table.graph.emit({
    op: 'getRows',
    sources: [table, ids],
    dtype: table.dtype === 'I32' ? 'I32' : 'F32',
    shape,
  });
}

/**
 * Writes rows into resident memory at places that are known at run time only: `rows` F32 [n, width] go to
 * `target` [count, width] (F32, F16 or BF16) at `ids` I32 [n]. Runs although nothing reads its result. Ids
 * out of range abort inside ggml: the caller checks them.
 */
export function setRows(target: Tensor, rows: Tensor, ids: Tensor): Tensor {
  requireDtype('setRows', 'target', target, FLOATS);
  requireDtype('setRows', 'rows', rows, ['F32']);
  requireDtype('setRows', 'ids', ids, ['I32']);
  requireContiguous('setRows', 'target', target);
  requireContiguousRows('setRows', 'rows', rows);
  requireContiguous('setRows', 'ids', ids);
  const operands = { target, rows, ids };
  const ranks = target.shape.length === 2 && rows.shape.length === 2 && ids.shape.length === 1;
  requireShape(ranks, 'setRows', 'target [count, width], rows [n, width], ids [n]', operands);
  requireShape(
    target.shape[1] === rows.shape[1] && rows.shape[0] === ids.shape[0],
    'setRows',
    'one width, and one id per row',
    operands,
  );
  const node = target.graph.emit({
    op: 'setRows',
    sources: [target, rows, ids],
    dtype: target.dtype,
    shape: target.shape,
    strides: target.strides,
  });
  target.graph.effects.push(node);
  return node;
}
