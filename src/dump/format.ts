/**
 * The dump format, versions 1 and 2, as data types. `docs/dump-format.md` is its description for readers in
 * other languages.
 *
 * A dump is a folder: `manifest.json`, Arrow IPC files with tensors (one per decoder block, and
 * `model.arrow`), `stats.arrow`, `hash.arrow`.
 */
import { DTYPES_OF_VERSION_1, type TapDtype } from './dtypes.js';
import type { DumpRoles } from './roles.js';
import type { DumpSequence } from './sequences.js';

export type { TapDtype } from './dtypes.js';
export type { DumpSequence } from './sequences.js';

/** Value of `format` in the manifest. */
export const DUMP_FORMAT = 'zayascope-dump';
/**
 * The latest value of `version` in a manifest. A dump that needs nothing of version 2 is written as version
 * 1.
 */
export const DUMP_VERSION = 2;
/** Name of the manifest inside a dump. */
export const MANIFEST_FILE = 'manifest.json';
/** Name of the statistics file inside a dump of tier full or stats. */
export const STATS_FILE = 'stats.arrow';
/** Name of the hash file inside a dump of tier hash. */
export const HASH_FILE = 'hash.arrow';
/** Name of the graph file inside a dump that is a recording. */
export const GRAPH_FILE = 'graph.json';
/** Name of the file of errors inside a dump that is a noise floor. */
export const NOISE_FILE = 'noise.json';

/** How much a dump holds: tensors and statistics, statistics only, or one SHA-256 per tap and step. */
export type DumpTier = 'full' | 'stats' | 'hash';

/** `token`: one value per token position. `step`: one value per forward step and sequence. */
export type TapScope = 'token' | 'step';

/** A tap as its producer declares it. */
export interface TapSpec {
  /** Tap name, e.g. `layers.3.self_attn.o_proj`; unique in the dump. */
  name: string;
  /** Decoder block, or null for taps of the embedding and the head. */
  block: number | null;
  dtype: TapDtype;
  scope: TapScope;
  /**
   * Axis names in the reference's order; for scope `token` the first is the token axis, e.g.
   * `['T', 'nq', 'd']`.
   */
  axes: readonly string[];
  /**
   * Sizes per row in elements, without the token axis; null where a size varies from step to step. `[]` is
   * one number per token. The last axis of a quantised dtype is a multiple of its block.
   */
  shape: readonly (number | null)[];
  /** True where rows may be missing: not computed, or not recorded. Scope `token` only; default false. */
  nullable?: boolean;
  /** True where infinities are part of the value by design (a mask, masked scores). Default false. */
  masked?: boolean;
}

/**
 * How `taps` is ordered: as computed (also when absent), by a map or an option, by name with numbers as
 * numbers, or by chance.
 */
export type TapOrder = 'execution' | 'declared' | 'natural' | 'unknown';

/** Something that was wanted and did not run. */
export interface NotRun {
  /** A module or a value. */
  name: string;
  reason: string;
}

/** One call of the model. */
export interface DumpCall {
  step: number;
  kind: 'prefill' | 'decode' | 'chunk';
  /** Positions that it computed, of all sequences. */
  rows: number;
}

/** A tap as the manifest lists it, in the order that `order` says. */
export interface TapInfo extends TapSpec {
  /** The Arrow file that holds it (in tier full), e.g. `layers.3.arrow`. */
  file: string;
}

/** What produced a dump. Further keys (library versions, the command line) are free. */
export interface DumpProducer {
  name: string;
  version: string;
  [key: string]: unknown;
}

/** What was run. Of an unknown program only its name is known. */
export interface DumpModel {
  /** `model_type` of its config, e.g. `zaya`. */
  type?: string;
  /** Basename of its folder; never a path. */
  name: string;
  /**
   * How the model is stored: `transformers` (also when absent), `legacy`, `gguf half-layers`,
   * `gguf half-layers-cca` or `gguf blocks`.
   */
  layout?: string;
  /**
   * The parsed config.json; of a GGUF file, which has none, what its metadata says under the keys of the
   * transformers layout.
   */
  config?: Record<string, unknown>;
  /** Hex SHA-256 of the bytes of config.json; of a GGUF file, of the JSON text of `config`. */
  configSha256?: string;
  /** Hex SHA-256 that identifies the weights; computed as `docs/dump-format.md` says. */
  weightsSha256?: string;
  /** Stored dtype of the checkpoint's matmul weights, e.g. `BF16`. */
  dtype?: string;
}

