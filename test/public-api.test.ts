import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as format from '../src/entries/format.js';
import * as graph from '../src/entries/graph.js';
import * as plot from '../src/entries/plot.js';
import * as api from '../src/index.js';

const root = join(import.meta.dirname, '..');
const source = readFileSync(join(root, 'src', 'index.ts'), 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;

/** Names in the export clauses of index.ts. */
function exportedNames(): { values: string[]; types: string[] } {
  const values: string[] = [];
  const types: string[] = [];
  for (const [, onlyTypes, list] of source.matchAll(/^export (type )?\{([^}]*)\} from/gm))
    for (const each of list!.split(',').map((part) => part.trim())) {
      const name = each.replace(/\w+ as /, '');
      if (name === '') continue;
      else if (onlyTypes !== undefined || name.startsWith('type ')) types.push(name.replace(/^type /, ''));
      else values.push(name);
    }
  return { values: values.sort(), types: types.sort() };
}

describe('the public API', () => {
  it('has these values', () => {
    expect(Object.keys(api).sort()).toMatchInlineSnapshot(`
      [
        "DTYPES",
        "Dump",
        "DumpWriter",
        "GGUF_TYPES",
        "Graph",
        "KeptRuns",
        "NAME_MAPS",
        "OP_NAMES",
        "POLICIES",
        "ResidentMemory",
        "ReusableBuffer",
        "SAME_ARITHMETIC",
        "SITE_KINDS",
        "SYNTH_SIZES",
        "ZayascopeError",
        "add",
        "align",
        "argmax",
        "argsort",
        "attentionOutput",
        "attentionWeights",
        "attribute",
        "attributionWaterfall",
        "backendComparison",
        "bandOf",
        "bisect",
        "capture",
        "captureInProcess",
        "captureNodes",
        "captureSession",
        "cast",
        "causalMask",
        "checkInvariance",
        "checkLogits",
        "checkPolicy",
        "compareBackends",
        "compareTensors",
        "compileGraphs",
        "concat",
        "conformance",
        "conformanceMarkdown",
        "cont",
        "conv1dDepthwise",
        "conv1dGrouped",
        "convertZaya",
        "copyInto",
        "createReport",
        "defaultSchedules",
        "diffDumps",
        "diffWeights",
        "diffWeightsByContent",
        "div",
        "errorAgainstMagnitude",
        "errorBars",
        "errorHistogram",
        "errorLines",
        "errorShares",
        "evaluate",
        "exportSafetensors",
        "figureHtml",
        "figurePage",
        "formatAlign",
        "formatAligned",
        "formatComparison",
        "formatLocate",
        "formatLogitsCheck",
        "formatReport",
        "formatWeightsDiff",
        "gelu",
        "geluErf",
        "generate",
        "getRows",
        "graftTaps",
        "greedy",
        "im2col",
        "importDump",
        "importRecording",
        "importTarget",
        "judgeNoise",
        "l2Norm",
        "listDevices",
        "loadPolicy",
        "locate",
        "locateAligned",
        "locateDumps",
        "locatePolicy",
        "locateRecording",
        "logitsBand",
        "logitsTopK",
        "mean",
        "measureNoise",
        "metricByKind",
        "mul",
        "mulMat",
        "mulMatId",
        "nmsePerBlock",
        "nmsePerTap",
        "nmseRatio",
        "noiseFloor",
        "openBackend",
        "openCheckpoint",
        "openForeignSource",
        "openLogits",
        "openModel",
        "openPairedDumps",
        "openRecordingStepper",
        "openStepper",
        "openTokenizer",
        "openZaya",
        "openZayaSource",
        "pageScript",
        "parsePositions",
        "parseZayaConfig",
        "permute",
        "plotlySource",
        "policy",
        "policyDiff",
        "promptTokens",
        "promptTokensInWorker",
        "proveCapture",
        "quantisationCost",
        "readImportance",
        "readNameMap",
        "readResident",
        "readWeight",
        "readZayaConfig",
        "recordGguf",
        "repeat",
        "replay",
        "replayRecording",
        "reportToJson",
        "reshape",
        "rmsNorm",
        "rope",
        "ropeFromTables",
        "rotaryTables",
        "routingMap",
        "routingMargins",
        "runNodeRepro",
        "runRepro",
        "sampler",
        "scale",
        "show",
        "showTable",
        "silu",
        "slice",
        "softMax",
        "splitAxis",
        "ssmConv",
        "stateView",
        "stochasticPolicy",
        "stopTokens",
        "sub",
        "sumRows",
        "swiglu",
        "synthZaya",
        "tapPattern",
        "tensorMetrics",
        "tensorView",
        "toBigInt64",
        "toFloat32",
        "toFloat64",
        "tokenBlockHeatMap",
        "transpose",
        "ulpHistogram",
        "valueHistogram",
        "verifyLogits",
        "weightErrors",
        "writeNameMap",
        "writeNodeRepro",
        "writeReport",
        "writeRepro",
        "writeResident",
        "zayaSites",
        "zayaTaps",
      ]
    `);
  });

  it('has these types', () => {
    expect(exportedNames().types).toMatchInlineSnapshot(`
      [
        "AlignCall",
        "AlignOpen",
        "AlignOptions",
        "AlignPair",
        "AlignResult",
        "AlignedFault",
        "AlignedVerdict",
        "AttributionOptions",
        "AttributionReport",
        "Backend",
        "BackendComparison",
        "BackendComparisonOptions",
        "BackendErrors",
        "BackendOptions",
        "Band",
        "BisectOptions",
        "BisectReport",
        "BlockError",
        "BlockReport",
        "BlockState",
        "BoundedOptions",
        "CaptureNodesOptions",
        "CaptureOptions",
        "CaptureProcessOptions",
        "CaptureProcessResult",
        "CaptureProof",
        "CaptureResult",
        "CaptureSessionOptions",
        "CapturedNodes",
        "CapturedNonFinite",
        "CapturedSession",
        "CaseOutcome",
        "CaseReport",
        "CaseSelection",
        "ChangingTaps",
        "ChatMessage",
        "Checkpoint",
        "ComparedReport",
        "CompiledGraph",
        "CompiledGraphs",
        "ConformanceDevice",
        "ConformanceOptions",
        "ConformanceReport",
        "Conv1dOptions",
        "ConvertOptions",
        "ConvertResult",
        "DecodingSession",
        "DiffOptions",
        "DiffReport",
        "DiffWeightsOptions",
        "Dtype",
        "DtypeFallback",
        "DumpCall",
        "DumpDescription",
        "DumpEnding",
        "DumpGraph",
        "DumpModel",
        "DumpNoise",
        "DumpProducer",
        "DumpRoles",
        "DumpSequence",
        "DumpTier",
        "DumpView",
        "DumpWriterOptions",
        "ErrorCode",
        "ErrorDetails",
        "ErrorFigureOptions",
        "ErrorSeries",
        "EvaluateOptions",
        "EvaluatedModel",
        "EvaluatedSession",
        "Evaluation",
        "ExpertFlip",
        "Figure",
        "FileRows",
        "FloatTapReport",
        "FloorJudgement",
        "FloorRouting",
        "FloorTap",
        "ForeignSource",
        "FormatOptions",
        "ForwardOptions",
        "GenerateOptions",
        "Generation",
        "GgufType",
        "GraftOptions",
        "GraftTaps",
        "GraphTensor",
        "HashRow",
        "HashTapReport",
        "HistogramOptions",
        "ImportOptions",
        "ImportRecordingOptions",
        "ImportResult",
        "ImportTarget",
        "ImportanceMatrix",
        "ImportedNonFinite",
        "ImportedRecording",
        "IntegerTapReport",
        "InvarianceOptions",
        "InvarianceReport",
        "JudgedNode",
        "KindMetric",
        "LabelledError",
        "LayerType",
        "Layout",
        "LeftOut",
        "LocateAlignedOptions",
        "LocateOptions",
        "LocateRecordingOptions",
        "LocateReport",
        "LocatedOp",
        "LogitsCheckOptions",
        "LogitsCheckReport",
        "LogitsReport",
        "LogitsRow",
        "LogitsSource",
        "Manifest",
        "MapEvidence",
        "MeasureNoiseOptions",
        "MeasuredNoise",
        "MetricByKindOptions",
        "Model",
        "ModelConfig",
        "NameMap",
        "NameRule",
        "NativeDevice",
        "NmsePerBlockOptions",
        "NmsePerTapOptions",
        "NodePlace",
        "NodeRepro",
        "NodeReproOptions",
        "NodeReproResult",
        "NodeReproRunOptions",
        "NodeReproRuns",
        "NodeSourceInfo",
        "NodeStepUnit",
        "NodeStop",
        "NodeValue",
        "NoiseFlip",
        "NoiseJudgement",
        "NoiseKind",
        "NoiseRouting",
        "NoiseSource",
        "NonFiniteCounts",
        "NotRun",
        "OpName",
        "OpenModelOptions",
        "OpenZayaOptions",
        "Outcome",
        "OutputValue",
        "PairedDumps",
        "Parting",
        "PartingInput",
        "PartingValue",
        "PinValues",
        "PlainDtype",
        "Policy",
        "PolicyProblem",
        "PolicyRule",
        "PolicySite",
        "PositionRange",
        "ProbabilityChange",
        "PromptTokens",
        "ProveOptions",
        "QuantisationRow",
        "QuantisedDtype",
        "RawDtype",
        "RecordOptions",
        "RecordResult",
        "RecordingReplay",
        "RecordingStepper",
        "RecordingStepperOptions",
        "RecordingVerdict",
        "ReplayMode",
        "ReplayOptions",
        "ReplayRecordingOptions",
        "ReplayResult",
        "ReplayedNode",
        "ReplayedValue",
        "Report",
        "ReportNonFinite",
        "ReportOptions",
        "ReproOptions",
        "ReproReport",
        "ReproRunOptions",
        "ResidentSpec",
        "ResidentTensor",
        "RoleName",
        "RotaryAngles",
        "RotaryTables",
        "Rounding",
        "RoutingMapOptions",
        "RoutingReport",
        "RowFilter",
        "RowIndex",
        "RuleEvidence",
        "Sampler",
        "SamplingOptions",
        "Schedule",
        "ScheduleResult",
        "SegmentSink",
        "SetValue",
        "Shape",
        "Showable",
        "SiteDifference",
        "SliceOptions",
        "SmoothError",
        "SpecialTokens",
        "StateViewOptions",
        "StatisticsTapReport",
        "StatsRows",
        "StepStop",
        "Stepper",
        "StepperOptions",
        "StopTokenSource",
        "SynthOptions",
        "SynthResult",
        "SynthSize",
        "TapDtype",
        "TapElements",
        "TapError",
        "TapHash",
        "TapInfo",
        "TapNoise",
        "TapNoiseRuns",
        "TapNonFinite",
        "TapOrder",
        "TapReport",
        "TapScope",
        "TapSpec",
        "TapStats",
        "TapValue",
        "Taps",
        "Tensor",
        "TensorBatch",
        "TensorInfo",
        "TensorMetrics",
        "TensorViewOptions",
        "TextPrompt",
        "TextScores",
        "TextTokenizer",
        "TokenBlockOptions",
        "TokenLogits",
        "TokenQuantiles",
        "TokensCheck",
        "TopToken",
        "Trace",
        "Unpaired",
        "UnpairedNonFinite",
        "UnpairedPlace",
        "UnpairedTensor",
        "VerifyLogitsOptions",
        "ViewedTensor",
        "WeightDiff",
        "WeightErrors",
        "WeightErrorsOptions",
        "WeightValues",
        "WeightsDiffReport",
        "WeightsSide",
        "ZayaConfig",
        "ZayaLayout",
        "ZayaModel",
        "ZayaPlan",
        "ZayaPlanOptions",
        "ZayaSession",
        "ZayaSessionOptions",
        "ZayaSource",
        "ZayaTap",
        "ZayaWeights",
      ]
    `);
  });

  it('is a list of named re-exports without logic', () => {
    const rest = source
      .replace(/\/\*\*[\s\S]*?\*\//g, '')
      .replaceAll(/^export (type )?\{[^}]*\} from '\.[^']*';$/gm, '');
    expect(rest.trim()).toBe('');
    expect(exportedNames().values).toEqual(Object.keys(api).sort());
  });
});

