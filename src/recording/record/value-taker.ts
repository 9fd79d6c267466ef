/**
 * Takes what a run tells and hands its values to the writer, holding the model back where the disk is slow.
 */
import type { NativeRecorded } from '../../native-llama.js';
import type { LlamaSession } from './llama-session.js';
import { type Four, GraphCollector, type RecordedTensor, unexpected } from './recorded-graph.js';
import type { ValueWriter } from './value-writer.js';

/** Bytes of values that may wait to be written before the model is made to wait. */
const MAX_UNWRITTEN = 2 ** 28;

/** The values of one run whose graphs are known. */
export class ValueTaker {
  readonly #session: LlamaSession;
  readonly #collector: GraphCollector;
  #values: ValueWriter | undefined;
  /** What came before {@link begin}; the model waits when it is much. */
  readonly #early: NativeRecorded[] = [];
  readonly #again = new GraphCollector();
  readonly #owed: number[] = [];
  #unwritten = 0;
  #bytes = 0;
  #failure: unknown;

  /** @param collector the graphs of an earlier run. */
  constructor(session: LlamaSession, collector: GraphCollector) {
    this.#session = session;
    this.#collector = collector;
  }

  /** Hands on what has come, and from now on what comes. */
  begin(values: ValueWriter): void {
    this.#values = values;
    for (const each of this.#early.splice(0)) this.take(each);
  }

  /** Bytes of values so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Why no more was taken, if so. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Takes one tensor or value. Never throws: a failure ends the run. */
  readonly take = (recorded: NativeRecorded): void => {
    if (this.#failure !== undefined) return;
    if (this.#values === undefined) {
      this.#early.push(recorded);
      return;
    }
    try {
      this.#take(recorded, this.#values);
    } catch (error) {
      this.fail(error);
    }
  };

  #take(recorded: NativeRecorded, values: ValueWriter): void {
    const tensor =
      recorded.kind === undefined
        ? this.#collector.tensors[recorded.id]
        : this.#sameTensor(this.#again.add(recorded));
    if (tensor === undefined) throw unexpected('a tensor of the first run', `tensor ${recorded.id}`);
    const { bytes } = recorded;
    if (bytes === undefined || bytes.byteLength === 0) return;
    const { byteLength } = bytes; // 0 once it is let go of
    this.#bytes += byteLength;
    this.#unwritten += byteLength;
    // Values that wait for their block are let through; a disk that falls behind holds the model back.
    if (this.#unwritten < MAX_UNWRITTEN) this.#session.release(byteLength);
    else this.#owed.push(byteLength);
    const free = (done: Uint8Array) => this.#session.free(done);
    values.take(recorded.graph, tensor, recorded.ne as unknown as Four, bytes, free).then(
      () => {
        this.#unwritten -= byteLength;
        for (const each of this.#owed.splice(0)) this.#session.release(each);
      },
      (error: unknown) => this.fail(error),
    );
  }

  /** A later run builds the graphs of the first: the names that were planned are those that come. */
  #sameTensor({ id, name, op }: RecordedTensor): RecordedTensor {
    const planned = this.#collector.tensors[id];
    if (planned === undefined || planned.name !== name || planned.op !== op)
      throw unexpected(`tensor ${id} of the first run, ${planned?.op} ${planned?.name}`, `${op} ${name}`);
    return planned;
  }

  /** Ends the run, which then fails with the first error told. */
  readonly fail = (error: unknown): void => {
    this.#failure ??= error;
    this.#session.cancel();
  };
}
