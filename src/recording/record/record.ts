/** Records a run of libllama into a dump, in a child process: libllama ends its process on some bad files. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { Dtype } from '../../dtype.js';
import type { DumpTier } from '../../dump/format.js';
import { badArgument } from '../../errors.js';
import { openGgufFile } from '../../models/layout/source.js';
import { parsePositions } from '../../positions.js';
import { tapPattern } from '../../tap-pattern.js';
import { runInChild } from '../in-child.js';
import type { PinValues, SetValue } from './grafts.js';

/** Options of {@link recordGguf}. */
export interface RecordOptions {
  /** GGUF file of any architecture that libllama knows. */
  model: string;
  /** Token ids of the prompt, at positions 0 and on. */
  tokens: readonly number[];
  /** Prompts of more sequences, which run in the same batches. Default none. */
  others?: readonly (readonly number[])[];
  /** Folder of the recording. */
  out: string;
  /** Replaces a dump that is there. Default false. */
  overwrite?: boolean;
  /** Tokens to append to the prompt, each the likeliest, in a call of its own. Default 0. */
  generate?: number;
  /**
   * Taps to write (`src/tap-pattern.ts`). What their nodes read is written too, so that they can be replayed.
   * Default all.
   */
  taps?: string;
  /** Rows of those taps that no node reads: `all`, `last` (of each step) or `a:b`. Default `all`. */
  positions?: string;
  /** `full`, or statistics or hashes alone, of which nothing can be replayed. Default `full`. */
  tier?: DumpTier;
  /** Tokens of the prompt in a call, of each sequence. Default: all in one. */
  chunk?: number;
  /** Tokens that libllama runs in one graph. Default 512. */
  ubatch?: number;
  /** Default: half of the processors, at least one. */
  threads?: number;
  /** Default false. */
  flashAttention?: boolean;
  /** Element types of the key and value cache. Default F16, as libllama. */
  keyType?: Dtype;
  valueType?: Dtype;
  /** Values to write into the run, right after their node has run; all that follows is computed from them. */
  set?: readonly SetValue[];
  /** Values of another recording to write into the run, before those of `set`. */
  pin?: readonly PinValues[];
  signal?: AbortSignal;
  /** Called with graphs done and graphs in all. */
  onProgress?: (done: number, total: number) => void;
}

/** A run, as the child gets it: {@link RecordOptions} with every default. */
export interface RecordRun {
  model: string;
  /** Token ids of each sequence's prompt. */
  sequences: readonly (readonly number[])[];
  taps: string;
  positions: string;
  tier: DumpTier;
  out: string;
  overwrite: boolean;
  generate: number;
  chunk: number;
  ubatch: number;
  threads: number;
  flashAttention: boolean;
  keyType: Dtype;
  valueType: Dtype;
  set: readonly SetValue[];
  pin: readonly PinValues[];
}

/** What a recording holds. */
export interface RecordResult {
  out: string;
  /** libllama's words for the model. */
  description: string;
  graphs: number;
  /** Nodes that compute, of all graphs; and views, which do not. */
  nodes: number;
  views: number;
  taps: number;
  /** Of values, each once. */
  valueBytes: number;
  /** True where the logits with and without recording are the same bits. */
  isSame: boolean;
  /** The likeliest token after the last one, and its logit; null where a logit is not finite. */
  next: number | null;
  nextLogit: number | null;
  nonFiniteLogits: number;
  /** Tokens whose logits are all equal: none is likelier than another. */
  flatLogits: number;
  /** Tokens that were run. */
  tokens: number;
  /** Tokens of the run, and the context that the model was trained with, where that is smaller. */
  beyondContext: { tokens: number; context: number } | null;
  /** Tokens that the run appended. */
  generated: number[];
  /** The same of the sequences after the first. */
  others: { next: number | null; nextLogit: number | null; generated: number[] }[];
  /** Where values were written into the run: how many nodes, and the largest NMSE of a call's logits. */
  edited?: { nodes: number; logitsNmse: number };
}

/**
 * Runs a prompt through libllama and writes every value of every node, with the graph, into a dump
 * (`docs/any-model.md`).
 *
 * @throws `BAD_CHECKPOINT` with libllama's reason for a file that it refuses, `BACKEND` where its process
 * ended, `BAD_ARGUMENT`, `IO`, `CANCELLED`.
 */
export async function recordGguf(options: RecordOptions): Promise<RecordResult> {
  const { signal, onProgress = () => {}, tokens } = options;
  const run: RecordRun = {
    model: resolve(options.model),
    sequences: [tokens, ...(options.others ?? [])].map((each) => [...each]),
    taps: options.taps ?? '**',
    positions: options.positions ?? 'all',
    tier: options.tier ?? 'full',
    out: resolve(options.out),
    overwrite: options.overwrite ?? false,
    generate: options.generate ?? 0,
    chunk: options.chunk ?? Math.max(1, tokens.length, ...(options.others ?? []).map(({ length }) => length)),
    ubatch: options.ubatch ?? 512,
    threads: options.threads ?? Math.max(1, availableParallelism() >> 1),
    flashAttention: options.flashAttention ?? false,
    keyType: options.keyType ?? 'F16',
    valueType: options.valueType ?? 'F16',
    set: (options.set ?? []).map((each) => ({ ...each, file: resolve(each.file) })),
    pin: (options.pin ?? []).map((each) => ({ ...each, from: resolve(each.from) })),
  };
  checkRun(run);
  const { gguf } = await openGgufFile(run.model); // says what is wrong with a file better than libllama does
  const result = await runInChild({ kind: 'record', run }, { onProgress, signal });
  const length = Math.max(...run.sequences.map((prompt) => prompt.length)) + run.generate;
  const beyondContext = contextExceeded(gguf.metadata, length);
  return { ...(result as RecordResult), beyondContext, out: options.out };
}

/** What a GGUF file says of the context that its model was trained with, where `tokens` are more. */
export function contextExceeded(
  metadata: Readonly<Record<string, { value: unknown } | undefined>>,
  tokens: number,
): { tokens: number; context: number } | null {
  const architecture = metadata['general.architecture']?.value;
  const context = Number(metadata[`${String(architecture)}.context_length`]?.value ?? Number.NaN);
  return tokens > context ? { tokens, context } : null;
}

/** Each has a part of the cache. */
const MAX_SEQUENCES = 64;

/** Refuses what a run cannot be made of. */
function checkRun({ sequences, chunk, generate, threads, ubatch, taps, positions }: RecordRun): void {
  const whole = (name: string, value: number, least: number): void => {
    if (!(Number.isSafeInteger(value) && value >= least))
      throw badArgument('record', `${name} of at least ${least}`, value);
  };
  for (const tokens of sequences) {
    whole('tokens', tokens.length, 1);
    if (positions.trim() !== 'last') parsePositions(positions, tokens.length + generate);
  }
  if (sequences.length > MAX_SEQUENCES)
    throw badArgument('record', `at most ${MAX_SEQUENCES} sequences`, sequences.length);
  tapPattern(taps);
  whole('chunk', chunk, 1);
  whole('steps', generate, 0);
  whole('threads', threads, 1);
  whole('ubatch', ubatch, 1);
}