/** The fields of a manifest that a producer supplies. */
export interface DumpDescription {
  tier: DumpTier;
  producer: DumpProducer;
  model: DumpModel;
  /** Dtype policy of the run: `name`, and free keys. */
  policy: { name: string; [key: string]: unknown };
  /** Backend of the run: `name`, `device`, `threads`, and free keys. */
  backend: { name: string; [key: string]: unknown };
  /**
   * All token ids fed, per sequence; or the number of positions, where there are no ids or they are unknown.
   */
  sequences: readonly DumpSequence[];
  /**
   * What the producer was asked to capture: a tap pattern (`src/tap-pattern.ts`) and positions
   * (`src/positions.ts`).
   */
  selection: { taps: string; positions: string };
  taps: readonly TapSpec[];
  /** Which taps play which role. Default: what is known of `model.type`. */
  roles?: DumpRoles;
  /** What was wanted and did not run. */
  notRun?: readonly NotRun[];
  /** How `taps` is ordered; default `execution`. */
  order?: TapOrder;
  /**
   * Pairs [from, to] of indices into `taps`: the value of `from` went into the computation of `to`. Default:
   * unknown.
   */
  edges?: readonly (readonly [from: number, to: number])[];
  /** The calls of the run, for information. */
  calls?: readonly DumpCall[];
}

/** `manifest.json` of a dump. */
export interface Manifest extends DumpDescription {
  format: typeof DUMP_FORMAT;
  version: 1 | 2;
  /** `partial` until the producer has finished; a partial dump reads up to its last whole batch. */
  status: 'partial' | 'complete';
  /** ISO 8601 time of creation. */
  created: string;
  /** Forward steps completed; 0 while partial. */
  steps: number;
  taps: readonly TapInfo[];
  /** The graph of a recording: always {@link GRAPH_FILE}. */
  graph?: { file: typeof GRAPH_FILE };
  /** The errors of a noise floor: always {@link NOISE_FILE}. */
  noise?: { file: typeof NOISE_FILE };
}

/** The index columns of a batch: one entry per row, all of the same length. */
export interface RowIndex {
  /** Sequence number, from 0. */
  sequence: Int32Array;
  /** Absolute position of the token in its sequence, from 0. */
  position: Int32Array;
  tokenId: Int32Array;
  /** Forward step that computed the row, from 0. */
  step: Int32Array;
}

/** True where the producer or the map marks a value as one with infinities by design. */
export function isMasked(tap: object): boolean {
  return 'masked' in tap && tap.masked === true;
}

/** Name of the Arrow file that holds the taps of a block (null: taps of no block). */
export function dataFileName(block: number | null): string {
  return block === null ? 'model.arrow' : `layers.${block}.arrow`;
}

/** True if `name` is a file name that this format uses. */
export function isDumpFile(name: string): boolean {
  return [MANIFEST_FILE, STATS_FILE, HASH_FILE, GRAPH_FILE, NOISE_FILE].includes(name) || isDataFile(name);
}

/** True for `model.arrow` and `layers.N.arrow`. */
function isDataFile(name: string): boolean {
  return name === 'model.arrow' || /^layers\.(0|[1-9]\d{0,5})\.arrow$/.test(name);
}

/** The version that a manifest needs: 1 unless it uses anything that version 1 lacks. */
export function neededVersion(manifest: Omit<Manifest, 'version'>): 1 | 2 {
  const { model, sequences, taps, roles, notRun, order, edges, calls, graph, noise } = manifest;
  const { type, config, configSha256, weightsSha256, dtype } = model;
  const isNewer =
    [type, config, configSha256, weightsSha256, dtype].includes(undefined) ||
    sequences.some(({ tokens }) => tokens === undefined) ||
    taps.some((tap) => tap.nullable || tap.masked || !DTYPES_OF_VERSION_1.includes(tap.dtype)) ||
    [roles, notRun, order, edges, calls, graph, noise].some((field) => field !== undefined);
  return isNewer ? 2 : 1;
}
