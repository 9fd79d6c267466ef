import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { Dump } from '../../src/dump/reader.js';
import { describeWith } from '../system-package.js';
import {
  hasLavapipe,
  LIMIT,
  onLavapipe,
  onTiny,
  program,
  root,
  strict,
  tinyModel,
  vulkanPackage,
  zayascope,
} from './lavapipe.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-gpu-'));
const at = (name: string) => join(scratch, name);
afterAll(() => rmSync(scratch, { recursive: true }));

async function diffTiny(tested: string, failAbove?: number) {
  await using reference = await Dump.open(join(root, 'dumps', 'tiny', 'reference-float32'));
  await using dump = await Dump.open(tested);
  return await diffDumps(reference, dump, failAbove === undefined ? {} : { failAbove });
}

describeWith('Vulkan driver (lavapipe)', hasLavapipe(), 'the tiny model on Vulkan', () => {
  it(`has every tap within ${LIMIT} of PyTorch, every expert the same, in F32`, async () => {
    const { code, stderr } = await zayascope(['capture', ...onTiny, ...strict, '--out', at('f32')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = await diffTiny(at('f32'), LIMIT);
    expect(report.pass).toBe(true);
    expect(report.tapReports.length).toBe(4 + 8 * 46);
    expect(report.unpaired).toEqual([]);
    expect(report.routing!.flips).toEqual([]);
    const { backend } = JSON.parse(readFileSync(join(at('f32'), 'manifest.json'), 'utf8')) as {
      backend: object;
    };
    expect(backend).toMatchObject({
      name: 'lavapipe',
      strictF32: true,
      environment: { GGML_VK_DISABLE_F16: '1', GGML_VK_DISABLE_FUSION: '1' },
    });
  });

  it.each(['f32', 'llamacpp', 'pytorch-bf16', 'bf16-weights'])(
    'runs every op of policy %s on the device, with copies where the table says so',
    async (policy) => {
      const { code, stdout } = await zayascope([
        'doctor',
        '--model',
        tinyModel,
        '--policy',
        policy,
        ...strict,
        '--json',
      ]);
      const found = JSON.parse(stdout) as {
        unsupported: unknown[];
        nodes: number;
        inserted: { need: { op: string } }[];
      };
      expect(code).toBe(0);
      expect(found.unsupported).toEqual([]);
      expect(found.nodes).toBeGreaterThan(1000);
      expect(new Set(found.inserted.map(({ need }) => need.op))).toEqual(new Set(['mulMat']));
    },
  );
});

describeWith('Vulkan driver (lavapipe)', hasLavapipe(), 'a device that rounds what it multiplies', () => {
  it('has every product at fault, each with its cause', async () => {
    const capture = ['capture', ...onTiny, ...onLavapipe, '--out', at('default')];
    expect(await zayascope(capture)).toMatchObject({ code: 0, stderr: '' });
    const [reference, model] = [join(root, 'dumps', 'tiny', 'reference-float32'), tinyModel];
    const located = await zayascope(['locate', reference, at('default'), '--model', model, '--json']);
    const { kinds } = JSON.parse(located.stdout) as { kinds: { kind: string; sentence: string }[] };
    // Queries, keys, both halves of the values, the grouped convolution, scores, their sum, the output
    // projection; four layers of the router; two of the experts; the head.
    expect(kinds.length).toBe(15);
    const fallen = / to F16|^Im2col in F16 rounds/;
    const unexplained = kinds.filter(
      ({ sentence }) =>
        !fallen.test(sentence) || !(Number(/falls from \S+ to ([\d.e-]+\d)/.exec(sentence)?.[1]) < 1e-12),
    );
    expect(unexplained).toEqual([]);
  });
});

describeWith('Vulkan driver (lavapipe)', hasLavapipe(), 'a Vulkan device', () => {
  it('refuses what its memory cannot hold before it is allocated, and settings that come too late', async () => {
    const { stdout } = await program('errors.mjs', [tinyModel]);
    const { free, results } = JSON.parse(stdout) as {
      free: number;
      results: Record<string, { code: string; message: string } | null>;
    };
    expect(results.buffer).toMatchObject({ code: 'BACKEND' });
    expect(results.buffer!.message).toContain(
      `expected ${2 ** 34} bytes of free memory on Vulkan0 for huge, got ${free}`,
    );
    for (const name of ['intermediate values', 'cache']) {
      expect(results[name]).toMatchObject({ code: 'BACKEND' });
      expect(results[name]!.message).toMatch(/expected .*\d+ bytes/);
    }
    expect(results['other settings']!.message).toContain('use another process');
    expect(results['the same settings']).toBeNull();
  });

  it.each([
    ['no driver', { VK_ICD_FILENAMES: '/nonexistent.json' }],
    ['no GPU among the drivers', { GGML_VK_VISIBLE_DEVICES: '' }],
  ])('is refused in a sentence with %s, and the CPU works', async (_what, env) => {
    const { code, stderr } = await zayascope(
      ['capture', ...onTiny, '--backend', 'vulkan', '--out', at('none')],
      env,
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/^zayascope: BACKEND: openBackend: expected .*GPU on this machine/);
    const cpu = await zayascope(['capture', ...onTiny, '--out', at('cpu'), '--overwrite'], env);
    expect(cpu.code).toBe(0);
  });

  it('is not looked for by work on the CPU', async () => {
    const { stdout } = await program('loaded-libraries.mjs', [tinyModel]);
    expect(stdout).toBe('[]\n');
  });

  it('is refused from a folder with another ggml version, without its version, or that is not there', async () => {
    const wrong = mkdtempSync(at('wrong-'));
    copyFileSync(join(vulkanPackage, 'libggml-vulkan.so'), join(wrong, 'libggml-vulkan.so'));
    const open = async (folder: string) =>
      (
        await zayascope(['capture', ...onTiny, ...onLavapipe, '--out', at('x')], {
          ZAYASCOPE_GGML_DIR: folder,
        })
      ).stderr;
    expect(await open(wrong)).toContain('has no libggml-base beside it');
    writeFileSync(join(wrong, 'libggml-base.so'), '0.0.1\0');
    expect(await open(wrong)).toMatch(
      /BACKEND: .*libggml-vulkan\.so is not of ggml \d+\.\d+\.\d+, which is loaded/,
    );
    expect(await open(join(wrong, 'none'))).toContain('does not exist');
  });

  it('is taken from a folder with the same ggml version', async () => {
    const { code } = await zayascope(
      ['capture', ...onTiny, ...strict, '--taps', 'lm_head', '--out', at('own')],
      {
        ZAYASCOPE_GGML_DIR: vulkanPackage,
      },
    );
    expect(code).toBe(0);
  });
});
