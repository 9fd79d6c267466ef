import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ConformanceReport } from '../../src/conformance/conformance.js';
import { runInChildren } from '../../src/conformance/in-children.js';
import { OP_NAMES } from '../../src/graph/ops.js';
import { runCommand } from '../cli/run-command.js';
import { describeWith } from '../system-package.js';

describe('a child process that dies', () => {
  it('costs the case at which it dies twice, and no other', async () => {
    const program = new URL('./dying-child.mjs', import.meta.url);
    const job = { selection: {}, backend: 'fake', strictF32: false };
    const { device, outcomes, lostProcesses } = await runInChildren(job, 60, () => {}, program);
    expect(device.name).toBe('Fake0');
    expect(outcomes).toHaveLength(60);
    expect(outcomes[5]).toEqual({ verdict: 'crashed', reason: 'a process of its own ended with SIGSEGV' });
    // Processes lost: at 3, and at 5 before it was tried alone.
    expect(lostProcesses).toBe(2);
    for (const [index, outcome] of outcomes.entries())
      if (index !== 5) expect(outcome).toEqual({ verdict: 'unsupported', reason: `case ${index}` });
  });
});

it('a device that is not there is an error', async () => {
  const { code, stderr } = await runCommand(['conformance', '--backend', 'cpu9']);
  expect(code).toBe(2);
  expect(stderr).toMatch(/BACKEND: openBackend: expected one of .*got cpu9/);
});

/** Mesa's software driver, where Debian puts it. */
const hasLavapipe = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'].some(
  (folder) => existsSync(folder) && readdirSync(folder).some((name) => name.startsWith('lvp_icd')),
);

// The command runs from `dist`, like its child processes.
describeWith('Vulkan driver (lavapipe)', hasLavapipe, 'lavapipe', () => {
  // Not synchronously: the kernels of a product take a minute to compile the first time, and vitest wants an
  // answer meanwhile.
  const run = (...args: string[]) =>
    new Promise<ConformanceReport & { status: number }>((resolve) => {
      const all = ['dist/cli/main.js', 'conformance', '--backend', 'lavapipe', '--json', ...args];
      execFile(process.execPath, all, { maxBuffer: 2 ** 26 }, (error, stdout) =>
        resolve({ status: Number(error?.code ?? 0), ...(JSON.parse(stdout) as ConformanceReport) }),
      );
    });

  it('passes on arithmetic and rows, and is told unsupported from wrong', async () => {
    const { status, cases, device } = await run('--ops', '{add,mul,scale,rmsNorm,softMax,argmax}');
    expect(device.description).toMatch(/llvmpipe/);
    expect(status).toBe(0);
    const unsupported = cases.filter(({ verdict }) => verdict === 'unsupported');
    expect(new Set(unsupported.map(({ dtype }) => dtype))).toEqual(new Set(['BF16 F32 → BF16', 'BF16 BF16']));
  });

  it('rounds the operands of F32 products to F16, which fails and is named; not with --strict-f32', async () => {
    const products = ['--ops', 'mulMat', '--dtypes', 'F32 F32'];
    const usual = await run(...products);
    expect(usual.status).toBe(1);
    const failed = usual.cases.filter(({ verdict }) => verdict === 'fail');
    expect(failed.length).toBeGreaterThan(5);
    for (const each of failed) expect(each).toMatchObject({ finding: 'rounds operands to F16' });
    const strict = await run(...products, '--strict-f32');
    expect(strict.cases.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
    expect(strict.status).toBe(0);
  }, 600_000);

  it('runs every op of the vocabulary in single precision and on indices; one known fault of the driver or ggml', async () => {
    const dtypes = 'F32,F32 F32,F32 F32 F32,F32 I32,F32 F32 I32,I32,F32 → I32,I32 → F32';
    const { cases } = await run('--strict-f32', '--dtypes', `{${dtypes}}`);
    expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(OP_NAMES));
    // Rows of 2048 integers: columns from 1024 on are not written. The model's own tables of integers have
    // one column.
    const wrong = cases.filter(({ verdict }) => verdict !== 'pass');
    expect(
      wrong.filter(({ op, dtype, shape }) => !(op === 'getRows' && dtype === 'I32' && /2048/.test(shape))),
    ).toEqual([]);
  }, 600_000);
});
