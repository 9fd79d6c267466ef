import { badArgument, unmet } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import type { Policy } from '../../graph/policy.js';
import { readResident, writeResident } from '../../graph/resident.js';
import {
  allocateCache,
  type ModelCache,
  resetStates,
  restoreStates,
  type StateSnapshot,
  snapshotStates,
} from './cache.js';
import type { ModelWeights } from './loader.js';
import { settingOf } from './model-policy.js';
import { type ModelPlan, planModel, type SegmentSink, type SegmentWatch } from './plan.js';
import type { Taps } from './tap.js';

/** Options of a session. */
export interface SessionOptions {
  /** Sequences that advance together; default 1. */
  batch?: number;
  /**
   * Positions that the KV cache holds; default 2048, at most what the model allows
   * (`max_position_embeddings`).
   */
  capacity?: number;
}

/** Options of one forward call. */
export interface ForwardOptions {
  /**
   * Rows of logits: those of the `last` token of each sequence (default) or of `all`. A tapped `lm_head`
   * needs `all`.
   */
  logits?: 'last' | 'all';
  /**
   * Values to make readable in this call. Pass the same object each time: graphs are compiled anew for
   * another one.
   */
  taps?: Taps;
  /** Takes them, segment by segment. */
  sink?: SegmentSink;
  /** Watches each segment, with the values of all of its nodes. */
  watch?: SegmentWatch | undefined;
}

/**
 * Cached positions that attention reads grow in steps of this size, so that decode steps share compiled
 * graphs.
 */
const SPAN_STEP = 64;
/** Compiled sizes that are kept. */
const MAX_PLANS = 4;
/**
 * States that are kept to go back to, besides the start. 420 kB each in a model of 8 billion parameters with
 * convolutions.
 */
const MAX_SNAPSHOTS = 16;

interface KeptPlan {
  plan: ModelPlan;
  tokens: number;
  span: number;
  logits: 'last' | 'all';
  taps: Taps | undefined;
  padded: boolean;
  nodes: boolean;
}

/**
 * A batch of sequences with their KV caches, convolution states and delayed values. Any split of the tokens
 * over calls gives the same numbers up to the order of additions. A call that fails or is cancelled leaves
 * the session as it was before.
 */
export class ModelSession implements Disposable {
  readonly #weights: ModelWeights;
  readonly #backend: Backend;
  readonly #policy: Policy;
  readonly #cache: ModelCache;
  readonly #plans: KeptPlan[] = [];
  readonly #snapshots = new Map<number, StateSnapshot>();
  /** All token ids so far by sequence, padding included. */
  #slots: number[][];
  #padding: readonly number[];
  #busy = false;
  #closed = false;

  constructor(weights: ModelWeights, backend: Backend, policy: Policy, options: SessionOptions = {}) {
    const { max_position_embeddings: most } = weights.config;
    const { batch = 1, capacity = Math.min(2048, most) } = options;
    if (capacity > most)
      throw badArgument('session', `at most ${most} positions (max_position_embeddings)`, capacity);
    this.#weights = weights;
    this.#backend = backend;
    this.#policy = policy;
    this.#cache = allocateCache(weights, backend, settingOf(policy, weights.config), batch, capacity);
    this.#slots = Array.from({ length: batch }, () => []);
    this.#padding = new Array<number>(batch).fill(0);
  }

  get batch(): number {
    return this.#cache.batch;
  }

  get capacity(): number {
    return this.#cache.capacity;
  }

  /** Slots in use, padding included; without padding, the position of the next token. */
  get position(): number {
    return this.#slots[0]!.length;
  }

  /** Slots at the start of each sequence that are padding. */
  get padding(): readonly number[] {
    return this.#padding;
  }

  /** Token ids so far by sequence, padding left out. */
  get tokens(): number[][] {
    return this.#slots.map((slots, sequence) => slots.slice(this.#padding[sequence]));
  }

  /** Bytes of device memory of caches and states. */
  get sizeBytes(): number {
    return this.#cache.sizeBytes;
  }

  /**
   * Appends tokens to the only sequence. Gives logits F32 [V], or [T, V] with `logits: 'all'`. Throws as
   * {@link forwardBatch}.
   */
  forward(tokens: readonly number[], options: ForwardOptions = {}): Promise<Float32Array> {
    return this.forwardBatch([tokens], options);
  }

  /** {@link forward} with the logits of all tokens, F32 [T, V]. */
  forwardAll(tokens: readonly number[]): Promise<Float32Array> {
    return this.forward(tokens, { logits: 'all' });
  }

  /**
   * Appends tokens to each sequence. In the first call sequences may differ in length: shorter ones are
   * padded on the left, as transformers does with an attention mask. Later calls need as many tokens for
   * each. Gives logits F32 [B, V], or [B · T, V] with `logits: 'all'` (rows of padding included).
   *
   * @throws `BAD_ARGUMENT` for ids outside the vocabulary, unequal lengths after the first call, a call
   * during another, or more tokens than the cache holds; `CANCELLED`; `CLOSED`.
   */
  async forwardBatch(
    sequences: readonly (readonly number[])[],
    options: ForwardOptions = {},
  ): Promise<Float32Array> {
    this.#check(sequences);
    const tokens = Math.max(...sequences.map(({ length }) => length));
    const pad = this.#weights.config.pad_token_id ?? 0;
    const padding = this.position === 0 ? sequences.map(({ length }) => tokens - length) : this.#padding;
    const slots =
      this.position === 0
        ? sequences.map((ids, index) => [...new Array<number>(padding[index]!).fill(pad), ...ids])
        : sequences.map((ids) => [...ids]);
    return await this.#exclusive(() => this.#append(slots, padding, options));
  }

