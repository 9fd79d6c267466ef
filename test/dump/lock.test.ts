/** One writer at a time: the lock beside a dump's folder, and what a killed writer leaves. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockPath } from '../../src/dump/lock.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { description, temporaryFolder, writeSampleDump } from './dump-fixture.js';

const folder = () => join(temporaryFolder(), 'dump');

/** A process that has ended. */
function endedPid(): number {
  return Number(execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }));
}

function leave(dir: string, lock: unknown): void {
  writeFileSync(lockPath(dir), typeof lock === 'string' ? lock : JSON.stringify(lock));
}

describe('the lock of a dump', () => {
  it('is there from creation to the end, and says who holds it', async () => {
    const dir = folder();
    const writer = await DumpWriter.create(dir, description());
    const { pid, start, host } = JSON.parse(readFileSync(lockPath(dir), 'utf8'));
    expect([pid, host]).toEqual([process.pid, hostname()]);
    if (process.platform === 'linux') {
      // The kernel's own account of this process: field 22 of its stat, counted after the bracket that ends
      // field 2.
      const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)!.split(' ');
      expect(start).toBe(fields[22 - 3]);
    }
    await expect(DumpWriter.create(dir, description(), { overwrite: true })).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining(`process ${process.pid} on ${hostname()}`),
    });
    await writer.finish();
    expect(existsSync(lockPath(dir))).toBe(false);
    await (await DumpWriter.create(dir, description(), { overwrite: true })).abort();
    expect(existsSync(lockPath(dir))).toBe(false);
  });

  it('is not kept where a dump cannot begin', async () => {
    const dir = folder();
    await writeSampleDump(dir);
    await expect(DumpWriter.create(dir, description())).rejects.toMatchObject({ code: 'IO' });
    expect(readdirSync(join(dir, '..'))).toEqual(['dump']);
  });

  it.each<[string, () => unknown]>([
    ['of a process that has ended', () => ({ pid: endedPid(), start: '1', host: hostname() })],
    ['of a pid that another process has now', () => ({ pid: process.pid, start: '1', host: hostname() })],
  ])('is replaced if it is %s', async (_what, lock) => {
    const dir = folder();
    leave(dir, lock());
    await (await DumpWriter.create(dir, description())).finish();
    expect(readdirSync(join(dir, '..'))).toEqual(['dump']);
  });

  it.each<[string, unknown, RegExp]>([
    ['of another host', { pid: 1, start: '1', host: 'elsewhere' }, /process 1 on elsewhere/],
    [
      'of a process whose start is not known',
      { pid: process.pid, start: null, host: hostname() },
      /process \d+ on/,
    ],
    ['no lock at all', 'name = "a package lock"', /a file that is no lock of a dump/],
  ])('is left alone if it is %s', async (_what, lock, message) => {
    const dir = folder();
    leave(dir, lock);
    await expect(DumpWriter.create(dir, description())).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(message),
    });
    expect(existsSync(dir)).toBe(false);
  });

  it('goes to one of many that find a stale one', async () => {
    const dir = folder();
    leave(dir, { pid: endedPid(), start: '1', host: hostname() });
    leave(`${dir}.lock`, { pid: endedPid(), start: '1', host: hostname() });
    const tries = await Promise.allSettled(
      Array.from({ length: 12 }, () => DumpWriter.create(dir, description())),
    );
    const writers = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(writers).toHaveLength(1);
    await writers[0]!.finish();
    expect(readdirSync(join(dir, '..'))).toEqual(['dump']);
  });
});

describe('overwriting', () => {
  it('says partial before the first file goes', async () => {
    const dir = folder();
    await writeSampleDump(dir);
    const status = () => JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')).status;
    expect(status()).toBe('complete');
    await using _writer = await DumpWriter.create(dir, description({ tier: 'hash' }), { overwrite: true });
    expect(status()).toBe('partial');
    expect(readdirSync(dir).sort()).toEqual(['hash.arrow', 'manifest.json']);
  });

  it('begins in a folder where a killed run left half a manifest', async () => {
    const dir = folder();
    await writeSampleDump(dir);
    writeFileSync(join(dir, '.manifest.json.tmp'), '{"format": "zaya');
    await (await DumpWriter.create(dir, description(), { overwrite: true })).finish();
    expect(readdirSync(dir)).not.toContain('.manifest.json.tmp');
    const fresh = temporaryFolder();
    writeFileSync(join(fresh, '.manifest.json.tmp'), '');
    await (await DumpWriter.create(fresh, description())).finish();
  });
});
