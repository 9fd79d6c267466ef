/** A model that libllama runs, with its tensors told as they come. Meant for a child process. */
import { ggmlType } from '../../dtype.js';
import { unmet } from '../../errors.js';
import { llamaLibraryFile, native } from '../../native.js';
import { LLAMA_MODE, type NativeLlama, type NativeRecorded } from '../../native-llama.js';
import type { CallPart } from './graph-rows.js';
import type { RecordRun } from './record.js';

const OP = 'record';

/** What a run is made of. */
export type LlamaRun = Pick<
  RecordRun,
  'model' | 'ubatch' | 'threads' | 'flashAttention' | 'keyType' | 'valueType'
> & {
  /** Positions that a sequence may have. */
  context: number;
  /** Sequences that run in one batch. Default 1. */
  sequences?: number;
  /** One cache for all of them, so that attention has a row a token. Default: libllama's, one for each. */
  unified?: boolean;
};

/** One loaded model; each {@link LlamaSession.start} begins a run without memory of the one before. */
export class LlamaSession implements Disposable {
  readonly #llama: NativeLlama;
  readonly #run: LlamaRun;
  #take: (recorded: NativeRecorded) => void = () => {};
  #received = 0;
  #wake = () => {};

  /** @throws `BAD_CHECKPOINT` with libllama's reason, `BACKEND` for an addon without libllama. */
  constructor(run: LlamaRun) {
    const { Llama } = native();
    if (Llama === undefined)
      throw unmet(
        'BACKEND',
        OP,
        'an addon that was built with llama.h',
        'one built from a checkout of ggml alone',
      );
    this.#run = run;
    this.#llama = new Llama(llamaLibraryFile(), run.model, (recorded) => {
      this.#received++;
      this.#take(recorded);
      this.#wake();
    });
  }

  get vocabulary(): number {
    return this.#llama.vocabulary;
  }

  /** libllama's words for the model. */
  get description(): string {
    return this.#llama.description;
  }

  /** How many values have been put into the run. */
  get grafted(): number {
    return this.#llama.grafted;
  }

  /** Begins a run, whose tensors go to `take`. */
  start(take: (recorded: NativeRecorded) => void): void {
    this.#take = take;
    const { context, ubatch, threads, flashAttention, keyType, valueType } = this.#run;
    const { sequences = 1, unified = false } = this.#run;
    this.#llama.start({
      context: Math.max(64, context),
      sequences,
      unified,
      ubatch,
      threads,
      flashAttention,
      keyType: ggmlType(keyType),
      valueType: ggmlType(valueType),
    });
  }

  /**
   * Runs a call, and waits for all that it tells. @returns logits, a row a token, one part after the other.
   */
  async decode(parts: readonly CallPart[], mode: keyof typeof LLAMA_MODE): Promise<Float32Array> {
    const logits = await this.#llama.decode(
      parts.flatMap(({ tokens }) => [...tokens]),
      parts.flatMap(({ tokens, first }) => tokens.map((_, k) => first + k)),
      parts.flatMap(({ tokens, sequence }) => tokens.map(() => sequence)),
      LLAMA_MODE[mode],
    );
    // What the other thread has sent may still be on its way when the call has ended.
    while (this.#received < this.#llama.sent)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return logits;
  }

  /** Reads only the values of these tensors in what follows. */
  want(ids: Iterable<number>): void {
    this.#llama.want([...ids]);
  }

  /** Puts bytes into a node of the next call when it has run. */
  graft(id: number, bytes: Uint8Array): void {
    this.#llama.graft(id, bytes);
  }

  release(bytes: number): void {
    this.#llama.release(bytes);
  }

  /** Lets go of a value's memory without waiting for the garbage collector. */
  free(bytes: Uint8Array): void {
    this.#llama.free(bytes);
  }

  cancel(): void {
    this.#llama.cancel();
  }

  [Symbol.dispose](): void {
    this.#llama.close();
  }
}
