/**
 * Measures what rounding does to a prompt: runs of one model that round stochastically, against the same
 * model in F32, with routing free and with each token sent where the reference sent it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { capture } from '../../../capture/capture.js';
import type { DumpView } from '../../../dump/dump-view.js';
import { checkDumpFolder } from '../../../dump/folder.js';
import type { Manifest } from '../../../dump/format.js';
import type { DumpNoise, NoiseFlip } from '../../../dump/noise/noise-file.js';
import { Dump } from '../../../dump/reader.js';
import { badArgument, ZayascopeError } from '../../../errors.js';
import { hasRole } from '../../../families/roles.js';
import { loadPolicy, type Policy, resolvePolicy, stochasticPolicy } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { openModelSource } from '../../../models/layout/source.js';
import { type Model, type OpenModelOptions, openModel } from '../../../models/runtime/model.js';
import { modelSites } from '../../../models/runtime/sites.js';
import { type ModelTap, modelTaps } from '../../../models/runtime/trace.js';
import { graftTaps } from '../../replay/graft.js';
import { bandEdge, bandOf } from './band.js';
import { ReferenceRows } from './reference-rows.js';
import { flippedTokens, smoothRatio, TokenErrors } from './run-errors.js';

/** Options of {@link measureNoise}. */
export interface MeasureNoiseOptions extends Omit<OpenModelOptions, 'policy'> {
  /** Folder of the floor; made if absent. */
  out: string;
  /** What rounds: a preset's name, a `.json` file or a policy. Default `pytorch-bf16`. */
  policy?: string | Policy;
  /** Runs of each kind, 2 or more; default 16. */
  runs?: number;
  /** Seed of the first run; the others follow. Default 1. */
  seed?: number;
  /** A run in F32 of the same tokens; default: one of this model is made and thrown away. */
  reference?: DumpView;
  /** Replace a dump in that folder. Default false. */
  overwrite?: boolean;
  /** Called with what is being done, after each segment of a run. */
  onProgress?: (done: number, total: number) => void;
  /** Stops with `CANCELLED`. */
  signal?: AbortSignal;
}

/** What {@link measureNoise} gives. */
export interface MeasuredNoise {
  manifest: Manifest;
  noise: DumpNoise;
  /** Wall time of the runs, of the reference and in all, in ms. */
  elapsedMs: { runs: number; reference: number; all: number };
}

type Kind = 'pinned' | 'free';

/**
 * Writes a noise floor: a dump of one stochastic run, with the errors of all (`docs/noise.md`).
 *
 * Weights are loaded once for the reference and once for all runs, each kind of run is compiled once a
 * prompt, and the reference's values are kept in memory as far as 1 GiB goes.
 *
 * @param sequences token ids of one prompt or several; their errors are pooled.
 * @throws `BAD_ARGUMENT` for a policy that rounds nothing, fewer than 2 runs, a reference of other tokens;
 * `UNPAIRED` for one without a value of the model; as `openModel` and `capture`; `CANCELLED`.
 */
