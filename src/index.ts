/**
 * The public API. Importing it loads no native code: the addon is loaded by the first call that computes.
 *
 * - Models: `openModel`, its `session`; `openZaya`, `openZayaSource`, `convertZaya`, `synthZaya`,
 *   `readWeight`, `diffWeights`, `diffWeightsByContent`
 * - Text: `openTokenizer`, `promptTokens`, `promptTokensInWorker`, `generate`, `sampler`, `greedy`,
 *   `stopTokens`, `evaluate`
 * - Dumps: `capture`, `captureSession`, `Dump`, `DumpWriter`, `exportSafetensors`
 * - Comparison: `diffDumps`, `verifyLogits`, `tensorMetrics`; `align`, which pairs values without names
 * - Causes: `locate` (`locatePolicy`, `locateDumps`), `replay`, `noiseFloor`, `graftTaps`, `bisect`,
 *   `attribute`, `policyDiff`, `writeRepro`, `runRepro`, `openStepper`
 * - Dumps of other programs: `importDump`, `openForeignSource`, `importTarget`, `readNameMap`
 * - Devices: `conformance`, `proveCapture`, `compareBackends`
 *
 * Beside it stand `zayascope/graph` (the kernel library), `zayascope/plot` (figures) and `zayascope/format`
 * (results as text).
 */

