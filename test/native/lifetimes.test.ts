import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { native } from '../../src/native.js';

function program(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url));
}

/** Standard output of a program; fails with its errors if it was killed or failed. */
function run(name: string, ...flags: string[]): string {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...flags, program(name)], {
    encoding: 'utf8',
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return stdout;
}

it('memory lives as long as something needs it, and no longer, in every order of collection', () => {
  const { right, externalMebibytes } = JSON.parse(run('gc-stress.mjs', '--expose-gc')) as Record<
    string,
    number
  >;
  expect(right).toBe(700);
  expect(externalMebibytes).toBeLessThan(8);
});

it('the process may end while a computation runs', () => {
  expect(run('exit-while-computing.mjs')).toBe('exit\n');
});

it('two workers and the main thread compute at once', async () => {
  const workers = [0, 1].map(
    () => new Worker(program('compute-worker.mjs'), { workerData: { slow: false } }),
  );
  const backend = new (native().Backend)('CPU');
  const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
  expect(messages).toEqual([[200], [200]]);
  expect(await Promise.all(workers.map((worker) => worker.terminate()))).toHaveLength(2);
  expect(backend.device).toBe('CPU');
});

it('a worker may be terminated while it computes, and the main thread goes on', async () => {
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(program('compute-worker.mjs'), { workerData: { slow: true } });
    expect(await once(worker, 'message')).toEqual(['computing']);
    await worker.terminate();
  }
  const backend = new (native().Backend)('CPU');
  await expect(backend.compute([])).resolves.toMatchObject({ nodes: 0 });
});