export async function measureNoise(
  path: string,
  sequences: readonly (readonly number[])[],
  options: MeasureNoiseOptions,
): Promise<MeasuredNoise> {
  const { out, runs = 16, seed = 1, reference, overwrite, onProgress, signal, ...rest } = options;
  const { policy: given = 'pytorch-bf16', ...open } = rest;
  if (!Number.isInteger(runs) || runs < 2) throw badArgument('noiseFloor', 'at least 2 runs', runs);
  await checkDumpFolder(out, overwrite === true);
  const started = performance.now();
  const source = await openModelSource(path);
  const policy = typeof given === 'object' ? given : await loadPolicy(given);
  const seeds = Array.from({ length: runs }, (_, run) => seed + run);
  const rounding = stochasticPolicy(policy, seeds[0]!);
  const temporary = reference === undefined ? await mkdtemp(join(tmpdir(), 'zayascope-noise-')) : undefined;
  try {
    await using own =
      temporary === undefined
        ? undefined
        : await runReference(path, sequences, join(temporary, 'f32'), open, signal);
    const referenceMs = performance.now() - started;
    using model = await openModel(source, { ...open, policy: rounding });
    requireRounding(model);
    const noise = await runAll(model, sequences, reference ?? own!, {
      seeds,
      policy: policy.name,
      label: reference === undefined ? 'f32' : basename(resolve(reference.dir)),
      onProgress,
      signal,
    });
    const runsMs = performance.now() - started - referenceMs;
    const { manifest } = await capture(model, sequences, { out, overwrite, signal, noise });
    return {
      manifest,
      noise,
      elapsedMs: { runs: runsMs, reference: referenceMs, all: performance.now() - started },
    };
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

async function runReference(
  path: string,
  sequences: readonly (readonly number[])[],
  out: string,
  open: Omit<OpenModelOptions, 'policy'>,
  signal: AbortSignal | undefined,
): Promise<Dump> {
  using model = await openModel(path, { ...open, policy: 'f32' });
  await capture(model, sequences, { out, signal });
  return await Dump.open(out);
}

/** A policy that rounds nothing gives a floor of zeros, beyond which everything is. */
function requireRounding({ policy, config }: Model): void {
  const setting = resolvePolicy(policy);
  const rounds = modelSites(config).some(
    ({ name, kind, values }) => kind !== 'skip' && kind !== 'form' && setting(name) !== values[0],
  );
  if (!rounds) throw badArgument('noiseFloor', 'a policy that rounds something', policy.name);
}

interface RunAllOptions {
  seeds: readonly number[];
  policy: string;
  label: string;
  onProgress: MeasureNoiseOptions['onProgress'];
  signal: AbortSignal | undefined;
}

async function runAll(
  model: Model,
  sequences: readonly (readonly number[])[],
  reference: DumpView,
  { seeds, policy, label, onProgress, signal }: RunAllOptions,
): Promise<DumpNoise> {
  const { config } = model;
  const { family } = architectureOf(config);
  const held = new Set(reference.taps.filter(({ dtype }) => dtype === 'F32').map(({ name }) => name));
  const every = modelTaps(config);
  const taps = every.filter(
    ({ name, dtype, scope }) => dtype === 'F32' && scope === 'token' && held.has(name),
  );
  if (taps.length === 0)
    throw new ZayascopeError(
      'UNPAIRED',
      `noiseFloor: expected a reference with values of the model, got none (${reference.dir})`,
      { op: 'noiseFloor' },
    );
  requireTokens(reference, sequences);
  const routers = every.filter(({ name }) => hasRole(family, 'router.expert', name));
  const kinds: readonly Kind[] = routers.length === 0 ? ['free'] : ['pinned', 'free'];
  const starts = sequences.map((_, index) =>
    sequences.slice(0, index).reduce((sum, { length }) => sum + length, 0),
  );
  const count = sequences.reduce((sum, { length }) => sum + length, 0);
  const runs = new Map(kinds.map((kind) => [kind, seeds.map(() => new RunErrors(taps, count))]));
  const segments = config.num_hidden_layers + 2;
  const total = kinds.length * seeds.length * sequences.length * segments;
  let done = 0;
  const cancel = () => model.backend.native.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    for (const [sequence, tokens] of sequences.entries()) {
      const rows = new ReferenceRows(reference, sequence);
      for (const kind of kinds) {
        const wants = (name: string) =>
          runs.get(kind)![0]!.has(name) || routers.some((each) => each.name === name);
        const graft = graftTaps({
          dump: reference,
          replace: routers.map(({ name }) => name).join(','),
          holds: () => kind === 'pinned',
          sequence,
          wants,
        });
        using plan = model.plan({ tokens: tokens.length, taps: graft });
        for (const [run, seed] of seeds.entries()) {
          const errors = runs.get(kind)![run]!;
          await plan.run(tokens, {
            seed,
            prepare: (segment, graph) => graft.prepare(segment, graph),
            async sink(_, values) {
              if (signal?.aborted)
                throw new ZayascopeError(
                  'CANCELLED',
                  `noiseFloor: cancelled in run ${run} of ${seeds.length}`,
                  {
                    op: 'noiseFloor',
                  },
                );
              for (const { name, dtype, bytes } of values) {
                const mine = await rows.read(name);
                if (dtype === 'I32')
                  errors.addChoices(
                    name,
                    mine as Int32Array,
                    asInts(bytes),
                    tokens.length,
                    starts[sequence]!,
                  );
                else
                  errors.add(name, mine as Float32Array, asFloats(bytes), tokens.length, starts[sequence]!);
              }
              onProgress?.(++done, total);
            },
          });
        }
      }
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
  return {
    version: 1,
    policy,
    reference: label,
    seeds,
    band: bandEdge(seeds.length),
    tokens: sequences.flatMap((tokens, sequence) => tokens.map((_, position) => ({ sequence, position }))),
    ...summarise(every, taps, routers, runs, starts, count, reference),
  };
}

/** The errors of one run. */
class RunErrors {
  readonly #taps: ReadonlyMap<string, TokenErrors>;
  /** By tap of the choice, tokens that took another expert. */
  readonly flips = new Map<string, Set<number>>();

  constructor(taps: readonly ModelTap[], tokens: number) {
    this.#taps = new Map(taps.map(({ name }) => [name, new TokenErrors(tokens)]));
  }

  has(name: string): boolean {
    return this.#taps.has(name);
  }

  of(name: string): TokenErrors {
    return this.#taps.get(name)!;
  }

  add(name: string, reference: Float32Array, values: Float32Array, rows: number, first: number): void {
    this.#taps.get(name)?.add(reference, values, rows, first);
  }

  addChoices(name: string, reference: Int32Array, chosen: Int32Array, rows: number, first: number): void {
    const flipped = this.flips.get(name) ?? new Set<number>();
    for (const row of flippedTokens(reference, chosen, rows)) flipped.add(first + row);
    this.flips.set(name, flipped);
  }
}

function asInts(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

function asFloats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Refuses a reference that ran other tokens, or fewer sequences. */
function requireTokens(reference: DumpView, sequences: readonly (readonly number[])[]): void {
  const theirs = reference.manifest.sequences.map(({ tokens = [] }) => tokens.join());
  const at = sequences.findIndex((tokens, index) => tokens.join() !== theirs[index]);
  if (at >= 0)
    throw badArgument(
      'noiseFloor',
      'a reference of the same tokens',
      `others in sequence ${at}`,
      reference.dir,
    );
}

function summarise(
  every: readonly ModelTap[],
  taps: readonly ModelTap[],
  routers: readonly ModelTap[],
  runs: ReadonlyMap<Kind, readonly RunErrors[]>,
  starts: readonly number[],
  count: number,
  reference: DumpView,
): Pick<DumpNoise, 'taps' | 'routing'> {
  const order = new Map(every.map(({ name }, place) => [name, place]));
  const free = runs.get('free')!;
  const pinned = runs.get('pinned') ?? free;
  const gone = free.map((run) => firstFlips(run, order, count));
  const all = (list: readonly RunErrors[], name: string) =>
    list.map((run) => finite(run.of(name).nmse(), name));
  const byToken = (list: readonly RunErrors[], name: string) => {
    const bands = Array.from({ length: count }, (_, token) =>
      bandOf(list.map((run) => finite(run.of(name).tokenNmse(token), name))),
    );
    return {
      low: bands.map(({ low }) => low),
      median: bands.map(({ median }) => median),
      high: bands.map(({ high }) => high),
    };
  };
  return {
    taps: taps.map(({ name, block }) => {
      const tokens = { pinned: byToken(pinned, name), free: byToken(free, name) };
      const isKept = (run: number) => (token: number) => gone[run]![token]! > order.get(name)!;
      return {
        tap: name,
        block,
        width: widthOf(reference, name),
        pinned: all(pinned, name),
        free: all(free, name),
        smooth: free.map((run, at) => smoothRatio(run.of(name), tokens.pinned.median, isKept(at))),
        tokens,
      };
    }),
    routing: routers.length === 0 ? null : routing(routers, { pinned, free }, starts, count),
  };
}

/** Elements of a token's value; an axis whose size varies counts as one. */
function widthOf(reference: DumpView, name: string): number {
  return reference.tap(name).shape.reduce<number>((all, size) => all * (size ?? 1), 1);
}

/** By token, the place of the first choice that differs from the reference's; Infinity without one. */
function firstFlips(run: RunErrors, order: ReadonlyMap<string, number>, count: number): Float64Array {
  const first = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  for (const [name, tokens] of run.flips)
    for (const token of tokens) first[token] = Math.min(first[token]!, order.get(name)!);
  return first;
}

/** The error of a token whose reference is all zeros: JSON has no infinity. */
const OF_NOTHING = 1e30;

function finite(error: number, name: string): number {
  if (!Number.isNaN(error)) return Math.min(error, OF_NOTHING);
  throw badArgument('noiseFloor', 'runs whose values are finite', 'NaN or infinity', name);
}

function routing(
  routers: readonly ModelTap[],
  runs: Readonly<Record<Kind, readonly RunErrors[]>>,
  starts: readonly number[],
  count: number,
): DumpNoise['routing'] {
  const of = (kind: Kind, name: string) => runs[kind].map((run) => run.flips.get(name) ?? new Set<number>());
  const flips = routers.flatMap(({ name, block }) => {
    const [pinned, free] = [of('pinned', name), of('free', name)];
    const tokens = new Set([...pinned, ...free].flatMap((run) => [...run]));
    const times = (list: readonly ReadonlySet<number>[], token: number) =>
      list.filter((run) => run.has(token)).length;
    return [...tokens]
      .sort((a, b) => a - b)
      .map((token): NoiseFlip => {
        const sequence = starts.findLastIndex((start) => start <= token);
        return {
          block: block!,
          sequence,
          position: token - starts[sequence]!,
          pinned: times(pinned, token),
          free: times(free, token),
        };
      });
  });
  const blocks = routers.map(({ name, block }) => ({
    block: block!,
    choices: count,
    pinned: of('pinned', name).map((run) => run.size),
    free: of('free', name).map((run) => run.size),
  }));
  return { blocks, flips };
}