export { type AlignCall, type AlignOpen, type AlignPair, type AlignResult, align } from './align/align.js';
export type { AlignOptions } from './align/align-dumps.js';
export { formatAlign } from './align/format-align.js';
export { formatAligned } from './align/locate/format-aligned.js';
export {
  type AlignedFault,
  type AlignedVerdict,
  type LocateAlignedOptions,
  locateAligned,
} from './align/locate/locate-aligned.js';
export type { NonFiniteValue } from './align/non-finite.js';
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
export { type CaptureProof, type ChangingTaps, type ProveOptions, proveCapture } from './capture/prove.js';
export type { CapturedNonFinite } from './capture/step-sink.js';
export {
  type CaseReport,
  type ConformanceOptions,
  type ConformanceReport,
  conformance,
} from './conformance/conformance.js';
export type { ConformanceDevice } from './conformance/in-children.js';
export type { CaseSelection } from './conformance/options.js';
export type { CaseOutcome } from './conformance/run-case.js';
export { type DiffOptions, diffDumps } from './diff/diff.js';
export {
  checkLogits,
  type LogitsCheckOptions,
  type LogitsCheckReport,
  logitsBand,
  type TokensCheck,
  type TopToken,
} from './diff/logits/check.js';
export { type LogitsRow, type LogitsSource, openLogits } from './diff/logits/check-source.js';
export type { LeftOut } from './diff/logits/left-out.js';
export type { LogitsReport, TokenLogits } from './diff/logits/logits.js';
export { type VerifyLogitsOptions, verifyLogits } from './diff/logits/verify-logits.js';
export { type TensorMetrics, tensorMetrics } from './diff/metrics.js';
export type { NonFiniteCounts, ReportNonFinite, TapNonFinite } from './diff/non-finite.js';
export type { Outcome } from './diff/outcome.js';
export { openPairedDumps, type PairedDumps } from './diff/paired-dumps.js';
export type {
  BlockReport,
  DiffReport,
  FloatTapReport,
  HashTapReport,
  IntegerTapReport,
  StatisticsTapReport,
  TapReport,
  Unpaired,
} from './diff/report.js';
export type { ExpertFlip, RoutingReport } from './diff/routing.js';
export type { UnpairedNonFinite, UnpairedPlace } from './diff/unpaired-non-finite.js';
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
export type { RawDtype } from './dump/import/raw-dtype.js';
export type { ImportedNonFinite } from './dump/import/value-count.js';
export { NAME_MAPS, readNameMap } from './dump/names/file.js';
export type { MapEvidence, NameMap, NameRule, RuleEvidence } from './dump/names/name-map.js';
export { writeNameMap } from './dump/names/write-name-map.js';
export type {
  DumpNoise,
  NoiseFlip,
  NoiseRouting,
  TapNoiseRuns,
  TokenQuantiles,
} from './dump/noise/noise-file.js';
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
export { type Backend, type BackendOptions, listDevices, openBackend } from './graph/backend.js';
export {
  loadPolicy,
  POLICIES,
  type Policy,
  type PolicyRule,
  policy,
  type Rounding,
  SITE_KINDS,
  stochasticPolicy,
} from './graph/policy.js';
export type { Shape } from './graph/shape.js';
export { type AttributionOptions, type AttributionReport, attribute } from './locate/bisect/attribution.js';
export { type BisectOptions, type BisectReport, bisect } from './locate/bisect/bisect.js';
export { expectedErrors } from './locate/bisect/shares/alone.js';
export { type DumpProblem, dumpShares } from './locate/bisect/shares/dump-shares.js';
export {
  adjointShares,
  type SharedRun,
  type ShareOptions,
  type ShareReport,
  type SiteShare,
} from './locate/bisect/shares/shares.js';
export {
  type BackendComparison,
  compareBackends,
  type PartingInput,
  SAME_ARITHMETIC,
} from './locate/compare-backends.js';
export { KeptRuns } from './locate/faults/kept-runs.js';
export { locate, locateDumps, locatePolicy } from './locate/faults/locate.js';
export type { LocateOptions } from './locate/faults/options.js';
export type { LocatedOp, LocateReport } from './locate/faults/report.js';
export { type Band, bandOf } from './locate/noise/floor/band.js';
export type {
  FloorJudgement,
  FloorRouting,
  FloorTap,
  NoiseKind,
  SmoothError,
} from './locate/noise/floor/judge.js';
export { type MeasuredNoise, type MeasureNoiseOptions, measureNoise } from './locate/noise/floor/measure.js';
export { judgeNoise, type NoiseJudgement, noiseFloor, type TapNoise } from './locate/noise/noise-floor.js';
export { type GraftOptions, type GraftTaps, graftTaps } from './locate/replay/graft.js';
export { policyDiff, type SiteDifference } from './locate/replay/policy-sites.js';
export type { PolicyProblem } from './locate/replay/policy-tests.js';
export { type ReplayedValue, type ReplayOptions, type ReplayResult, replay } from './locate/replay/replay.js';
export { type ReproOptions, writeRepro } from './locate/repro/repro.js';
export { type ReproReport, type ReproRunOptions, runRepro } from './locate/repro/run.js';
export { openStepper, type Stepper, type StepperOptions, type StepStop } from './locate/step/step.js';
export {
  type ConvertOptions,
  type ConvertResult,
  convertModel as convertZaya,
} from './models/gguf/convert.js';
export type { DtypeFallback } from './models/gguf/layout.js';
export { GGUF_TYPES, type GgufType } from './models/gguf/types.js';
export {
  type ModelLayout as ZayaLayout,
  type ModelSource as ZayaSource,
  openModelSource as openZayaSource,
} from './models/layout/source.js';
export type { ModelConfig } from './models/runtime/architecture.js';
export type { ModelWeights as ZayaWeights } from './models/runtime/loader.js';
export {
  type Model,
  type OpenModelOptions,
  type OpenModelOptions as OpenZayaOptions,
  openModel,
} from './models/runtime/model.js';
export type {
  ModelPlan as ZayaPlan,
  PlanOptions as ZayaPlanOptions,
  SegmentSink,
} from './models/runtime/plan.js';
export type {
  ForwardOptions,
  ModelSession as ZayaSession,
  SessionOptions as ZayaSessionOptions,
} from './models/runtime/session.js';
export { checkPolicy, modelSites as zayaSites, type PolicySite } from './models/runtime/sites.js';
export type { Taps } from './models/runtime/tap.js';
export { type ModelTap as ZayaTap, modelTaps as zayaTaps } from './models/runtime/trace.js';
export { type LayerType, parseZayaConfig, readZayaConfig, type ZayaConfig } from './models/zaya/config.js';
export { openZaya, type ZayaModel } from './models/zaya/open.js';
export {
  SYNTH_SIZES,
  type SynthOptions,
  type SynthResult,
  type SynthSize,
  synthZaya,
} from './models/zaya/synth.js';
export type { NativeDevice } from './native.js';
export { type Showable, show, showTable } from './notebook/show.js';
export { type PositionRange, parsePositions } from './positions.js';
export {
  type ImportedRecording,
  type ImportRecordingOptions,
  importRecording,
} from './recording/import/import-recording.js';
export type { Parting, PartingValue } from './recording/invariance/compare-runs.js';
export {
  checkInvariance,
  defaultSchedules,
  type InvarianceOptions,
  type InvarianceReport,
  type Schedule,
  type ScheduleResult,
} from './recording/invariance/invariance.js';
export {
  type JudgedNode,
  type LocateRecordingOptions,
  locateRecording,
  type RecordingVerdict,
} from './recording/locate/locate.js';
export {
  type CapturedNodes,
  type CaptureNodesOptions,
  captureNodes,
} from './recording/own/capture-nodes.js';
export type { PinValues, SetValue } from './recording/record/grafts.js';
export { type RecordOptions, type RecordResult, recordGguf } from './recording/record/record.js';
export {
  type RecordingReplay,
  type ReplayedNode,
  type ReplayMode,
  type ReplayRecordingOptions,
  replayRecording,
} from './recording/replay/replay.js';
export {
  type NodeReproResult,
  type NodeReproRunOptions,
  type NodeReproRuns,
  runNodeRepro,
} from './recording/repro/run-repro.js';
export { type NodeRepro, type NodeReproOptions, writeNodeRepro } from './recording/repro/write-repro.js';
export {
  type NodePlace,
  type NodeSourceInfo,
  type NodeStepUnit,
  type NodeStop,
  type NodeValue,
  openRecordingStepper,
  type RecordingStepper,
  type RecordingStepperOptions,
} from './recording/step/recording-stepper.js';
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
export { diffWeightsByContent } from './weights-diff/content/diff-by-content.js';
export {
  type DiffWeightsOptions,
  diffWeights,
  type WeightDiff,
  type WeightsDiffReport,
  type WeightsSide,
} from './weights-diff/diff-weights.js';
export type { UnpairedTensor } from './weights-diff/pair-tensors.js';
export { readWeight, type WeightValues } from './weights-diff/read-weight.js';

