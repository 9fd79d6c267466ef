import { writeSync } from 'node:fs';
import { ZayascopeError } from '../../src/errors.js';
import { openBackend } from '../../src/graph/backend.js';
import { type RandomCase, randomCase } from './random-case.js';
import { buildOp, runOp } from './run-op.js';

/**
 * How a combination ended: our rule rejected it, it ran and agrees with the reference, or something is wrong.
 */
export type Outcome = 'rejected' | 'agrees' | 'wrong';

/**
 * Runs combinations in this process, which may be aborted by ggml: each is announced on standard output
 * before it runs and its outcome follows, one JSON line each.
 */
export async function runChunk(first: number, count: number): Promise<void> {
  using backend = openBackend('cpu', { threads: 2 });
  for (let number = first; number < first + count; number++) {
    const random = randomCase(number);
    say({ number, op: random.sketch.op, description: random.description });
    say({ number, ...(await outcomeOf(random)) });
  }

  async function outcomeOf({ test }: RandomCase): Promise<{ outcome: Outcome; detail: string }> {
    try {
      await buildOp(test);
    } catch (error) {
      return { outcome: isRejection(error) ? 'rejected' : 'wrong', detail: String(error) };
    }
    try {
      const difference = await runOp(backend, test);
      return { outcome: difference === undefined ? 'agrees' : 'wrong', detail: difference ?? '' };
    } catch (error) {
      return { outcome: 'wrong', detail: `accepted by our rule, then: ${String(error)}` };
    }
  }
}

function isRejection(error: unknown): boolean {
  return (
    error instanceof ZayascopeError &&
    ['SHAPE_MISMATCH', 'DTYPE_UNSUPPORTED', 'BAD_ARGUMENT'].includes(error.code)
  );
}

// Written at once, so that the announcement survives an abort.
function say(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}
