/**
 * The public API. Importing it loads no native code: the addon is loaded by the first call that computes.
 *
 * - Models: `openZaya`, its `session`; `openZayaSource`, `convertZaya`, `synthZaya`, `readWeight`, `diffWeights`
 * - Text: `openTokenizer`, `promptTokens`, `promptTokensInWorker`, `generate`, `sampler`, `greedy`, `stopTokens`, `evaluate`
 * - Dumps: `capture`, `captureSession`, `Dump`, `DumpWriter`, `exportSafetensors`
 * - Comparison: `diffDumps`, `verifyLogits`, `tensorMetrics`
 * - Causes: `locatePolicy`, `locateDumps`, `replay`, `noiseFloor`, `graftTaps`, `bisect`, `attribute`, `policyDiff`, `writeRepro`, `runRepro`, `openStepper`
 * - Dumps of other programs: `importDump`, `openForeignSource`, `importTarget`, `readNameMap`
 * - Devices: `conformance`, `proveCapture`, `compareBackends`
 * - Kernel library: `Graph`, the op functions, `compileGraphs`, `openBackend`
 */

export { type CaptureOptions, type CaptureResult, capture } from './capture/capture.js';
export {
  type CaptureProcessOptions,
  type CaptureProcessResult,
  captureInProcess,
} from './capture/capture-process.js';
export {
  type CapturedSession,
  type CaptureSessionOptions,
  captureSession,
} from './capture/capture-session.js';
export { type ImportTarget, importTarget } from './capture/import-target.js';
export {
  type CaptureProof,
  type ChangingTaps,
  type ProveOptions,
  proveCapture,
} from './capture/prove.js';
export type { CapturedNonFinite } from './capture/step-sink.js';
export {
  type CaseReport,
  type ConformanceOptions,
  type ConformanceReport,
  conformance,
} from './conformance/conformance.js';
export { conformanceMarkdown } from './conformance/format-conformance.js';
export type { ConformanceDevice } from './conformance/in-children.js';
export type { CaseSelection } from './conformance/options.js';
export type { CaseOutcome } from './conformance/run-case.js';
export { type DiffOptions, diffDumps } from './diff/diff.js';
export { type ComparedReport, formatComparison } from './diff/format/comparison.js';
export { formatLogitsCheck } from './diff/format/logits-check.js';
export { type FormatOptions, formatReport } from './diff/format/report.js';
export {
  checkLogits,
  type LogitsCheckOptions,
  type LogitsCheckReport,
  logitsBand,
  type TokensCheck,
  type TopToken,
} from './diff/logits/check.js';
export { type LogitsRow, type LogitsSource, openLogits } from './diff/logits/check-source.js';
export type { LogitsReport, TokenLogits } from './diff/logits/logits.js';
export { type VerifyLogitsOptions, verifyLogits } from './diff/logits/verify-logits.js';
export { type TensorMetrics, tensorMetrics } from './diff/metrics.js';
export type { NonFiniteCounts, ReportNonFinite, TapNonFinite } from './diff/non-finite.js';
export { openPairedDumps, type PairedDumps } from './diff/paired-dumps.js';
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
export type { ExpertFlip, RoutingReport } from './diff/routing.js';
export { DTYPES, type Dtype } from './dtype.js';
export type { PlainDtype, QuantisedDtype } from './dump/dtypes.js';
export type { DumpView } from './dump/dump-view.js';
export { exportSafetensors } from './dump/export-safetensors.js';
export { type TapElements, toBigInt64, toFloat32, toFloat64 } from './dump/float.js';
export type {
  DumpCall,
  DumpDescription,
  DumpModel,
  DumpProducer,
  DumpSequence,
  DumpTier,
  Manifest,
  NotRun,
  RowIndex,
  TapDtype,
  TapInfo,
  TapOrder,
  TapScope,
  TapSpec,
} from './dump/format.js';
export type { DumpGraph, GraphTensor } from './dump/graph-file.js';
export type { ForeignSource } from './dump/import/foreign.js';
export { type ImportOptions, type ImportResult, importDump } from './dump/import/import-dump.js';
export { openForeignSource } from './dump/import/open-source.js';
export { NAME_MAPS, readNameMap } from './dump/names/file.js';
export type { NameMap, NameRule } from './dump/names/name-map.js';
export { Dump, type FileRows, ReusableBuffer, type RowFilter, type TensorBatch } from './dump/reader.js';
export type { DumpRoles, RoleName } from './dump/roles.js';
export type { HashRow, StatsRows } from './dump/stats-reader.js';
export {
  type DumpEnding,
  DumpWriter,
  type DumpWriterOptions,
  type TapHash,
  type TapStats,
  type TapValue,
} from './dump/writer.js';
export { type ErrorCode, type ErrorDetails, ZayascopeError } from './errors.js';
export {
  type EvaluatedModel,
  type EvaluatedSession,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
} from './evaluate/evaluate.js';
export type { ProbabilityChange } from './evaluate/probability-change.js';
export type { TextScores } from './evaluate/scores.js';
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
export { loadPolicy, POLICIES, type Policy, type PolicyRule, policy, SITE_KINDS } from './graph/policy.js';
export { ResidentMemory, type ResidentSpec, readResident, writeResident } from './graph/resident.js';
export { type RotaryTables, ropeFromTables, rotaryTables } from './graph/rotary.js';
export type { Shape } from './graph/shape.js';
export type { ResidentTensor, Tensor } from './graph/tensor.js';
export { type AttributionOptions, type AttributionReport, attribute } from './locate/bisect/attribution.js';
export { type BisectOptions, type BisectReport, bisect } from './locate/bisect/bisect.js';
export {
  type BackendComparison,
  compareBackends,
  type PartingInput,
  SAME_ARITHMETIC,
} from './locate/compare-backends.js';
export { locateDumps } from './locate/faults/dumps.js';
export { formatLocate } from './locate/faults/format.js';
export type { LocateOptions } from './locate/faults/options.js';
export { locatePolicy } from './locate/faults/policy.js';
export type { LocatedOp, LocateReport } from './locate/faults/report.js';
export { noiseFloor, type TapNoise } from './locate/noise/noise-floor.js';
export { type GraftOptions, type GraftTaps, graftTaps } from './locate/replay/graft.js';
export { policyDiff, type SiteDifference } from './locate/replay/policy-sites.js';
export type { PolicyProblem } from './locate/replay/policy-tests.js';
export { type ReplayedValue, type ReplayOptions, type ReplayResult, replay } from './locate/replay/replay.js';
export { type ReproOptions, writeRepro } from './locate/repro/repro.js';
export { type ReproReport, type ReproRunOptions, runRepro } from './locate/repro/run.js';
export { openStepper, type Stepper, type StepperOptions, type StepStop } from './locate/step/step.js';
export type { Taps } from './models/runtime/tap.js';
export { type LayerType, parseZayaConfig, readZayaConfig, type ZayaConfig } from './models/zaya/config.js';
export { type ConvertOptions, type ConvertResult, convertZaya } from './models/zaya/convert.js';
export type { DtypeFallback } from './models/zaya/gguf-plan.js';
export { GGUF_TYPES, type GgufType } from './models/zaya/gguf-types.js';
export type { ZayaWeights } from './models/zaya/loader.js';
export { type OpenZayaOptions, openZaya, type ZayaModel } from './models/zaya/model.js';
export type { SegmentSink, ZayaPlan, ZayaPlanOptions } from './models/zaya/plan.js';
export type { ForwardOptions, ZayaSession, ZayaSessionOptions } from './models/zaya/session.js';
export { checkPolicy, type PolicySite, zayaSites } from './models/zaya/sites.js';
export { openZayaSource, type ZayaLayout, type ZayaSource } from './models/zaya/source.js';
export {
  SYNTH_SIZES,
  type SynthOptions,
  type SynthResult,
  type SynthSize,
  synthZaya,
} from './models/zaya/synth.js';
export { type ZayaTap, zayaTaps } from './models/zaya/trace.js';
export type { NativeDevice } from './native.js';
export { type Showable, show, showTable } from './notebook/show.js';
export {
  type BackendComparisonOptions,
  type BackendErrors,
  backendComparison,
} from './plot/error/backend-comparison.js';
export { errorBars, type LabelledError } from './plot/error/error-bars.js';
export { type ErrorFigureOptions, errorLines, type TapError } from './plot/error/error-lines.js';
export { errorAgainstMagnitude } from './plot/error/error-scatter.js';
export type { ErrorSeries, NoiseSource } from './plot/error/error-series.js';
export { errorShares } from './plot/error/error-shares.js';
export { type KindMetric, type MetricByKindOptions, metricByKind } from './plot/error/metric-by-kind.js';
export { type BlockError, type NmsePerBlockOptions, nmsePerBlock } from './plot/error/nmse-per-block.js';
export { type NmsePerTapOptions, nmsePerTap } from './plot/error/nmse-per-tap.js';
export { nmseRatio } from './plot/error/nmse-ratio.js';
export { type TokenBlockOptions, tokenBlockHeatMap } from './plot/error/token-block-heat-map.js';
export { attributionWaterfall } from './plot/error/waterfall.js';
export type { Figure, Layout, Trace } from './plot/figure.js';
export { figureHtml, figurePage, pageScript, plotlySource } from './plot/figure-html.js';
export { logitsTopK } from './plot/logits-top-k.js';
export { type RoutingMapOptions, routingMap } from './plot/routing/routing-map.js';
export { routingMargins } from './plot/routing/routing-margins.js';
export {
  errorHistogram,
  type HistogramOptions,
  ulpHistogram,
  valueHistogram,
} from './plot/tensor/histograms.js';
export { type BlockState, type StateViewOptions, stateView } from './plot/tensor/state-view.js';
export type { SliceOptions, ViewedTensor } from './plot/tensor/tensor-slice.js';
export { compareTensors, type TensorViewOptions, tensorView } from './plot/tensor/tensor-view.js';
export { type QuantisationRow, quantisationCost } from './plot/weights/quantisation.js';
export { type WeightErrors, type WeightErrorsOptions, weightErrors } from './plot/weights/weight-errors.js';
export { type PositionRange, parsePositions } from './positions.js';
export { createReport, type Report, type ReportOptions } from './report/report.js';
export { writeReport } from './report/write-report.js';
export { tapPattern } from './tap-pattern.js';
export type { ChatMessage } from './text/chat-template.js';
export { type DecodingSession, type GenerateOptions, type Generation, generate } from './text/generate.js';
export { type BoundedOptions, promptTokensInWorker } from './text/prompt-in-worker.js';
export { greedy, type Sampler, type SamplingOptions, sampler } from './text/sampling.js';
export { type StopTokenSource, stopTokens } from './text/stop-tokens.js';
export { type PromptTokens, promptTokens, type TextPrompt } from './text/token-source.js';
export { openTokenizer, type SpecialTokens, type TextTokenizer } from './text/tokenizer.js';
export { type Checkpoint, openCheckpoint, type TensorInfo } from './weights/checkpoint.js';
export { type ImportanceMatrix, readImportance } from './weights/imatrix.js';
export {
  type DiffWeightsOptions,
  diffWeights,
  type WeightDiff,
  type WeightsDiffReport,
  type WeightsSide,
} from './weights-diff/diff-weights.js';
export { formatWeightsDiff } from './weights-diff/format-weights-diff.js';
export type { UnpairedTensor } from './weights-diff/pair-tensors.js';
export { readWeight, type WeightValues } from './weights-diff/read-weight.js';