describe('the entries beside it', () => {
  it('have these values', () => {
    const entries = { format, graph, plot };
    expect(
      Object.fromEntries(
        Object.entries(entries).map(([name, entry]) => [name, Object.keys(entry).sort().join(' ')]),
      ),
    ).toMatchInlineSnapshot(`
      {
        "format": "conformanceMarkdown formatComparison formatInvariance formatLocate formatLocatedRecording formatLogitsCheck formatNodeReproRuns formatReplay formatReport formatWeightsDiff reportToJson",
        "graph": "Graph OP_NAMES POLICIES ResidentMemory SITE_KINDS add argmax argsort attentionOutput attentionWeights cast causalMask compileGraphs concat cont conv1dDepthwise conv1dGrouped copyInto div gelu geluErf getRows im2col l2Norm listDevices loadPolicy mean mul mulMat mulMatId openBackend permute policy readResident repeat reshape rmsNorm rope ropeFromTables rotaryTables scale silu slice softMax splitAxis ssmConv stochasticPolicy sub sumRows swiglu transpose writeResident",
        "plot": "attributionWaterfall backendComparison compareTensors errorAgainstMagnitude errorBars errorHistogram errorLines errorShares figureHtml figurePage logitsTopK metricByKind nmsePerBlock nmsePerTap nmseRatio nodeErrors pageScript plotlySource quantisationCost routingMap routingMargins stateView tensorView tokenBlockHeatMap ulpHistogram valueHistogram weightErrors",
      }
    `);
  });

  it('keep their names in the public API for one release', () => {
    // These came later: they never were anywhere else.
    const {
      formatInvariance: _1,
      formatLocatedRecording: _2,
      formatNodeReproRuns: _3,
      formatReplay: _4,
      ...formats
    } = format;
    const { nodeErrors: _5, ...figures } = plot;
    for (const entry of [formats, graph, figures]) expect(api).toMatchObject(entry);
  });

  it('have types for compilers that know no map of exports, such as that of notebooks', () => {
    const { exports, typesVersions } = manifest as {
      exports: Record<string, string | { types: string }>;
      typesVersions: { '*': Record<string, string[]> };
    };
    const types = Object.entries(exports).flatMap(([name, entry]) =>
      name === '.' || typeof entry === 'string' ? [] : [[name.slice(2), [entry.types]]],
    );
    expect(typesVersions).toEqual({ '*': Object.fromEntries(types) });
  });
});

