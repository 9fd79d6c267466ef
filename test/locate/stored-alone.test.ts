/**
 * Without a model a port with stored weights is not accused: the type is told from the rows of its embedding
 * or from what its products err. Right values of the types: gguf-py.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump, formatLocate, locateDumps } from '../../src/index.js';
import { isOnGrid } from '../../src/locate/faults/dtypes/block-grids.js';
import { runCommand } from '../cli/run-command.js';
import { type PortName, portDump, portNoise, portReference } from '../llamacpp/port/port-folders.js';
import { runPython } from '../reference/python.js';

const FOUR = 'a type of 4 bits (Q4_0, Q4_1, Q4_K)';
const FIVE = 'a type of 5 bits (Q5_0, Q5_1, Q5_K)';

it('tells the types of GGUF files by their grids', () => {
  const { status, stdout, stderr } = runPython([join(import.meta.dirname, 'block_grids.py')]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const first = Object.entries(JSON.parse(stdout) as Record<string, number[]>).map(([name, values]) => [
    name,
    isOnGrid(Float32Array.from(values), 512)[0],
  ]);
  expect(Object.fromEntries(first)).toEqual({
    ...{ F32: undefined, F16: 'F16', BF16: 'BF16' },
    ...{ Q4_0: FOUR, Q4_1: FOUR, Q4_K: FOUR, Q5_0: FIVE, Q5_1: FIVE, Q5_K: FIVE },
    ...{ Q6_K: 'Q6_K', Q8_0: 'Q8_0' },
  });
});

async function locate(name: PortName, withNoise = false) {
  await using reference = await Dump.open(portReference());
  await using tested = await Dump.open(await portDump(name));
  await using noise = await Dump.open(portNoise());
  return await locateDumps(reference, tested, undefined, withNoise ? { noise } : {});
}

it.each([
  ['before-q8_0', false, /stored as Q8_0: all rows of its embedding are such as that type holds/],
  ['before-q8_0', true, /stored as Q8_0: all rows of its embedding/],
  [
    'before-bf16',
    false,
    /stored as BF16: every product before which nothing is wrong \(4 kinds\) errs by 1\.0e-6 to 1\.5e-6/,
  ],
] as const)('%s (noise: %s) is not judged without the file', async (name, withNoise, sentence) => {
  const report = await locate(name, withNoise);
  expect(report.unjudged).toMatch(sentence);
  expect(report.unjudged).toContain('pass the GGUF that ran as --model');
  expect(report.found).toBe(true);
  // The choice of experts contradicts the run's own probabilities, whatever the weights.
  expect(report.kinds.map(({ kind }) => kind)).toEqual(['.mlp.gate:expert']);
  // Behind the line of what is beyond the noise floor, where there is one.
  expect(formatLocate(report).split('\n')[withNoise ? 2 : 1]).toBe(`NOT JUDGED  ${report.unjudged}`);
});

it.each(['before-f32', 'after-f32', 'before-f32-decode'] as const)('%s is judged', async (name) => {
  const report = await locate(name);
  expect(report.unjudged).toBeNull();
  expect(report.firstFault).toMatch(/^layers\.0\.self_attn/);
});

it('a fault in one product is told, and so is one in the embedding of an F32 port', async () => {
  // Two products of four: what the types of files do to one they do to all.
  await using reference = await Dump.open(portReference());
  const planted = await Dump.open(await portDump('before-f32'));
  await using tested = planted;
  const off = ['layers.0.self_attn.qkv_proj.q_proj', 'layers.0.self_attn.qkv_proj.k_proj'];
  for (const wrong of [off, ['embed_tokens']]) {
    const report = await locateDumps(reference, scaled(tested, wrong), undefined);
    expect([wrong, report.unjudged, report.firstFault]).toEqual([wrong, null, wrong[0]]);
  }
});

/** A dump of which some values are 1.001 times what they are. */
function scaled(dump: Dump, names: readonly string[]): Dump {
  const off = <T extends { tap: { name: string }; data: unknown }>(batch: T): T =>
    names.includes(batch.tap.name)
      ? { ...batch, data: (batch.data as Float32Array).map((value) => value * 1.001) }
      : batch;
  return new Proxy(dump, {
    get(target, key) {
      if (key === 'read') return async (...args: Parameters<Dump['read']>) => off(await target.read(...args));
      if (key === 'readRows')
        return async (...args: Parameters<Dump['readRows']>) => {
          const rows = await target.readRows(...args);
          return rows === undefined ? undefined : off(rows);
        };
      if (key === 'stream')
        return async function* (...args: Parameters<Dump['stream']>) {
          for await (const batch of target.stream(...args)) yield off(batch);
        };
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

it('exits with 1 on the command line', async () => {
  const { code, stdout } = await runCommand(['locate', portReference(), await portDump('before-q8_0')]);
  expect(code).toBe(1);
  expect(stdout).not.toContain('embed_tokens: the embedding');
});