  /**
   * Goes back to an earlier position; 0 empties the session. Keys and values stay; convolution and
   * delayed-value states come from the nearest kept snapshot (one is kept before each call), and tokens
   * between it and `position` are computed again.
   */
  async truncate(position: number): Promise<void> {
    if (!Number.isInteger(position) || position < 0 || position > this.position)
      throw badArgument('truncate', `a position from 0 to ${this.position}`, position);
    await this.#exclusive(async () => {
      if (position === this.position) return;
      const kept = Math.max(0, ...[...this.#snapshots.keys()].filter((at) => at <= position));
      const snapshot = this.#snapshots.get(kept);
      if (kept === 0 || snapshot === undefined) resetStates(this.#cache.states, this.#weights);
      else restoreStates(this.#cache.states, snapshot);
      for (const at of [...this.#snapshots.keys()]) if (at > kept) this.#snapshots.delete(at);
      const again = this.#slots.map((slots) => slots.slice(kept, position));
      this.#slots = this.#slots.map((slots) => slots.slice(0, kept));
      if (position > kept) await this.#append(again, this.#padding, {});
      if (position === 0) this.#padding = this.#padding.map(() => 0);
    });
  }

  /** A session of its own that goes on from the same point. */
  fork(): ModelSession {
    this.#checkIdle('fork');
    const copy = new ModelSession(this.#weights, this.#backend, this.#policy, {
      batch: this.batch,
      capacity: this.capacity,
    });
    for (const [layer, { k_cache, v_cache }] of this.#cache.layers.entries()) {
      writeResident(copy.#cache.layers[layer]!.k_cache, readResident(k_cache));
      writeResident(copy.#cache.layers[layer]!.v_cache, readResident(v_cache));
    }
    restoreStates(copy.#cache.states, snapshotStates(this.#cache.states));
    for (const [at, snapshot] of this.#snapshots) copy.#snapshots.set(at, snapshot);
    copy.#slots = this.#slots.map((slots) => [...slots]);
    copy.#padding = this.#padding;
    return copy;
  }

  close(): void {
    this.#closed = true;
    for (const { plan } of this.#plans.splice(0)) plan.close();
    this.#cache.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #append(
    slots: readonly number[][],
    padding: readonly number[],
    { logits = 'last', taps, sink, watch }: ForwardOptions,
  ): Promise<Float32Array> {
    const past = this.position;
    const tokens = slots[0]!.length;
    const span = Math.min(this.capacity, Math.ceil((past + tokens) / SPAN_STEP) * SPAN_STEP);
    const plan = this.#plan(
      tokens,
      span,
      logits,
      taps,
      padding.some((count) => count > 0),
      watch !== undefined,
    );
    const before = snapshotStates(this.#cache.states);
    try {
      const result = await plan.run(slots.flat(), {
        sink,
        watch,
        place: { past, padding },
      });
      this.#keep(past, before);
      this.#slots = this.#slots.map((old, sequence) => [...old, ...slots[sequence]!]);
      this.#padding = padding;
      return result;
    } catch (error) {
      if (!this.#closed) restoreStates(this.#cache.states, before);
      throw error;
    }
  }

  #plan(
    tokens: number,
    span: number,
    logits: 'last' | 'all',
    taps: Taps | undefined,
    padded: boolean,
    nodes: boolean,
  ): ModelPlan {
    const at = this.#plans.findIndex(
      (kept) =>
        kept.tokens === tokens &&
        kept.span === span &&
        kept.logits === logits &&
        kept.taps === taps &&
        kept.padded === padded &&
        kept.nodes === nodes,
    );
    if (at >= 0) {
      const [kept] = this.#plans.splice(at, 1);
      this.#plans.push(kept!);
      return kept!.plan;
    }
    while (this.#plans.length >= MAX_PLANS) this.#plans.shift()!.plan.close();
    const plan = planModel(this.#weights, this.#backend, this.#policy, {
      tokens,
      batch: this.batch,
      logits,
      padded,
      cached: { cache: this.#cache, span },
      taps,
      nodes,
    });
    this.#plans.push({ plan, tokens, span, logits, taps, padded, nodes });
    return plan;
  }

  #keep(position: number, snapshot: StateSnapshot): void {
    if (position === 0) return;
    this.#snapshots.set(position, snapshot);
    if (this.#snapshots.size > MAX_SNAPSHOTS) this.#snapshots.delete(this.#snapshots.keys().next().value!);
  }

  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.#checkIdle('forward');
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }

  #checkIdle(op: string): void {
    if (this.#closed) throw unmet('CLOSED', op, 'an open session', 'a closed one');
    if (this.#busy) throw badArgument(op, 'one call at a time', 'another before the last had ended');
  }

  #check(sequences: readonly (readonly number[])[]): void {
    const lengths = sequences.map(({ length }) => length);
    const fail = (expected: string) => {
      throw badArgument('forward', expected, `${lengths.join(', ') || 'none'} tokens`);
    };
    if (sequences.length !== this.batch) fail(`tokens for ${this.batch} sequences`);
    if (lengths.includes(0)) fail('at least one token for each sequence');
    if (this.position > 0 && new Set(lengths).size > 1)
      fail('as many tokens for each sequence after the first call');
    if (this.position + Math.max(...lengths) > this.capacity)
      fail(`at most ${this.capacity - this.position} more positions in a cache of ${this.capacity}`);
  }
}