describe('the package', () => {
  it('has these entry points', () => {
    const { main, types, exports, bin, type } = manifest;
    expect({ main, types, exports, bin, type }).toMatchInlineSnapshot(`
      {
        "bin": {
          "zayascope": "./dist/cli/main.js",
        },
        "exports": {
          ".": {
            "default": "./dist/index.js",
            "types": "./dist/index.d.ts",
          },
          "./format": {
            "default": "./dist/entries/format.js",
            "types": "./dist/entries/format.d.ts",
          },
          "./graph": {
            "default": "./dist/entries/graph.js",
            "types": "./dist/entries/graph.d.ts",
          },
          "./package.json": "./package.json",
          "./plot": {
            "default": "./dist/entries/plot.js",
            "types": "./dist/entries/plot.d.ts",
          },
        },
        "main": "./dist/index.js",
        "type": "module",
        "types": "./dist/index.d.ts",
      }
    `);
  });

  it('has these dependencies, each with its reason in ARCHITECTURE.md', () => {
    const names = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((group) =>
      Object.keys(manifest[group] as object),
    );
    expect(names.sort()).toMatchInlineSnapshot(`
      [
        "@biomejs/biome",
        "@huggingface/jinja",
        "@huggingface/tokenizers",
        "@node-llama-cpp/linux-arm64",
        "@node-llama-cpp/linux-x64",
        "@node-llama-cpp/linux-x64-vulkan",
        "@node-llama-cpp/mac-arm64-metal",
        "@types/node",
        "apache-arrow",
        "assemblyscript",
        "cmake-js",
        "commander",
        "node-addon-api",
        "playwright-core",
        "plotly.js-dist-min",
        "rolldown",
        "tslab",
        "typescript",
        "vitest",
      ]
    `);
    const architecture = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
    expect(names.filter((name) => !architecture.includes(`\`${name}\``))).toEqual([]);
  });

  it('pins every dependency to one version', () => {
    const pins = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((group) =>
      Object.entries(manifest[group] as Record<string, string>),
    );
    expect(pins.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it('locks every optional platform package, without which `npm ci` fails', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    const needed = Object.values(lock.packages).flatMap((entry) =>
      Object.keys(entry.optionalDependencies ?? {}),
    );
    expect(needed.length).toBeGreaterThan(0);
    expect(needed.filter((name) => lock.packages[`node_modules/${name}`] === undefined)).toEqual([]);
  });
});
