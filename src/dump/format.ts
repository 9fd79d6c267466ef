/**
 * The dump format, version 1, as data types. `docs/dump-format.md` is its description for readers in other languages.
 *
 * A dump is a folder: `manifest.json`, Arrow IPC files with tensors (one per decoder block, and `model.arrow`), `stats.arrow`, `hash.arrow`.
 */

/** Value of `format` in the manifest. */
export const DUMP_FORMAT = 'zayascope-dump';
/** Value of `version` in the manifest. */
export const DUMP_VERSION = 1;
/** Name of the manifest inside a dump. */
export const MANIFEST_FILE = 'manifest.json';
/** Name of the statistics file inside a dump of tier full or stats. */
export const STATS_FILE = 'stats.arrow';
/** Name of the hash file inside a dump of tier hash. */
export const HASH_FILE = 'hash.arrow';

/** How much a dump holds: tensors and statistics, statistics only, or one SHA-256 per tap and step. */
export type DumpTier = 'full' | 'stats' | 'hash';

/** Element types of taps. F16 and BF16 are stored as their bits; nothing is widened. */
export type TapDtype = 'F32' | 'F16' | 'BF16' | 'I32';

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
  /** Axis names in the reference's order; for scope `token` the first is the token axis, e.g. `['T', 'nq', 'd']`. */
  axes: readonly string[];
  /** Sizes per row, without the token axis; null where a size varies from step to step. `[]` is one number per token. */
  shape: readonly (number | null)[];
}

/** A tap as the manifest lists it, in the model's execution order. */
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

/** The checkpoint that was run. */
export interface DumpModel {
  /** `model_type` of its config, e.g. `zaya`. */
  type: string;
  /** Basename of its folder; never a path. */
  name: string;
  /** How the model is stored: `transformers` (also when absent), `legacy`, `gguf half-layers` or `gguf blocks`. */
  layout?: string;
  /** The parsed config.json; of a GGUF file, which has none, what its metadata says under the keys of the transformers layout. */
  config: Record<string, unknown>;
  /** Hex SHA-256 of the bytes of config.json; of a GGUF file, of the JSON text of `config`. */
  configSha256: string;
  /** Hex SHA-256 that identifies the weights; computed as `docs/dump-format.md` says. */
  weightsSha256: string;
  /** Stored dtype of the checkpoint's matmul weights, e.g. `BF16`. */
  dtype: string;
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
  /** All token ids fed, per sequence. */
  sequences: readonly { tokens: readonly number[] }[];
  /** What the producer was asked to capture: a tap pattern (`src/tap-pattern.ts`) and positions (`src/positions.ts`). */
  selection: { taps: string; positions: string };
  taps: readonly TapSpec[];
}

/** `manifest.json` of a dump. */
export interface Manifest extends DumpDescription {
  format: typeof DUMP_FORMAT;
  version: typeof DUMP_VERSION;
  /** `partial` until the producer has finished; a partial dump reads up to its last whole batch. */
  status: 'partial' | 'complete';
  /** ISO 8601 time of creation. */
  created: string;
  /** Forward steps completed; 0 while partial. */
  steps: number;
  taps: readonly TapInfo[];
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

/** Name of the Arrow file that holds the taps of a block (null: taps of no block). */
export function dataFileName(block: number | null): string {
  return block === null ? 'model.arrow' : `layers.${block}.arrow`;
}

/** True if `name` is a file name that this format uses. */
export function isDumpFile(name: string): boolean {
  return name === MANIFEST_FILE || name === STATS_FILE || name === HASH_FILE || isDataFile(name);
}

/** True for `model.arrow` and `layers.N.arrow`. */
function isDataFile(name: string): boolean {
  return name === 'model.arrow' || /^layers\.(0|[1-9]\d{0,5})\.arrow$/.test(name);
}

/** Bytes of one element. */
export function elementBytes(dtype: TapDtype): 2 | 4 {
  return dtype === 'F16' || dtype === 'BF16' ? 2 : 4;
}
