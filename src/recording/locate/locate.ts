/**
 * Names the nodes of a recording whose values are not what their inputs give, in a child process: ggml aborts
 * on what does not fit.
 */
import { resolve } from 'node:path';
import { runInChild } from '../in-child.js';

/** Options of {@link locateRecording}. */
export interface LocateRecordingOptions {
  /** Folder of the recording that is judged. */
  recording: string;
  /**
   * A recording of the same steps that says what each node is to compute. Default: the recording's own graph.
   */
  reference?: string;
  /**
   * GGUF file with the weights that are right: the one that ran, or the reference's. Default: none, for a
   * recording that reads none.
   */
  model?: string;
  /** CPU threads. Default: as recorded. */
  threads?: number;
  /** Backend or device. Default `cpu`. */
  backend?: string;
  signal?: AbortSignal;
  /** Called with nodes done and nodes in all. */
  onProgress?: (done: number, total: number) => void;
}

/** A judgement, as the child gets it. */
export interface LocateRecordingRun {
  recording: string;
  reference: string | undefined;
  model: string | undefined;
  threads: number | undefined;
  backend: string;
}

/** One node, judged. */
export interface JudgedNode {
  id: number;
  step: number;
  op: string;
  /** Its tap. */
  name: string;
  block: number | null;
  /** The one weight that it reads. */
  weight?: string;
  /** Of a node that nobody named: the first that reads it. */
  readBy?: string;
  /** Type that its value is stored in. */
  type: string;
  /**
   * NMSE of what was recorded against the node run again on its recorded inputs with operands in F32; 1 for
   * integers that differ. Null where it was not run.
   */
  ownError: number | null;
  /**
   * NMSE of what was recorded against the node run again as it is: what it adds to what the reference's node
   * would give.
   */
  addedError?: number;
  /**
   * What it may be: four times the error that the node run again as it is makes, and never below F32's own.
   */
  limit: number;
  isFault: boolean;
  /** Types of the operands that were widened. */
  widened: string[];
  /** How the graph differs from the reference's here. */
  differences: string[];
  /** What takes the error away, in words, and the error that is left; null where that cannot be computed. */
  cause?: { words: string; left: number | null };
  /** Where the error lies, if in few places. */
  place?: string;
  /** Values that are NaN or infinite where the node run again gives none. */
  nonFinite: number;
  /** All that are, passed on or made here; minus infinity is what masks hold, and not counted. */
  allNonFinite: number;
  /**
   * Error against the reference's recording, everything before the node included: NMSE; of a sorting the
   * share of rows in which other entries are chosen; of other integers 1 where any differs.
   */
  wholeError?: number;
  /** Of a sorting (experts, keys): rows in which other entries are chosen than in the reference. */
  choices?: { changed: number; rows: number; first: number };
  /**
   * Estimated share of the error of the last logits of the same tokens that is made here (`errorShares`);
   * only where there is a reference, whose weights both are judged by.
   */
  share?: number;
  /** Why it was not judged. */
  problem?: string;
}

/** What is wrong with a recording. */
export interface RecordingVerdict {
  nodes: JudgedNode[];
  /** Ids of the nodes at fault, in the order in which they ran. */
  faults: number[];
  /**
   * First node whose value is not the reference's, by id, and NMSE of the logits; null without a reference.
   */
  parts: { first: number | null; logits: number | null } | null;
  /** Nodes that compute something which only the reference's graph has, by name. */
  missing: string[];
  /** Names of the recordings that were cut short: of such a run only what is there is judged. */
  partial: string[];
  /** True where a node is at fault, missing or was not run, a value is not finite, or a run was cut short. */
  found: boolean;
  /** Nodes that the other graph lacks, by name. */
  alone: { tested: string[]; reference: string[] };
  /** Whether the weights are those that the judged recording ran with. */
  ownWeights: boolean;
  /** What is to be known before reading on: other tokens, other weights. */
  notes: string[];
  /** Names for the text. */
  names: { recording: string; reference: string | null; model: string | null };
  device: string;
  threads: number | undefined;
}

/**
 * Judges every node by its own inputs (`docs/any-model.md`).
 * @throws `BAD_DUMP` for a dump without a graph or with one that does not fit its values, `UNPAIRED` for
 * recordings of other steps or a model that lacks weights, `BACKEND` naming the node at which the process
 * ended, `IO`, `CANCELLED`.
 */
export async function locateRecording(options: LocateRecordingOptions): Promise<RecordingVerdict> {
  const { signal, onProgress = () => {}, threads, reference, backend = 'cpu' } = options;
  const run: LocateRecordingRun = {
    recording: resolve(options.recording),
    reference: reference === undefined ? undefined : resolve(reference),
    model: options.model === undefined ? undefined : resolve(options.model),
    threads,
    backend,
  };
  return (await runInChild({ kind: 'locate', run }, { onProgress, signal })) as RecordingVerdict;
}
