/**
 * The only file that loads the compiled addon (`native/`), and the declaration of what it exports; what
 * belongs to libllama is in `native-llama.ts`.
 *
 * The addon checks argument types and handles, calls ggml, wraps results. It knows no model, metric, file
 * layout or default: shape and dtype rules live in `graph/ops.ts` and have run before any of these functions
 * is called.
 *
 * Conventions: `ne` and `nb` are in ggml's order (fastest axis first) and always hold 4 entries; tensors are
 * small integers that are valid inside their {@link NativeContext} only; every class has `close()`, after
 * which each use throws code `CLOSED`; an object that another one still needs stays alive until that one is
 * closed or collected. Errors are `ZayascopeError`s; wrong arguments and closed objects throw at once, also
 * from functions that return a promise. Ownership in full: `native/README.md`.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unmet, ZayascopeError } from './errors.js';
import type { NativeLlama, NativeRecorded, NativeReplayTensor } from './native-llama.js';

/** A device that a loaded ggml backend offers. */
export interface NativeDevice {
  /** ggml's device name, e.g. `CPU`, `Vulkan0`, `CUDA0`. */
  name: string;
  description: string;
  /** Name of the backend registry that it belongs to, e.g. `CPU`, `Vulkan`. */
  backend: string;
  type: 'cpu' | 'gpu' | 'igpu' | 'accel' | 'meta';
  memoryFreeBytes: number;
  memoryTotalBytes: number;
  /**
   * True if the device computes on tensors that lie in host memory wrapped by {@link
   * NativeBuffer.fromMapping}.
   */
  bufferFromHostPointer: boolean;
}

