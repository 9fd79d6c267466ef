/**
 * Runs every node of a recording again on its own inputs, in a child process: ggml aborts on what does not
 * fit.
 */
import { resolve } from 'node:path';
import { isProcessEnd, runInChild } from '../in-child.js';

/** Options of {@link replayRecording}. */
export interface ReplayRecordingOptions {
  /** Folder of the recording. */
  recording: string;
  /** The GGUF file that ran, for its weights. Default: none, for a recording that reads none. */
  model?: string;
  /**
   * `same`: as it was. `widened`: with every low-precision operand in F32. `double`: in double precision, of
   * the ops that `DOUBLE_OPS` lists; on the CPU alone. Default the first two.
   */
  modes?: readonly ReplayMode[];
  /** CPU threads. Default: as recorded; the bits may depend on it. */
  threads?: number;
  /** Backend or device. Default `cpu`; any other is judged by limits, not by bits. */
  backend?: string;
  /** Multiplies F32 as F32 on GPUs that would round the operands to F16. Default false. */
  strictF32?: boolean;
  signal?: AbortSignal;
  /** Called with nodes done and nodes in all. */
  onProgress?: (done: number, total: number) => void;
}

/** How a node is run again: as it was, with every low-precision operand in F32, or in double precision. */
export type ReplayMode = 'same' | 'widened' | 'double';

/** A replay, as the child gets it. */
export interface ReplayRun {
  recording: string;
  model: string | undefined;
  modes: readonly ReplayMode[];
  threads: number | undefined;
  backend: string;
  strictF32?: boolean;
  /** Nodes that an earlier process has done. Default 0. */
  from?: number;
}

/** One node, replayed. */
export interface ReplayedNode {
  id: number;
  step: number;
  op: string;
  /** Its tap. */
  name: string;
  block: number | null;
  /** True where the replay gave the recorded bits; absent where it was not asked for. */
  isSame?: boolean;
  /** NMSE of the replay as it was, where bits differ. */
  nmse?: number;
  /**
   * The error that the node makes itself: NMSE of what was recorded against the replay with operands in F32.
   * 0 where no operand is in low precision.
   */
  ownError?: number;
  /** NMSE of what was recorded against double precision; absent where that was not asked for or not done. */
  doubleError?: number;
  /** NaN and infinities in what was recorded, but for minus infinity, which masks hold. */
  nonFinite: number;
  /**
   * On another kind of device than the CPU: NMSE of what it gives against the node with its operands in F32
   * on the CPU, what it may be (four times that of what was recorded, and never below F32's own), and whether
   * it is more. Of indices, 1 where they differ.
   */
  onDevice?: { error: number; limit: number; isBeyond: boolean };
  /** Types of the operands that were widened. */
  widened?: string[];
  /** Why it was not replayed. */
  problem?: string;
}

/** A driver that takes longer over a node hangs. */
const NODE_MS = 120_000;

/** What became of a recording's nodes. */
export interface RecordingReplay {
  nodes: ReplayedNode[];
  /** True where the run did not finish: what is there of it passes nothing. */
  partial: boolean;
  /** Nodes that cannot be run again: they, or what they read, were not recorded. */
  unrecorded: { name: string; op: string; step: number; reason: string }[];
  /** Device that ran them. */
  device: string;
  threads: number | undefined;
}

/**
 * Replays a recording.
 * @throws `BAD_DUMP` for a dump without a graph or with one that does not fit its values, `UNPAIRED` for a
 * model that is not the one that ran, `BACKEND` naming the node at which the process ended, `IO`,
 * `CANCELLED`.
 */
export async function replayRecording(options: ReplayRecordingOptions): Promise<RecordingReplay> {
  const { signal, onProgress = () => {}, threads, backend = 'cpu', modes = ['same', 'widened'] } = options;
  const run: ReplayRun = {
    recording: resolve(options.recording),
    model: options.model === undefined ? undefined : resolve(options.model),
    modes,
    threads,
    backend,
    strictF32: options.strictF32 ?? false,
  };
  const done: ReplayedNode[] = [];
  for (;;) {
    const from = done.length;
    try {
      const rest = (await runInChild(
        { kind: 'replay', run: { ...run, from } },
        {
          onProgress,
          onNode: (node) => done.push(node),
          silenceMs: backend !== 'cpu' ? NODE_MS : undefined,
          signal,
        },
      )) as RecordingReplay;
      return { ...rest, nodes: [...done.slice(0, from), ...rest.nodes] };
    } catch (error) {
      // A driver that ends the process may do so long after what broke it: another process goes on, as long
      // as each gets further. On the CPU it is the graph's fault.
      if (!isProcessEnd(error) || done.length === from) throw error;
    }
  }
}
