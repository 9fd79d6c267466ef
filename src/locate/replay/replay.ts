import { leadingColumns } from '../../diff/leading-columns.js';
import type { DumpView } from '../../dump/dump-view.js';
import type { TapInfo } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { knownTokens, sequenceLengths } from '../../dump/sequences.js';
import { ZayascopeError } from '../../errors.js';
import type { OutputValue } from '../../graph/compile.js';
import type { ZayaModel } from '../../models/zaya/model.js';
import type { ZayaPlan, ZayaPlanOptions } from '../../models/zaya/plan.js';
import { type GraftTaps, graftTaps, heldColumns } from './graft.js';

/** What runs: a model, or its weights under another policy. */
export type Runner = Pick<ZayaModel, 'config' | 'backend'> & {
  plan(options: ZayaPlanOptions): ZayaPlan;
};

/** A value of a replay beside the dump's. Both are valid until the visitor returns. */
export interface ReplayedValue {
  /** The dump's tap. */
  tap: TapInfo;
  /** The dump's rows of one sequence. */
  dumped: TensorBatch;
  /** What was computed, as rows of the same shape: dtype F32 or I32. */
  shown: TensorBatch;
}

/** Options of {@link replay}. */
export interface ReplayOptions {
  dump: DumpView;
  /** Tap pattern of the values that are replaced by the dump's. `**` (default): each op works on the dump's values and shows its own error only. null: a plain run. */
  replace?: string | null;
  /** Called for each value that both have, in execution order, segment by segment. */
  visit: (value: ReplayedValue) => void | Promise<void>;
  /** Called after each segment: segments done and in all. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the run with `CANCELLED`. */
  signal?: AbortSignal;
}

/** What {@link replay} tells. */
export interface ReplayResult {
  /** Values that were replaced by the dump's. */
  replaced: ReadonlySet<string>;
  /** Values that the run makes and the dump lacks: there, an op reaches back to the held values before it. */
  missing: readonly string[];
}

/**
 * Runs the sequences of a dump again and shows each computed value beside the dump's. Nothing is written, and of the dump no more than two blocks are in memory at a time.
 *
 * @throws `BAD_ARGUMENT` for a dump that is not of tier full, holds no value of the model, or holds other rows than one forward call from the start of each sequence;
 * `SHAPE_MISMATCH` where a value has another size than the model's; `CANCELLED`; `BAD_DUMP`; `IO`.
 */