/** Names of the three entries beside this one, which once were all here: aliases for one release. */

export {
  type ComparedReport,
  conformanceMarkdown,
  type FormatOptions,
  formatComparison,
  formatLocate,
  formatLogitsCheck,
  formatReport,
  formatWeightsDiff,
  reportToJson,
} from './entries/format.js';
export {
  add,
  argmax,
  argsort,
  attentionOutput,
  attentionWeights,
  type CompiledGraph,
  type CompiledGraphs,
  type Conv1dOptions,
  cast,
  causalMask,
  compileGraphs,
  concat,
  cont,
  conv1dDepthwise,
  conv1dGrouped,
  copyInto,
  div,
  Graph,
  gelu,
  geluErf,
  getRows,
  im2col,
  l2Norm,
  mean,
  mul,
  mulMat,
  mulMatId,
  OP_NAMES,
  type OpName,
  type OutputValue,
  permute,
  ResidentMemory,
  type ResidentSpec,
  type ResidentTensor,
  type RotaryAngles,
  type RotaryTables,
  readResident,
  repeat,
  reshape,
  rmsNorm,
  rope,
  ropeFromTables,
  rotaryTables,
  scale,
  silu,
  slice,
  softMax,
  splitAxis,
  ssmConv,
  sub,
  sumRows,
  swiglu,
  type Tensor,
  transpose,
  writeResident,
} from './entries/graph.js';
export {
  attributionWaterfall,
  type BackendComparisonOptions,
  type BackendErrors,
  type BlockError,
  type BlockRun,
  type BlockState,
  backendComparison,
  type ChoiceMapOptions,
  choiceMap,
  compareTensors,
  type ErrorFigureOptions,
  type ErrorSeries,
  errorAgainstMagnitude,
  errorBars,
  errorHistogram,
  errorLines,
  errorShares,
  type Figure,
  figureHtml,
  figurePage,
  type HistogramOptions,
  type KindMetric,
  type LabelledError,
  type Layout,
  logitsTopK,
  type MetricByKindOptions,
  metricByKind,
  type NmsePerBlockOptions,
  type NmsePerTapOptions,
  type NoiseSource,
  nmsePerBlock,
  nmsePerTap,
  nmseRatio,
  pageScript,
  plotlySource,
  type QuantisationRow,
  quantisationCost,
  type RouterChoice,
  type RoutingMapOptions,
  routingMap,
  routingMargins,
  type SliceOptions,
  type StateViewOptions,
  stateView,
  type TapError,
  type TensorViewOptions,
  type TokenBlockOptions,
  type Trace,
  tensorView,
  tokenBlockHeatMap,
  ulpHistogram,
  type ViewedTensor,
  valueHistogram,
  type WeightErrors,
  type WeightErrorsOptions,
  weightErrors,
} from './entries/plot.js';
