/**
 * `zayascope/graph`: the kernel library. `Graph`, the op functions with their shape and dtype rules,
 * `compileGraphs` and `openBackend`, and tensors that stay on a device. Importing it loads no native code.
 */

export { attentionOutput, attentionWeights, causalMask } from '../graph/attention.js';
export { type Backend, type BackendOptions, listDevices, openBackend } from '../graph/backend.js';
export {
  type CompiledGraph,
  type CompiledGraphs,
  compileGraphs,
  type OutputValue,
} from '../graph/compile.js';
export { type Conv1dOptions, conv1dDepthwise, conv1dGrouped } from '../graph/convolution.js';
export { Graph } from '../graph/graph.js';
export { OP_NAMES, type OpName } from '../graph/ops.js';
export { add, div, gelu, geluErf, mul, scale, silu, sub, swiglu } from '../graph/ops-arithmetic.js';
export {
  cast,
  concat,
  cont,
  copyInto,
  getRows,
  permute,
  repeat,
  reshape,
  slice,
  splitAxis,
  transpose,
} from '../graph/ops-layout.js';
export { im2col, mulMat, mulMatId, rope, ssmConv } from '../graph/ops-products.js';
export { argmax, argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from '../graph/ops-rows.js';
export {
  loadPolicy,
  POLICIES,
  type Policy,
  type PolicyRule,
  policy,
  type Rounding,
  SITE_KINDS,
  stochasticPolicy,
} from '../graph/policy.js';
export { ResidentMemory, type ResidentSpec, readResident, writeResident } from '../graph/resident.js';
export { type RotaryAngles, type RotaryTables, ropeFromTables, rotaryTables } from '../graph/rotary.js';
export type { Shape } from '../graph/shape.js';
export type { ResidentTensor, Tensor } from '../graph/tensor.js';