export async function replay(runner: Runner, options: ReplayOptions): Promise<ReplayResult> {
  const { dump, replace = '**', visit, onProgress, signal } = options;
  await checkReplayable(dump);
  const held = new Map(dump.taps.map((tap) => [tap.name, tap]));
  const replaced = new Set<string>();
  const missing = new Set<string>();
  const cancel = () => runner.backend.native.cancel();
  signal?.addEventListener('abort', cancel);
  let plan: ZayaPlan | undefined;
  try {
    const { sequences } = dump.manifest;
    let read: ((name: string) => Promise<TensorBatch>) | undefined;
    let taps: GraftTaps | undefined;
    for (const [sequence, tokens] of knownTokens(sequences)!.entries()) {
      if (plan?.tokens !== tokens.length) {
        plan?.close();
        const wants = (name: string) => {
          if (!held.has(name)) missing.add(name);
          return held.has(name);
        };
        taps =
          replace === null
            ? { wants, replaced: new Set(), prepare: async () => {} }
            : graftTaps({ dump, replace, wants, read: (name) => read!(name) });
        plan = runner.plan({ tokens: tokens.length, taps });
        for (const name of taps.replaced) replaced.add(name);
      }
      const rows = new SegmentRows(dump, sequence, plan);
      read = (name) => rows.read(name);
      const { prepare } = taps!;
      await plan.run(tokens, {
        async prepare(segment, graph) {
          if (signal?.aborted)
            throw new ZayascopeError('CANCELLED', `replay: cancelled before segment ${segment}`, {
              op: 'replay',
            });
          rows.expect(segment + 1);
          await prepare(segment, graph);
        },
        async sink(segment, values) {
          for (const value of values) {
            const dumped = await rows.read(value.name);
            await visit({ tap: held.get(value.name)!, dumped, shown: asRows(value, dumped, dump) });
          }
          rows.drop(segment);
          onProgress?.(
            sequence * plan!.segments.length + segment + 1,
            sequences.length * plan!.segments.length,
          );
        },
      });
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
    plan?.close();
  }
  return { replaced, missing: [...missing] };
}

/** Reads each value of a sequence once, though it is both put into a run and compared with one; drops what a segment has done with. */
class SegmentRows {
  readonly #dump: DumpView;
  readonly #sequence: number;
  readonly #names: readonly (readonly string[])[];
  readonly #values = new Map<string, Promise<TensorBatch>>();

  constructor(dump: DumpView, sequence: number, plan: ZayaPlan) {
    this.#dump = dump;
    this.#sequence = sequence;
    const held = new Set(dump.taps.map(({ name }) => name));
    this.#names = plan.segments.map(({ graph }) =>
      [...graph.outputs.keys()].filter((name) => held.has(name)),
    );
  }

  read(name: string): Promise<TensorBatch> {
    let value = this.#values.get(name);
    if (value === undefined) {
      value = this.#dump.read(name, { sequence: this.#sequence });
      value.catch(() => {}); // awaited by whoever asked; read ahead, nobody may
      this.#values.set(name, value);
    }
    return value;
  }

  /** Begins to read the values of a segment. */
  expect(segment: number): void {
    for (const name of this.#names[segment] ?? []) this.read(name);
  }

  drop(segment: number): void {
    for (const name of this.#names[segment]!) this.#values.delete(name);
  }
}

function asRows(
  { name, dtype, shape, bytes }: OutputValue,
  dumped: TensorBatch,
  dump: DumpView,
): TensorBatch {
  const elements = bytes.byteLength / 4;
  const columns = heldColumns(dump, dumped.tap, shape);
  if ((elements / shape.at(-1)!) * columns !== dumped.data.length)
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `replay: expected the model's [${shape.join(', ')}] in the dump, got [${dumped.shape.join(', ')}] (${name})`,
      { op: 'replay', tensor: name, shapes: [shape, dumped.shape] },
    );
  const data =
    dtype === 'I32'
      ? new Int32Array(bytes.buffer, bytes.byteOffset, elements)
      : new Float32Array(bytes.buffer, bytes.byteOffset, elements);
  const all: TensorBatch = { ...dumped, dtype: dtype === 'I32' ? 'I32' : 'F32', data };
  return columns === shape.at(-1) ? all : leadingColumns({ ...all, shape }, columns);
}

/** A replay computes each sequence in one call from its start, so a dump must hold just that. */
async function checkReplayable(dump: DumpView): Promise<void> {
  const refuse = (expected: string, got: string): never => {
    throw new ZayascopeError('BAD_ARGUMENT', `replay: expected ${expected}, got ${got} (${dump.dir})`, {
      op: 'replay',
    });
  };
  if (dump.manifest.tier !== 'full') refuse('a dump of tier full', `tier ${dump.manifest.tier}`);
  const files = new Map(
    dump.taps.filter(({ scope }) => scope === 'token').map((tap) => [tap.file, tap.name]),
  );
  if (files.size === 0) refuse('a dump with values of tokens', 'none');
  const { sequences } = dump.manifest;
  if (knownTokens(sequences) === undefined) refuse('the token ids of all sequences', 'none');
  const total = sequenceLengths(sequences).reduce((sum, length) => sum + length, 0);
  for (const [file, name] of files) {
    const { sequence, position, step } = await dump.rows(name);
    if (position.length !== total) refuse(`all ${total} positions`, `${position.length} rows in ${file}`);
    for (let row = 0; row < position.length; row++) {
      const starts = position[row] === 0;
      const follows =
        sequence[row] === sequence[row - 1] &&
        position[row] === position[row - 1]! + 1 &&
        step[row] === step[row - 1];
      if (!starts && !follows)
        refuse(
          'one forward call from the start of each sequence',
          `sequence ${sequence[row]} position ${position[row]} in step ${step[row]} of ${file}`,
        );
    }
  }
}
