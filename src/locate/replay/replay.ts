import { leadingColumns } from '../../diff/leading-columns.js';
import type { DumpView } from '../../dump/dump-view.js';
import type { TapInfo } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { unmet, ZayascopeError } from '../../errors.js';
import { hasRole } from '../../families/roles.js';
import type { OutputValue } from '../../graph/compile.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelCache } from '../../models/runtime/cache.js';
import type { Model } from '../../models/runtime/model.js';
import type { ModelPlan, PlanOptions } from '../../models/runtime/plan.js';
import { tapPattern } from '../../tap-pattern.js';
import { type DumpCall, dumpCalls, isState, lackingValues } from './calls.js';
import { type GraftTaps, graftTaps, heldColumns } from './graft.js';
import { loadHistory } from './history.js';
import { narrowed } from './span.js';
import { tapPlace } from './tap-graph.js';

/** What runs: a model, or its weights under another policy. */
export type Runner = Pick<Model, 'config' | 'backend'> & {
  plan(options: PlanOptions): ModelPlan;
  cache(capacity: number): ModelCache;
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
  /**
   * Tap pattern of the values that are replaced by the dump's. `**` (default): each op works on the dump's
   * values and shows its own error only. null: a plain run.
   */
  replace?: string | null;
  /**
   * False for values that count as not held, though the dump has them: they are computed and not shown.
   * Default: all are held.
   */
  holds?: (name: string) => boolean;
  /** Called for each value that both have, in execution order, segment by segment. */
  visit: (value: ReplayedValue) => void | Promise<void>;
  /**
   * Values that are shown to `watch` as they are computed, whether the dump holds them or not; default none.
   */
  watches?: (name: string) => boolean;
  /**
   * Called before `visit` sees the segment's values. `values`: F32, all rows of the call; valid until it
   * returns.
   */
  watch?: (name: string, values: Float32Array) => void;
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
 * Runs the sequences of a dump again and shows each computed value beside the dump's. Nothing is written, and
 * of the dump no more than two blocks are in memory at a time.
 *
 * Continued sequences (chunked prefill, decode) are run call by call, each sequence of a batch by itself.
 * States and caches are inputs of a call: the dump's own where it holds them (and `replace` matches them),
 * else what the calls before have left, made of the values that took the place of computed ones.
 *
 * @throws `BAD_ARGUMENT` for a dump that is not of tier full, holds no value of the model, or lacks
 * positions; `SHAPE_MISMATCH` where a value has another size than the model's;
 * `CANCELLED`; `BAD_DUMP`; `IO`.
 */
export async function replay(runner: Runner, options: ReplayOptions): Promise<ReplayResult> {
  const {
    dump,
    replace = '**',
    holds = () => true,
    watches = () => false,
    watch,
    visit,
    onProgress,
    signal,
  } = options;
  const architecture = architectureOf(runner.config);
  const calls = await dumpCalls(dump);
  const held = new Map(dump.taps.filter(({ name }) => holds(name)).map((tap) => [tap.name, tap]));
  const replaced = new Set<string>();
  const missing = new Set<string>();
  const cancel = () => runner.backend.native.cancel();
  signal?.addEventListener('abort', cancel);
  const unfinished = await lackingValues(dump, calls, held.keys());
  const wants = (name: string) => {
    if (!held.has(name) && !isState(name)) missing.add(name);
    return held.has(name) || watches(name);
  };
  let read: ((name: string) => Promise<TensorBatch>) | undefined;
  // A sliding window's cache has dropped positions that the call still sees.
  const isWhole = (name: string) => {
    const isCache =
      hasRole(architecture.family, 'cache.key', name) || hasRole(architecture.family, 'cache.value', name);
    const block = isCache ? tapPlace(name).block : null;
    if (block === null) return true;
    const { config } = runner;
    return architecture.attention(config, config.layer_types[block]!).window === undefined;
  };
  const tapsWithout = (lacks: ReadonlySet<string>): GraftTaps =>
    replace === null
      ? { wants, replaced, prepare: async () => {} }
      : graftTaps({
          dump,
          replace,
          holds: (name) => holds(name) && isWhole(name) && !lacks.has(name),
          wants,
          read: (name) => read!(name),
        });
  const whole = tapsWithout(new Set());
  const matches = replace === null ? () => false : tapPattern(replace);
  const plans = new ReplayPlans(runner, whole, calls, [...held.keys()].some(isState));
  try {
    for (const [number, call] of calls.entries()) {
      const lacks = call.step === unfinished?.step ? unfinished.lacks : undefined;
      const taps = lacks === undefined ? whole : tapsWithout(lacks);
      const plan = plans.of(call, taps);
      const present = lacks === undefined ? held : new Map([...held].filter(([name]) => !lacks.has(name)));
      if (plans.cache !== undefined) {
        if (call.past === 0) plans.cache.reset();
        else await loadHistory(plans.cache, dump, calls[number - 1]!, (name) => holds(name) && matches(name));
      }
      const rows = new SegmentRows(dump, call, plan, present);
      read = (name) => rows.read(name);
      await plan.run(call.tokens, {
        place: { past: call.past, padding: NO_PADDING },
        async prepare(segment, graph) {
          if (signal?.aborted)
            throw new ZayascopeError('CANCELLED', `replay: cancelled before segment ${segment}`, {
              op: 'replay',
            });
          rows.expect(segment + 1);
          await taps.prepare(segment, graph);
        },
        async sink(segment, values) {
          for (const { name, bytes } of values)
            if (watches(name))
              watch?.(name, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
          for (const value of values) {
            if (!present.has(value.name)) continue;
            const dumped = await rows.read(value.name);
            await visit({ tap: held.get(value.name)!, dumped, shown: asRows(value, dumped, { dump, call }) });
          }
          rows.drop(segment);
          onProgress?.(number * plan.segments.length + segment + 1, calls.length * plan.segments.length);
        },
      });
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
    plans.close();
  }
  for (const name of whole.replaced) replaced.add(name);
  return { replaced, missing: [...missing] };
}

const NO_PADDING: readonly number[] = [];
/**
 * Cached positions that attention reads grow in steps of this size, so that decode steps share compiled
 * graphs.
 */
const SPAN_STEP = 64;
/** Compiled sizes that are kept where sequences are continued. */
const MAX_PLANS = 3;

/**
 * Graphs of calls by their sizes. Where no sequence is continued, calls have no cache and one size is kept.
 */
class ReplayPlans {
  readonly cache: ModelCache | undefined;
  readonly #runner: Runner;
  readonly #usual: GraftTaps;
  readonly #kept = new Map<string, ModelPlan>();

  constructor(runner: Runner, taps: GraftTaps, calls: readonly DumpCall[], hasStates: boolean) {
    this.#runner = runner;
    this.#usual = taps;
    const longest = Math.max(...calls.map(({ past, tokens }) => past + tokens.length));
    if (hasStates || calls.some(({ past }) => past > 0))
      this.cache = runner.cache(Math.ceil(longest / SPAN_STEP) * SPAN_STEP);
  }

  /** @param taps others than the usual ones make a plan that serves this call alone. */
  of({ past, step, tokens: { length: tokens } }: DumpCall, taps: GraftTaps): ModelPlan {
    const span = Math.ceil((past + tokens) / SPAN_STEP) * SPAN_STEP;
    const size = this.cache === undefined ? `${tokens}` : `${tokens} of ${span}`;
    const key = taps === this.#usual ? size : `${size} in step ${step}`;
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    const most = this.cache === undefined ? 1 : MAX_PLANS;
    for (const [other, plan] of this.#kept)
      if (this.#kept.size >= most) {
        plan.close();
        this.#kept.delete(other);
      }
    const cached = this.cache === undefined ? {} : { cached: { cache: this.cache, span } };
    const plan = known ?? this.#runner.plan({ tokens, taps, ...cached });
    this.#kept.set(key, plan);
    return plan;
  }

  close(): void {
    for (const plan of this.#kept.values()) plan.close();
    this.#kept.clear();
    this.cache?.close();
  }
}

/**
 * Reads each value of a call once, though it is both put into a run and compared with one; drops what a
 * segment has done with.
 */
class SegmentRows {
  readonly #dump: DumpView;
  readonly #call: DumpCall;
  readonly #names: readonly (readonly string[])[];
  readonly #values = new Map<string, Promise<TensorBatch>>();

  constructor(dump: DumpView, call: DumpCall, plan: ModelPlan, held: ReadonlyMap<string, TapInfo>) {
    this.#dump = dump;
    this.#call = call;
    this.#names = plan.segments.map(({ graph }) =>
      [...graph.outputs.keys()].filter((name) => held.has(name)),
    );
  }

  read(name: string): Promise<TensorBatch> {
    let value = this.#values.get(name);
    if (value === undefined) {
      const { sequence, step } = this.#call;
      value = this.#dump.read(name, { sequence, step });
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
  { dump, call: { past, tokens } }: { dump: DumpView; call: DumpCall },
): TensorBatch {
  const elements = bytes.byteLength / 4;
  const columns = heldColumns(dump, dumped.tap, shape);
  const data =
    dtype === 'I32'
      ? new Int32Array(bytes.buffer, bytes.byteOffset, elements)
      : new Float32Array(bytes.buffer, bytes.byteOffset, elements);
  const all: TensorBatch = { ...dumped, dtype: dtype === 'I32' ? 'I32' : 'F32', data };
  if (columns === shape.at(-1)) return { ...all, data: narrowed(data, shape, dumped, past + tokens.length) };
  if ((elements / shape.at(-1)!) * columns !== dumped.data.length)
    throw unmet(
      'SHAPE_MISMATCH',
      'replay',
      `the model's [${shape.join(', ')}] in the dump`,
      `[${dumped.shape.join(', ')}]`,
      { where: name, tensor: name, shapes: [shape, dumped.shape] },
    );
  return leadingColumns({ ...all, shape }, columns);
}
