import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { OP_NAMES } from '../../src/graph/ops.js';
import type { Outcome } from './random-chunk.js';
import { SKETCHES } from './sketches.js';

const CHUNKS = 5;
const CHUNK_SIZE = SKETCHES.length * 4;
const CHILD = fileURLToPath(new URL('./random-chunk-process.mjs', import.meta.url));

interface Result {
  op: string;
  description: string;
  outcome: Outcome | 'aborted';
  detail: string;
}

/** Runs combinations in child processes, going on behind each one that takes its process down. */
async function runInChildren(first: number, count: number): Promise<Result[]> {
  const results: Result[] = [];
  let next = first;
  while (next < first + count) {
    const { lines, errors } = await runChild(next, first + count - next);
    const announced = new Map<number, Result>();
    for (const { number, ...line } of lines) {
      if (line.description !== undefined) announced.set(number, { ...line, outcome: 'aborted', detail: '' });
      else Object.assign(announced.get(number)!, line);
    }
    if (announced.size === 0) throw new Error(`child process computed nothing: ${errors}`);
    for (const result of announced.values()) {
      if (result.outcome === 'aborted') result.detail = errors.slice(0, 500);
      results.push(result);
    }
    next += announced.size;
  }
  return results;
}

async function runChild(
  first: number,
  count: number,
): Promise<{ lines: (Result & { number: number })[]; errors: string }> {
  const child = spawn(process.execPath, [CHILD, String(first), String(count)]);
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const lines = output.split('\n').filter((line) => line !== '');
  return { lines: lines.map((line) => JSON.parse(line)), errors };
}

describe('a random combination of op, dtypes, shapes and layouts', () => {
  const results: Result[] = [];
  for (let chunk = 0; chunk < CHUNKS; chunk++)
    it(`is rejected by our rule or computed by ggml: chunk ${chunk}`, async () => {
      const outcomes = await runInChildren(chunk * CHUNK_SIZE, CHUNK_SIZE);
      results.push(...outcomes);
      expect(outcomes).toHaveLength(CHUNK_SIZE);
      const bad = outcomes.filter(({ outcome }) => outcome === 'aborted' || outcome === 'wrong');
      expect(bad).toEqual([]);
    });

  it('is accepted at times and rejected at times, for every op', () => {
    for (const op of OP_NAMES) {
      const outcomes = results.filter((result) => result.op === op).map(({ outcome }) => outcome);
      expect(outcomes, op).toContain('agrees');
      expect(outcomes, op).toContain('rejected');
    }
  });
});
