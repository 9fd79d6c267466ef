/** The planted suite: faults and right programs in every kind of dump, on several checkpoints. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KeptRuns } from '../../src/locate/faults/kept-runs.js';
import { root } from '../reference/python.js';
import { grouped } from './grouped.js';
import { judgeDump, type Outcome, type Planted } from './judge.js';
import { KeptDump } from './kept-dump.js';
import { type DumpKind, hash, KINDS, KNOWN_KINDS, RIGHT_KINDS } from './kinds.js';
import type { Plantable, Planting, PlantServer } from './plant-server.js';

/** A checkpoint that right programs run. */
interface Checkpoint {
  name: string;
  /** Options of `random_checkpoint.py`; null: the tiny model. */
  args: readonly string[] | null;
}

/** Odd sizes, deep, in F16, with sliding windows and wider convolutions. */
export const CHECKPOINTS: readonly Checkpoint[] = [
  { name: 'tiny', args: null },
  {
    name: 'odd sizes',
    args: [
      ...['--seed', '11', '--hidden', '75', '--heads', '6', '--kv-heads', '2', '--head-dim', '12'],
      ...['--experts', '7', '--intermediate', '37', '--router-hidden', '19', '--vocab', '131'],
    ],
  },
  {
    name: '24 blocks',
    args: [
      ...['--seed', '12', '--layers', '24', '--hidden', '40', '--heads', '4', '--kv-heads', '2'],
      ...['--head-dim', '8', '--intermediate', '24', '--router-hidden', '16', '--vocab', '131'],
    ],
  },
  { name: 'F16', args: ['--seed', '13', '--dtype', 'f16'] },
  {
    name: 'sliding windows',
    args: [
      ...['--seed', '14', '--sliding-layers', '1', '--sliding-window', '20', '--cca-time0', '3'],
      ...['--untied', '--lm-head-bias', '--layers', '4'],
    ],
  },
];

/** One case: a dump that is planted, and the kinds in which it is judged. */
export interface SuiteCase {
  kind: DumpKind;
  checkpoint: string;
  fault?: string;
  program?: string;
  planted: Planted | null;
}

/** Of kinds that hold the same values as another every second fault is enough. */
const HALVED = new Set([
  'whole, F32, noise run',
  'whole, BF16, no noise run',
  'whole, F16, no noise run',
  'unknown program, BF16 in F32',
  'unknown program, F16 in F32',
  'weights as BF16',
]);

/** Every case. */
export function allCases({ faults, steps, programs }: Plantable): SuiteCase[] {
  const cases: SuiteCase[] = [];
  for (const kind of KINDS) {
    const { steps: calls, batch = false } = kind.plants;
    if (calls === undefined)
      for (const { name, tap, also } of faults.filter((_, at) => !HALVED.has(kind.name) || at % 2 === 0))
        cases.push({ kind, checkpoint: 'tiny', fault: name, planted: { tap, also } });
    else
      for (const { name, tap, padded, ...begins } of steps)
        if (batch || !padded) cases.push({ kind, checkpoint: 'tiny', fault: name, planted: { tap, begins } });
    // blocks of 32 do not fit odd sizes
    for (const { name } of kind.plants.gguf === 'q8_0' ? CHECKPOINTS.slice(0, 1) : CHECKPOINTS)
      cases.push({ kind, checkpoint: name, planted: null });
  }
  for (const [at, { name: program, dtype }] of programs.entries())
    for (const [index, { name: checkpoint }] of CHECKPOINTS.entries()) {
      const kinds = RIGHT_KINDS.filter(
        ({ plants }) => (plants.dtype === 'float32') === (dtype === 'float32'),
      );
      cases.push({ kind: kinds[(at + index) % kinds.length]!, checkpoint, program, planted: null });
      if (program.startsWith('half-sums-'))
        for (const kind of KNOWN_KINDS) cases.push({ kind, checkpoint, program, planted: null });
    }
  return cases;
}

/**
 * A seeded sample, the same share of every kind and of what must not be accused, at least three of each.
 * Kinds that share dumps share faults, too.
 */
export function sample(cases: readonly SuiteCase[], count: number): SuiteCase[] {
  const groups = grouped(cases, ({ kind, planted }) => `${kind.name} ${planted !== null}`);
  const rank = (each: SuiteCase) => hash(variantOf(each));
  return [...groups.values()].flatMap((group) => {
    const size = Math.max(3, Math.round((count * group.length) / cases.length));
    return group.toSorted((a, b) => rank(a) - rank(b)).slice(0, size);
  });
}

const keyOf = ({ kind: { plants }, checkpoint }: SuiteCase) => JSON.stringify([checkpoint, plants]);
const variantOf = (each: SuiteCase) => `${keyOf(each)} ${each.fault} ${each.program}`;

