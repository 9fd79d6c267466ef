import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordGguf, replayRecording, ZayascopeError } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { modelMaker } from './models.js';

/** Mutants of a run; `ZAYASCOPE_MUTANTS=2000` makes as many. */
const MUTANTS = Number(process.env.ZAYASCOPE_MUTANTS ?? 60);

type Tensor = Record<string, unknown> & {
  ne: number[];
  nb: number[];
  src: (number | null)[];
  params: string;
};
type Graph = { tensors: Tensor[]; graphs: { step: number; nodes: number[] }[] };

describeWith('a C++ compiler or libllama', hasLibllama, 'damaged recordings', () => {
  let folder: string;
  let model: string;
  let whole: string;
  beforeAll(async () => {
    const { folder: made, make } = await modelMaker();
    folder = made;
    model = make('llama');
    whole = join(folder, 'whole');
    await recordGguf({ model, tokens: [3, 10, 17], generate: 1, threads: 1, out: whole });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it(
    `${MUTANTS} seeded mutants end in a result or in one error of ours`,
    async () => {
      const kept: string[] = [];
      for (let seed = 1; seed <= MUTANTS; seed++) {
        const mutant = join(folder, 'mutant');
        rmSync(mutant, { recursive: true, force: true });
        cpSync(whole, mutant, { recursive: true });
        const what = mutate(mutant, seed);
        try {
          const { nodes } = await replayRecording({ recording: mutant, model, modes: ['same'] });
          kept.push(`${seed} ${what}: ${nodes.filter(({ isSame }) => !isSame).length} other`);
        } catch (error) {
          expect(error, `seed ${seed}: ${what}`).toBeInstanceOf(ZayascopeError);
          const { message } = error as ZayascopeError;
          expect(message, `seed ${seed}: ${what}`).not.toMatch(
            /\bat \S+ \(|TypeError|RangeError|undefined|NaN|no answer/,
          );
        }
      }
      // Not every change shows: a name, a flag, a stride of an axis of size 1.
      expect(kept.length).toBeLessThan(MUTANTS);
    },
    MUTANTS * 5000,
  );
});

/** One change of a recording, and its words. */
function mutate(recording: string, seed: number): string {
  const random = generator(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  if (random() < 0.2) {
    const file = pick(readdirSync(recording));
    const size = Math.floor(random() * statSync(join(recording, file)).size);
    truncateSync(join(recording, file), size);
    return `${file} cut to ${size} bytes`;
  }
  const file = join(recording, 'graph.json');
  const graph = JSON.parse(readFileSync(file, 'utf8')) as Graph;
  const id = Math.floor(random() * graph.tensors.length);
  const tensor = graph.tensors[id]!;
  const odd = [0, 1, 2, 7, 255, 2 ** 20, 2 ** 31, 2 ** 40, 2 ** 52];
  const any = () => Math.floor(random() * graph.tensors.length);
  const put = <T>(list: readonly T[], at: number, value: T): T[] =>
    list.map((old, k) => (k === at ? value : old));
  const [first] = graph.graphs as [Graph['graphs'][0]];
  const changes: [string, () => Partial<Tensor>][] = [
    ['ne', () => ({ ne: put(tensor.ne, pick([0, 1, 2, 3]), pick(odd)) })],
    ['nb', () => ({ nb: put(tensor.nb, pick([0, 1, 2, 3]), pick(odd)) })],
    ['src', () => ({ src: put(tensor.src, 0, any()) })],
    ['a source less', () => ({ src: tensor.src.slice(0, -1) })],
    ['a null source', () => ({ src: put(tensor.src, 0, null) })],
    ['viewSrc', () => ({ viewSrc: any() })],
    ['viewOffs', () => ({ viewOffs: pick(odd) })],
    ['type', () => ({ type: pick(['F16', 'Q4_K', 'I32', 'I64', 'IQ1_S', 'NO']) })],
    [
      'op',
      () => ({ op: pick(['MUL_MAT', 'ADD', 'SOFT_MAX', 'ROPE', 'SET_ROWS', 'GET_ROWS', 'CUSTOM', 'NO']) }),
    ],
    ['params', () => ({ params: pick(['ff'.repeat(64), '00', 'ffffff7f', '']) })],
    ['axes', () => ({ axes: pick([[0], [3, 2, 1, 0], [0, 1, 2, 3], []]) })],
    ['tap', () => ({ tap: pick(graph.tensors.map(({ tap }) => tap)) })],
    ['weight', () => ({ weight: pick(['blk.0.attn_q.weight', 'none']) })],
    ['state', () => ({ state: 'zero' })],
  ];
  const [name, change] = pick<[string, () => object]>([
    ...changes,
    ['order', () => Object.assign(first, { nodes: first.nodes.slice().reverse() })],
    ['step', () => Object.assign(first, { step: 99 })],
  ]);
  const changed = change();
  if (changed !== first) Object.assign(tensor, changed);
  writeFileSync(file, JSON.stringify(graph));
  return `${name} of tensor ${id} (${tensor.op} ${tensor.name})`;
}

function generator(seed: number): () => number {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}
