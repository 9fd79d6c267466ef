import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { captureInProcess, Dump, diffDumps } from '../../dist/index.js';

const MODEL = 'dumps/tiny/model';
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-process-'));
afterAll(() => rmSync(scratch, { recursive: true }));

it('gives the dump of another process, the same bits whatever the number of threads', async () => {
  const [one, two] = [join(scratch, 'one'), join(scratch, 'two')];
  const { device } = await captureInProcess(MODEL, [5, 17, 9], { out: one, threads: 1 });
  await captureInProcess(MODEL, [5, 17, 9], { out: two, threads: 2 });
  await using reference = await Dump.open(one);
  await using tested = await Dump.open(two);
  expect(device).not.toBe('');
  expect(reference.manifest.sequences[0]!.tokens).toEqual([5, 17, 9]);
  const { tapReports } = await diffDumps(reference, tested);
  expect(tapReports.filter(({ identical }) => !identical)).toEqual([]);
});

it('passes on the error of the process with its code', async () => {
  const out = join(scratch, 'none');
  await expect(captureInProcess(MODEL, [5], { out, backend: 'nothing' })).rejects.toMatchObject({
    code: 'BACKEND',
    message: expect.stringMatching(/captureInProcess: on nothing: openBackend: expected one of/),
  });
  await expect(captureInProcess(MODEL, [1e6], { out })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
});

it('can be cancelled', async () => {
  const signal = AbortSignal.abort();
  await expect(captureInProcess(MODEL, [5], { out: join(scratch, 'x'), signal })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
});