/** A backend instance: a stream of work on one device. Graphs of one backend run one after the other. */
export interface NativeBackend {
  readonly device: string;
  /** CPU only: threads that a graph uses; throws BACKEND on devices that have no thread count. */
  setThreads(count: number): void;
  /** ggml's own answer for one tensor of a context. Not a guarantee: see `graph/ops.ts`. */
  supportsOp(context: NativeContext, tensor: number): boolean;
  /**
   * Name of an extra buffer type (ggml's term: memory in which weights are rearranged when they are written,
   * e.g. `CPU_REPACK`) from which the device multiplies F32 rows with a leaf of this type and shape, by an
   * expert per row if it has three axes; undefined if there is none.
   */
  extraBufferType(context: NativeContext, tensor: number): string | undefined;
  /**
   * Runs the graphs in order, off the JavaScript thread. Rejects with `CANCELLED` after {@link cancel}, with
   * `BACKEND` if ggml fails.
   * @returns wall time in ms, and nodes computed.
   */
  compute(graphs: readonly NativeGraph[]): Promise<{ elapsedMs: number; nodes: number }>;
  /**
   * Stops the computation in flight as soon as the device can (between nodes on the CPU, between graphs
   * elsewhere), and those that wait behind it.
   */
  cancel(): void;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** A ggml context: the metadata of tensors, without their data. */
export interface NativeContext {
  /** Adds a leaf without data. */
  tensor(type: number, ne: readonly number[], name: string): number;
  /**
   * Adds the node that the ggml function of this name builds, e.g. `op('mul_mat', [w, x], [], ...)`.
   * @param params the function's scalar arguments in ggml's order.
   * @param type, ne what the caller's own rule expects of the result: a difference throws `SHAPE_MISMATCH` (a
   * bug in our table). A failed ggml assertion while the node is built throws code `BACKEND` and does not
   * abort the process.
   */
  op(
    op: string,
    sources: readonly number[],
    params: readonly number[],
    type: number,
    ne: readonly number[],
    name: string,
  ): number;
  /**
   * A handle in this context for a tensor of another one (weights, states), which it keeps alive. The same
   * tensor, not a copy.
   */
  adopt(other: NativeContext, tensor: number): number;
  /**
   * Marks a tensor (and the tensor it is a view of) as an output, whose memory is not reused inside its
   * graph.
   */
  setOutput(tensor: number): void;
  /** Marks a leaf as an input, allocated with the graph that reads it. */
  setInput(tensor: number): void;
  /** Copies `bytes` to the tensor at `offsetBytes`, waiting for the device. */
  write(tensor: number, bytes: Uint8Array, offsetBytes: number): void;
  /** Copies from the tensor at `offsetBytes` into `bytes`, waiting for the device. */
  read(tensor: number, bytes: Uint8Array, offsetBytes: number): void;
  /**
   * Copies whole tensors, one into each array, off the JavaScript thread; graphs may run meanwhile. The
   * arrays must not be used until the promise has settled.
   */
  readAll(tensors: readonly number[], bytes: readonly Uint8Array[]): Promise<void>;
  /** Fills the whole tensor with one byte value. */
  fill(tensor: number, byte: number): void;
  /**
   * The tensor's memory without a copy, for contiguous tensors in host memory; throws BACKEND elsewhere. It
   * is one view into one ArrayBuffer per underlying buffer; closing that buffer detaches it (the view's
   * length becomes 0).
   */
  view(tensor: number): Uint8Array;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** Memory of a device that holds tensor data. */
export interface NativeBuffer {
  readonly sizeBytes: number;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

export interface NativeBufferStatics {
  /**
   * Allocates memory for every leaf of the context that has no data yet and is not marked as an input. With
   * `bufferType`, a name that {@link NativeBackend.extraBufferType} gave for each of them, the leaves are
   * written whole, cannot be read back, and serve as the matrix of `mul_mat` and `mul_mat_id` alone; throws
   * BACKEND for one that the type does not serve.
   */
  allocate(backend: NativeBackend, context: NativeContext, bufferType?: string): NativeBuffer;
  /**
   * Wraps a mapped file, without a copy, as memory of a device with `bufferFromHostPointer`; attach tensors
   * with {@link NativeBufferStatics.attach}.
   */
  fromMapping(backend: NativeBackend, mapping: NativeMapping): NativeBuffer;
  /** Points a leaf without data at `offsetBytes` of a buffer; checks that it lies inside. */
  attach(buffer: NativeBuffer, context: NativeContext, tensor: number, offsetBytes: number): void;
}

/** A file mapped read-only. */
export interface NativeMapping {
  readonly sizeBytes: number;
  /** Copies out bytes. */
  read(offsetBytes: number, bytes: Uint8Array): void;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** An ordered list of nodes to compute. */
export interface NativeGraph {
  /** Nodes that do arithmetic or move data (views, reshapes, permutes and leaves are not counted). */
  readonly computeNodes: number;
  /** All nodes, views included. */
  readonly nodes: number;
  /**
   * Before {@link NativeArena.plan}: memory of a value is not used again within a run, so that all values are
   * there after it.
   */
  keepValues(): void;
  /** All tensors, each after its sources; nodes in the order in which they run. */
  tensors(): NativeGraphTensor[];
  /**
   * A copy of the elements of one of {@link tensors}, by its place there, in ggml's order without gaps; of a
   * `SET_ROWS` the rows that it wrote.
   */
  value(tensor: number): Uint8Array;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** A tensor of a {@link NativeGraph} as ggml has it. */
export interface NativeGraphTensor {
  /** The same for a tensor that several graphs share, as long as it lives. */
  address: number;
  /** In the graph's context; absent for what ggml added. */
  handle?: number;
  name: string;
  op: string;
  /** False for leaves and views. */
  computes: boolean;
  type: number;
  /** `op_params` in hex, zero bytes at its end cut. */
  params: string;
  flags: number;
  /** Addresses; null for an empty place. */
  src: (number | null)[];
  ne: number[];
  nb: number[];
  viewSrc: number | null;
  viewOffs: number;
  buffer: string;
}

/** Memory for the intermediate values of graphs that run one after the other on one backend. */
export interface NativeArena {
  /**
   * Reserves enough for the largest graph and gives each graph's tensors their addresses. Graphs share the
   * memory: running one overwrites the values of the others. May be called once. Throws BACKEND when the
   * device has too little memory.
   */
  plan(graphs: readonly NativeGraph[]): void;
  readonly sizeBytes: number;
  close(): void;
  /** The same as {@link close}, for `using`; present where this Node has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

export type GgufScalar = number | bigint | boolean | string;
/**
 * `type` is the GGUF type name as in the format's specification:
 * `u8 i8 u16 i16 u32 i32 f32 bool str u64 i64 f64`, or `arr` with `itemType`.
 */
export interface GgufValue {
  type: string;
  itemType?: string;
  value: GgufScalar | GgufScalar[];
}

export interface NativeAddon {
  /** Called once by this file: the addon throws errors of this class. */
  setErrorClass(errorClass: typeof ZayascopeError): void;
  /** `ggml` is what the loaded library reports, `headers` what the addon was compiled against. */
  version(): { ggml: string; commit: string; headers: string };
  /**
   * Lets ggml pick and load the best library of each kind in a folder (`ggml_backend_load_all_from_path`).
   */
  loadBackends(folder: string): void;
  /** Loads one backend library; throws `BACKEND` if it cannot be loaded. */
  loadBackend(file: string): void;
  devices(): NativeDevice[];
  /** CPU features that the loaded CPU library was built with, e.g. `{AVX512: '1'}`. */
  cpuFeatures(): Record<string, string>;
  Backend: new (device: string) => NativeBackend;
  /** @param maxTensors leaves plus nodes that it can hold; exceeding it throws `BACKEND`. */
  Context: new (
    maxTensors: number,
  ) => NativeContext;
  Buffer: NativeBufferStatics;
  Mapping: new (path: string) => NativeMapping;
  /** Collects the nodes that `outputs` need, in the order given (`ggml_build_forward_expand`). */
  Graph: new (
    context: NativeContext,
    outputs: readonly number[],
  ) => NativeGraph;
  Arena: new (backend: NativeBackend) => NativeArena;
  /**
   * Absent where the addon was built without libllama's header, from a checkout of ggml alone. Loads libllama
   * from `library` on first use, and a model. Throws `BACKEND`, or `BAD_CHECKPOINT` with libllama's reason.
   * @param onTensor called with each tensor and value, in order.
   */
  Llama?: new (
    library: string,
    model: string,
    onTensor: (tensor: NativeRecorded) => void,
  ) => NativeLlama;
  /**
   * Runs one node by itself, waiting for it, and writes the memory that holds its result back into `roots`.
   * Tensors outside their memory are `BAD_ARGUMENT`; an op that does not fit its sources may abort the
   * process: use it in a child.
   */
  replayNode(
    backend: NativeBackend,
    roots: readonly Uint8Array[],
    tensors: readonly NativeReplayTensor[],
    node: {
      /** Index into `tensors` of the result. */
      tensor: number;
      op: string;
      params: Uint8Array;
      flags: number;
      src: readonly (number | null)[];
    },
  ): void;
  /**
   * Per row of `columns` elements of type F32, F16, BF16 or I32: min, max, mean, rms, largest magnitude (over
   * finite values; NaN where a row has none), count of NaN, count of infinities; 7 doubles a row, one array
   * per item. One task off the JavaScript thread for all items, accumulated in double; the bytes must not
   * change meanwhile.
   */
  rowStats(items: readonly { bytes: Uint8Array; type: number; columns: number }[]): Promise<Float64Array[]>;
  /**
   * Bytes of type `type` to F32, off the JavaScript thread. `columns` is the row length (a multiple of the
   * block size).
   */
  dequantize(bytes: Uint8Array, type: number, columns: number, out: Float32Array): Promise<void>;
  /**
   * F32 rows to type `type` through ggml's quantiser, off the JavaScript thread; `importance` has one weight
   * per column, or is null.
   */
  quantize(
    values: Float32Array,
    type: number,
    columns: number,
    importance: Float32Array | null,
  ): Promise<Uint8Array>;
  /**
   * The bytes of a GGUF header for these keys and tensors, data following at its end, tensors in this order
   * at the alignment in `general.alignment` or 32.
   */
  ggufHeader(
    metadata: Record<string, GgufValue>,
    tensors: readonly { name: string; type: number; ne: readonly number[] }[],
  ): Uint8Array;
}

let loaded: NativeAddon | undefined;

/** The addon's file and the folder of the ggml libraries that it uses. */
interface AddonFiles {
  addon: string;
  libraries: string;
}

/**
 * What was built here, else what the package brings for this platform; undefined where there is neither.
 * Paths are the same seen from `src` and from `dist`.
 */
function addonFiles(): AddonFiles | undefined {
  const built = path('native/build/paths.json');
  if (existsSync(built)) {
    const { addon, libraries } = JSON.parse(readFileSync(built, 'utf8')) as AddonFiles;
    return { addon: path(`native/build/${addon}`), libraries: path(`native/build/${libraries}`) };
  }
  const platform = `${process.platform}-${process.arch}`;
  const addon = path(`prebuilds/${platform}/zayascope.node`);
  const library = platformPackage();
  if (!existsSync(addon) || library === undefined) return undefined;
  const entry = createRequire(import.meta.url).resolve(library);
  return { addon, libraries: join(dirname(dirname(realpathSync(entry))), 'bins', basename(library)) };
}

/** The package with this platform's ggml libraries; undefined for a platform that has none. */
export function platformPackage(): string | undefined {
  const packages = JSON.parse(readFileSync(path('native/platform-packages.json'), 'utf8'));
  const name: string | undefined = packages[`${process.platform}-${process.arch}`];
  return name === undefined ? undefined : `@node-llama-cpp/${name}`;
}

function path(relative: string): string {
  return fileURLToPath(new URL(`../${relative}`, import.meta.url));
}

/** The command that brings the addon: another in a checkout than in an installed package. */
export function buildCommand(): string {
  return existsSync(new URL('../tsconfig.json', import.meta.url))
    ? 'npm run build:native'
    : 'npm rebuild zayascope';
}

/**
 * File of the libllama beside the ggml libraries that the addon uses. Throws `BACKEND` where there is none,
 * as in a build of ggml's source.
 */
export function llamaLibraryFile(): string {
  const folder = addonFiles()?.libraries;
  const name = folder && readdirSync(folder).find((file) => /^libllama\.(v[\d.]+\.)?(so|dylib)$/.test(file));
  if (folder === undefined || name === undefined)
    throw unmet(
      'BACKEND',
      'native',
      'libllama beside the ggml libraries',
      `none (${folder}); the prebuilt packages have it`,
    );
  return join(folder, name);
}

/**
 * Loads the addon on first use, checks that the ggml libraries match the headers it was built with, and loads
 * the CPU backend. Throws `BACKEND` with the command that builds it when it is missing, `VERSION_MISMATCH`
 * when the libraries differ.
 */
export function native(): NativeAddon {
  loaded ??= load();
  return loaded;
}

function load(): NativeAddon {
  const require = createRequire(import.meta.url);
  let addon: NativeAddon;
  let files: AddonFiles | undefined;
  try {
    files = addonFiles();
    addon = require(files!.addon) as NativeAddon;
  } catch (cause) {
    const expected = `native: expected the compiled addon${files === undefined ? '' : ` (${files.addon})`}`;
    throw new ZayascopeError(
      'BACKEND',
      `${expected}, got none that loads; run \`${buildCommand()}\`, which needs a C++17 compiler, CMake and git`,
      { op: 'native', cause },
    );
  }
  addon.setErrorClass(ZayascopeError);
  const { ggml, headers } = addon.version();
  if (ggml !== headers)
    throw unmet(
      'VERSION_MISMATCH',
      'native',
      `ggml ${headers}, which the addon was built with`,
      `${ggml}; install the packages of @node-llama-cpp that this version names`,
      { where: '`npm ci` in a checkout' },
    );
  addon.loadBackends(files!.libraries);
  return addon;
}
