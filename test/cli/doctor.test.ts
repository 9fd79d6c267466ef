import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

describe('zayascope doctor', () => {
  it('prints versions, devices and the state of each part', async () => {
    const { code, stdout } = await runCommand(['doctor']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^node +\d+\.\d+\.\d+$/m);
    expect(stdout).toMatch(/^ggml +\d+\.\d+/m);
    expect(stdout).toMatch(/^device +CPU: /m);
    expect(stdout).toMatch(/^native addon +ok /m);
  });

  it('gives the command for every part that is absent', async () => {
    const { stdout } = await runCommand(['doctor', '--json']);
    const { parts } = JSON.parse(stdout) as { parts: { name: string; state: string; fix?: string }[] };
    expect(parts.map(({ name }) => name)).toContain('Python reference');
    for (const { state, fix } of parts) expect(fix === undefined).toBe(state === 'ok');
  });
});

describe('what killed runs left', () => {
  it('is named, and what is in use or of others is not', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zayascope-leftovers-'));
    const ended = Number(execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }));
    const tag = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
    mkdirSync(join(folder, 'a', 'dump'), { recursive: true });
    const put = (name: string, content: string) => writeFileSync(join(folder, name), content);
    put('a/dump.lock', JSON.stringify({ pid: ended, start: '1', host: hostname() }));
    put('a/dump/.manifest.json.tmp', '{');
    put(`model.gguf.${tag}-${ended}-1.0123abcd.partial`, '');
    put('other.lock', JSON.stringify({ pid: ended, start: '1', host: 'elsewhere' }));
    put('yarn.lock', 'lockfile v1');
    put('download.partial', '');
    put(`alive.gguf.${tag}-${process.pid}-.0123abcd.partial`, '');
    const before = process.cwd();
    try {
      process.chdir(folder);
      const { stdout } = await runCommand(['doctor', '--json']);
      const expected = [
        join('a', 'dump', '.manifest.json.tmp'),
        join('a', 'dump.lock'),
        `model.gguf.${tag}-${ended}-1.0123abcd.partial`,
      ];
      expect((JSON.parse(stdout) as { leftovers: string[] }).leftovers).toEqual(expected);
      expect((await runCommand(['doctor'])).stdout).toContain(`Left by a killed run: ${expected[1]}`);
    } finally {
      process.chdir(before);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('is removed by the next run that writes the same file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zayascope-leftovers-'));
    const ended = Number(execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }));
    const tag = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
    writeFileSync(join(folder, `x.safetensors.${tag}-${ended}-1.0123abcd.partial`), '');
    writeFileSync(join(folder, `y.safetensors.${tag}-${ended}-1.0123abcd.partial`), '');
    const out = join(folder, 'x.safetensors');
    const { code, stderr } = await runCommand([
      'export',
      'dumps/tiny/reference-float32',
      '--taps',
      'norm',
      '--out',
      out,
    ]);
    expect([code, stderr]).toEqual([0, '']);
    expect(readdirSync(folder).sort()).toEqual([
      'x.safetensors',
      `y.safetensors.${tag}-${ended}-1.0123abcd.partial`,
    ]);
    rmSync(folder, { recursive: true, force: true });
  });
});
