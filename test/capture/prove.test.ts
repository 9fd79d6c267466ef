import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proveCapture } from '../../src/capture/prove.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import type { ModelPlan, PlanOptions } from '../../src/models/runtime/plan.js';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny', 'model');
const { tokens } = JSON.parse(readFileSync(join(root, 'dumps', 'tiny', 'prompt.json'), 'utf8')) as {
  tokens: number[];
};
let model: Model;
beforeAll(async () => {
  model = await openModel(tiny);
});
afterAll(() => model.close());

/** A model whose logits depend on what is captured, as on a device that fuses around it. */
function changedBy(logits: (wants: (name: string) => boolean, run: number) => number[]): Model {
  let runs = 0;
  const plan = ({ taps }: PlanOptions) =>
    ({
      computeNodes: 7,
      run: async () => Float32Array.from(logits(taps!.wants, runs++)),
      [Symbol.dispose]() {},
    }) as unknown as ModelPlan;
  return { config: model.config, plan } as unknown as Model;
}

describe('proveCapture', () => {
  it('finds the same bits with and without all taps of the tiny model on the CPU', async () => {
    const proof = await proveCapture(model, tokens);
    expect(proof).toMatchObject({
      taps: 372,
      tokens: 56,
      logits: 56 * 259,
      isDeterministic: true,
      isEqual: true,
      changing: [],
      runs: 3,
    });
    expect(proof.nodes.with).toBeGreaterThan(proof.nodes.without);
  });

  it('names each tap that changes the logits', async () => {
    const guilty = ['layers.2.mlp.gate.down_proj', 'layers.6'];
    const proof = await proveCapture(
      changedBy((wants) => [1, ...guilty.map((name, at) => (wants(name) ? 0.5 ** (at + 1) : 0))]),
      [1],
    );
    expect(proof.isEqual).toBe(false);
    expect(proof.changing).toEqual([
      { taps: [guilty[0]], isMinimal: true, differing: 1, largest: 0.5 },
      { taps: [guilty[1]], isMinimal: true, differing: 1, largest: 0.25 },
    ]);
  });

  it('names taps that change the logits together only', async () => {
    const both = changedBy((wants) => [wants('layers.1') && wants('layers.5') ? 1 : 0]);
    const { changing } = await proveCapture(both, [1], { taps: 'layers.{1,5}' });
    expect(changing).toEqual([{ taps: ['layers.1', 'layers.5'], isMinimal: true, differing: 1, largest: 1 }]);
  });

  it('tells −0 from 0, and NaN of one kind is itself', async () => {
    const zeros = await proveCapture(
      changedBy((wants) => [wants('layers.1') ? -0 : 0, Number.NaN]),
      [1],
      { taps: 'layers.1' },
    );
    expect(zeros.changing).toEqual([{ taps: ['layers.1'], isMinimal: true, differing: 1, largest: 0 }]);
  });

  it('says that a device is not deterministic, and blames no tap then', async () => {
    const proof = await proveCapture(
      changedBy((_, run) => [run]),
      [1],
    );
    expect(proof).toMatchObject({ isDeterministic: false, changing: [], runs: 3 });
  });

  it('stops at its runs with what it has', async () => {
    const proof = await proveCapture(
      changedBy((wants) => [wants('layers.6') ? 1 : 0]),
      [1],
      { maxRuns: 6 },
    );
    expect(proof.changing.length).toBe(1);
    expect(proof.changing[0]).toMatchObject({ isMinimal: false });
    expect(proof.changing[0]!.taps).toContain('layers.6');
  });
});

describe('zayascope capture --prove', () => {
  it('passes on the CPU and needs no --out', async () => {
    const args = ['capture', '--model', tiny, '--tokens', '5,6,7'];
    const { code, stdout } = await runCommand([...args, '--prove']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^proof +PASS {2}capturing changes no bit of the logits$/m);
    expect((await runCommand(args)).stderr).toContain('capture: expected --out or --prove, got neither');
  });
});
