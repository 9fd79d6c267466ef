/**
 * The public API. Importing it loads no native code: the addon is loaded by the first call that computes.
 *
 * Capture: `openZaya`, `capture`. Dumps: `Dump`, `DumpWriter`, `diffDumps`, `exportSafetensors`. Kernel library: `Graph`, the op functions, `compileGraphs`, `openBackend`.
 */

export { type CaptureOptions, type CaptureResult, capture } from './capture/capture.js';
export { type DiffOptions, diffDumps } from './diff/diff.js';
export { type ComparedReport, formatComparison } from './diff/format-comparison.js';
export { type FormatOptions, formatReport } from './diff/format-report.js';
export {
  type BlockReport,
  type DiffReport,
  type FloatTapReport,
  type HashTapReport,
  type IntegerTapReport,
  reportToJson,
  type StatisticsTapReport,
  type TapReport,
  type Unpaired,
} from './diff/report.js';
export { DTYPES, type Dtype } from './dtype.js';
export { exportSafetensors } from './dump/export-safetensors.js';
export { type TapElements, toFloat32, toFloat64 } from './dump/float.js';
export type {
  DumpDescription,
  DumpModel,
  DumpProducer,
  DumpTier,
  Manifest,
  RowIndex,
  TapDtype,
  TapInfo,
  TapScope,
  TapSpec,
} from './dump/format.js';
export { Dump, type FileRows, ReusableBuffer, type RowFilter, type TensorBatch } from './dump/reader.js';
export type { HashRow, StatsRows } from './dump/stats-reader.js';
export { DumpWriter, type DumpWriterOptions, type TapStats, type TapValue } from './dump/writer.js';
export { type ErrorCode, type ErrorDetails, ZayascopeError } from './errors.js';
export { attentionOutput, attentionWeights, causalMask } from './graph/attention.js';
export { type Backend, type BackendOptions, listDevices, openBackend } from './graph/backend.js';
export {
  type CompiledGraph,
  type CompiledGraphs,
  compileGraphs,
  type OutputValue,
} from './graph/compile.js';
export { type Conv1dOptions, conv1dDepthwise, conv1dGrouped } from './graph/convolution.js';
export { Graph } from './graph/graph.js';
export { OP_NAMES, type OpName } from './graph/ops.js';
export { add, div, gelu, geluErf, mul, scale, silu, sub, swiglu } from './graph/ops-arithmetic.js';
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
} from './graph/ops-layout.js';
export { im2col, mulMat, mulMatId, rope, ssmConv } from './graph/ops-products.js';
export { argmax, argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from './graph/ops-rows.js';
export { POLICIES, type Policy, policy } from './graph/policy.js';
export { ResidentMemory, type ResidentSpec, readResident, writeResident } from './graph/resident.js';
export { type RotaryTables, ropeFromTables, rotaryTables } from './graph/rotary.js';
export type { Shape } from './graph/shape.js';
export type { ResidentTensor, Tensor } from './graph/tensor.js';
export type { Taps } from './models/tap.js';
export { type LayerType, parseZayaConfig, readZayaConfig, type ZayaConfig } from './models/zaya-config.js';
export { type OpenZayaOptions, openZaya, type ZayaModel } from './models/zaya-model.js';
export type { SegmentSink, ZayaPlan, ZayaPlanOptions } from './models/zaya-plan.js';
export type { ForwardOptions, ZayaSession, ZayaSessionOptions } from './models/zaya-session.js';
export { type ZayaTap, zayaTaps } from './models/zaya-taps.js';
export type { NativeDevice } from './native.js';
export { type PositionRange, parsePositions } from './positions.js';
export { tapPattern } from './tap-pattern.js';
export { type Checkpoint, openCheckpoint, type TensorInfo } from './weights/checkpoint.js';