/** Runs cases: each variant is dumped once for all its kinds, the next while one is judged, and deleted. */
export async function runSuite(
  server: PlantServer,
  cases: readonly SuiteCase[],
  onOutcome: (outcome: Outcome) => void = () => {},
): Promise<Outcome[]> {
  const rights = new RightDumps(server);
  const outcomes: Outcome[] = [];
  try {
    const variants = [...grouped(cases, variantOf).values()].sort((a, b) =>
      keyOf(b[0]!).localeCompare(keyOf(a[0]!)),
    );
    const plant = async (of: readonly SuiteCase[] | undefined) => {
      if (of === undefined) return undefined;
      const [{ kind, checkpoint, fault, program }] = of as [SuiteCase];
      const planting = await rights.planting(checkpoint, kind.plants);
      return await server.plant({
        ...planting,
        ...(fault === undefined ? {} : { fault }),
        ...(program === undefined ? {} : { program }),
      });
    };
    let next = plant(variants[0]);
    for (const [index, variant] of variants.entries()) {
      const folder = (await next)!;
      next = plant(variants[index + 1]);
      next.catch(() => {}); // awaited in the next round
      const dump = await KeptDump.open(folder);
      for (const { kind, checkpoint, fault, program, planted } of variant) {
        const name = fault ?? program ?? 'unaltered';
        const given = await rights.of(checkpoint, kind.plants);
        const outcome = await judgeDump(kind, name, dump, given, planted).catch(
          (error: Error): Outcome => ({
            ...{ kind: kind.name, name, changed: 0, named: null, isRight: false, elapsedMs: 0, lines: 0 },
            says: error.stack ?? error.message,
          }),
        );
        outcomes.push({ ...outcome, checkpoint, isFault: planted !== null });
        onOutcome(outcomes.at(-1)!);
      }
      await dump.close();
      server.discard(folder);
    }
  } finally {
    await rights.close();
  }
  return outcomes;
}

/** Dumps of unaltered models, made when they are first asked for. */
class RightDumps {
  readonly #server: PlantServer;
  readonly #models = new Map<
    string,
    Promise<{ model: string; tokens: string; batch: string; one: string }>
  >();
  readonly #dumps = new Map<string, Promise<KeptDump>>();
  readonly #kept = new KeptRuns();

  constructor(server: PlantServer) {
    this.#server = server;
  }

  async planting(checkpoint: string, { batch, ...plants }: DumpKind['plants']): Promise<Planting> {
    const { model, tokens, batch: several, one } = await this.#model(checkpoint);
    return { ...plants, model, tokens: batch ? several : plants.steps === undefined ? tokens : one };
  }

  async of(checkpoint: string, plants: DumpKind['plants']) {
    const calls = { steps: plants.steps, batch: plants.batch };
    const of = (dtype: Planting['dtype'], gguf?: string) =>
      this.#dump(checkpoint, JSON.parse(JSON.stringify({ dtype, ...calls, gguf })) as DumpKind['plants']);
    return {
      reference: await of('float32'),
      unaltered: await of(plants.dtype, plants.gguf),
      noise: await of(plants.dtype === 'float32' ? 'bfloat16' : plants.dtype),
      model: (await this.#model(checkpoint)).model,
      kept: this.#kept,
    };
  }

  #dump(checkpoint: string, plants: DumpKind['plants']): Promise<KeptDump> {
    const key = JSON.stringify([checkpoint, plants]);
    const known =
      this.#dumps.get(key) ??
      this.planting(checkpoint, plants).then(async (planting) =>
        KeptDump.open(await this.#server.plant(planting)),
      );
    this.#dumps.set(key, known);
    return known;
  }

  #model(name: string) {
    const known = this.#models.get(name) ?? this.#make(name);
    this.#models.set(name, known);
    return known;
  }

  async #make(name: string) {
    const { args } = CHECKPOINTS.find((each) => each.name === name)!;
    const model =
      args === null
        ? join(root, 'dumps', 'tiny', 'model')
        : await this.#server.checkpoint(name.replaceAll(' ', '-'), args);
    const prompt = JSON.parse(readFileSync(join(root, 'dumps', 'tiny', 'prompt.json'), 'utf8')) as {
      tokens: number[];
    };
    const ids =
      args === null ? prompt.tokens : prompt.tokens.map((_, at) => 3 + (hash(`${name} ${at}`) % 120));
    const file = (of: string, content: object) => {
      const path = join(this.#server.folder, `${name.replaceAll(' ', '-')}-${of}.json`);
      writeFileSync(path, JSON.stringify(content));
      return path;
    };
    const sequences = [ids.slice(0, 27), ids.slice(10, 30), ids.slice(20, 34)];
    return {
      model,
      tokens: file('tokens', { tokens: ids }),
      batch: file('batch', { sequences }),
      one: file('one', { sequences: sequences.slice(0, 1) }),
    };
  }

  async close(): Promise<void> {
    this.#kept.close();
    for (const dump of await Promise.allSettled(this.#dumps.values()))
      if (dump.status === 'fulfilled') await dump.value.close();
  }
}
