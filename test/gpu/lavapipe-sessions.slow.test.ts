import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { describeWith } from '../system-package.js';
import {
  hasLavapipe,
  LIMIT,
  onLavapipe,
  onTiny,
  program,
  promptFile,
  strict,
  tinyModel,
  zayascope,
} from './lavapipe.js';

// What compiles many graphs or runs many passes on a Vulkan device in software: nearly two minutes.

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-gpu-'));
const at = (name: string) => join(scratch, name);
afterAll(() => rmSync(scratch, { recursive: true }));

describeWith('Vulkan driver (lavapipe)', hasLavapipe(), 'a session on Vulkan', () => {
  it('prefills, decodes, goes back and runs padded batches as the CPU does', async () => {
    const { code, stdout, stderr } = await program('session.mjs', [tinyModel, promptFile]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const errors = JSON.parse(stdout) as Record<string, number>;
    expect(Object.keys(errors).length).toBe(7);
    expect(Object.entries(errors).filter(([, nmse]) => !(nmse < LIMIT))).toEqual([]);
  });

  it('captures the steps of a generation, which says the same as on the CPU', async () => {
    const args = ['generate', '--model', tinyModel, '--prompt', '[Monday 04:', '--max-tokens', '5', '--json'];
    const [vulkan, cpu] = [
      await zayascope([...args, ...strict, '--capture', at('steps')]),
      await zayascope(args),
    ];
    const tokens = (stdout: string) => (JSON.parse(stdout) as { tokens: number[] }).tokens;
    expect(tokens(vulkan.stdout)).toEqual(tokens(cpu.stdout));
    await using dump = await Dump.open(at('steps'));
    expect(dump.manifest.status).toBe('complete');
  });

  it('gives the same bits with and without taps', async () => {
    const { code, stdout } = await zayascope(['capture', ...onTiny, ...strict, '--prove', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      taps: 372,
      isDeterministic: true,
      isEqual: true,
      changing: [],
    });
  });

  it('survives graphs compiled, run and freed one after the other', async () => {
    expect(await program('replan.mjs', [tinyModel, promptFile, 'lavapipe'])).toEqual({
      code: 0,
      stdout: '{"same":10}\n',
      stderr: '',
    });
  });
});

describeWith(
  'Vulkan driver (lavapipe)',
  hasLavapipe(),
  'F32 products on a device with F16 arithmetic',
  () => {
    it('part from the CPU at the first one, unless --strict-f32 is given', async () => {
      const args = ['compare', ...onTiny, '--backends', 'cpu,lavapipe', '--json'];
      const loose = await zayascope(args);
      expect(loose).toMatchObject({ code: 1, stderr: '' });
      const { comparisons } = JSON.parse(loose.stdout) as {
        comparisons: { parts: { tap: string; inputs: { nmse: number }[] } }[];
      };
      const [{ parts }] = comparisons as [(typeof comparisons)[0]];
      expect(parts.tap).toBe('layers.0.self_attn.qkv_proj.q_proj');
      expect(parts.inputs.map(({ nmse }) => nmse < 1e-12)).toEqual([true]);
      const strictly = await zayascope([...args, '--strict-f32']);
      expect(strictly.code).toBe(0);
    });

    const policy = at('f16-im2col.json');
    writeFileSync(
      policy,
      JSON.stringify({
        name: 'f16-im2col',
        extends: 'f32',
        rules: [{ sites: '**.conv_qk_grouped#patches', set: 'F16' }],
      }),
    );
    const bisect = ['bisect', ...onTiny, '--good', 'f32', '--bad', policy];

    it('make an F16 im2col visible to bisect with --strict-f32', async () => {
      const { code, stdout } = await zayascope([...bisect, ...strict, '--json']);
      expect(code).toBe(0);
      const { verified, minimal } = JSON.parse(stdout) as {
        verified: boolean;
        minimal: { sites: string[] }[];
      };
      expect(verified).toBe(true);
      expect(minimal.flatMap(({ sites }) => sites)).toEqual([
        'layers.0.self_attn.qkv_proj.conv_qk_grouped#patches',
      ]);
    });

    it('hide it without, and bisect says why', async () => {
      const { code, stderr } = await zayascope([...bisect, ...onLavapipe]);
      expect(code).toBe(2);
      expect(stderr).toMatch(/got the same ones: without --strict-f32 it rounds the F32 operands/);
    });
  },
);
