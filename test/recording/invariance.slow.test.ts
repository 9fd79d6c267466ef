import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { DumpGraph } from '../../src/dump/graph-file.js';
import { checkInvariance, recordGguf } from '../../src/index.js';
import { formatInvariance } from '../../src/recording/invariance/format.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { npy } from './faults.js';
import { modelMaker } from './models.js';

const TOKENS = [3, 10, 17, 24, 31, 38, 45, 52];
const CHUNK = 4;

describeWith('a C++ compiler or libllama', hasLibllama, 'invariance', () => {
  let folder: string;
  let make: Awaited<ReturnType<typeof modelMaker>>['make'];
  beforeAll(async () => {
    ({ folder, make } = await modelMaker());
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** The first node of the second chunk that reads a state that the first chunk wrote. */
  const stateReader = (graph: DumpGraph): DumpGraph['tensors'][0] => {
    const { tensors } = graph;
    const isState = (id: number | null): boolean => {
      if (id === null) return false;
      const { viewSrc, state } = tensors[id]!;
      return (viewSrc == null ? state : tensors[viewSrc]!.state) !== undefined;
    };
    const node = graph.graphs[1]!.nodes.map((id) => tensors[id]!).find(
      ({ op, src, tap }) => tap !== undefined && op === 'GET_ROWS' && isState(src[0] ?? null),
    );
    return node ?? graph.graphs[1]!.nodes.map((id) => tensors[id]!).find(({ op }) => op === 'SET_ROWS')!;
  };

  it.each(['llama', 'mamba2', 'qwen3next', 'lfm2', 'jamba', 'kimi-linear'])(
    '%s: the same within rounding in every way, and a state that is not carried is found',
    async (architecture) => {
      const model = make(architecture);
      const right = await checkInvariance({ model, tokens: TOKENS, threads: 1 });
      expect(right.found, formatInvariance(right)).toBe(false);
      expect(right.schedules).toHaveLength(6);

      const chunked = join(folder, 'chunked');
      await recordGguf({ model, tokens: TOKENS, chunk: CHUNK, threads: 1, out: chunked, overwrite: true });
      const graph = JSON.parse(readFileSync(join(chunked, 'graph.json'), 'utf8')) as DumpGraph;
      const planted = stateReader(graph);
      const half = planted.type === 'F16';
      const sizes = (planted.op === 'SET_ROWS' ? graph.tensors[planted.src[0]!]! : planted).ne;
      const count = sizes.reduce((product, size) => product * size, 1);
      const shape = [...sizes].reverse();
      const file = join(folder, 'zeros.npy');
      writeFileSync(file, npy(half ? new Uint16Array(count) : new Float32Array(count), shape));
      const report = await checkInvariance({
        model,
        tokens: TOKENS,
        threads: 1,
        schedules: [
          { name: 'one prefill' },
          { name: 'chunks', chunk: CHUNK, set: [{ tap: planted.tap!, step: 1, file }] },
        ],
      });
      const text = formatInvariance(report);
      expect(report.found, text).toBe(true);
      const found = report.schedules[1]!.parting!.beyondRounding!;
      expect(found.step, text).toBe(1);
      expect(found.position, text).toBeGreaterThanOrEqual(CHUNK);
      // The node that is named reads what was planted, through at most a few nodes without a row a token.
      const { tensors, graphs } = graph;
      const named = graphs[1]!.nodes.map((id) => tensors[id]!).find(({ tap }) => tap === found.tap)!;
      const reaches = (id: number, left: number): boolean =>
        id === planted.id ||
        (left > 0 &&
          [...tensors[id]!.src, tensors[id]!.viewSrc ?? null].some(
            (next) => next !== null && reaches(next, left - 1),
          ));
      expect(reaches(named.id, 10), `${found.tap} reads ${planted.tap}\n${text}`).toBe(true);
    },
    120_000,
  );
});
