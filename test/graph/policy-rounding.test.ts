import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POLICIES, type Policy } from '../../src/graph/policy.js';
import type { Tensor } from '../../src/graph/tensor.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { planModel } from '../../src/models/runtime/plan.js';
import { modelSites } from '../../src/models/runtime/sites.js';
import { modelTaps } from '../../src/models/runtime/trace.js';
import { readZayaConfig } from '../../src/models/zaya/config.js';
import { toBf16 } from './rounding.js';

const folder = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const { tokens } = JSON.parse(readFileSync(join(folder, '..', 'prompt.json'), 'utf8')) as {
  tokens: number[];
};
const config = await readZayaConfig(folder);
const order = modelTaps(config).map(({ name }) => name);

/** One block has every site: the first has no router state before it. */
const BLOCK = 1;
const sites = modelSites(config).filter(
  ({ kind, block }) => kind === 'round' && (block === null || block === BLOCK),
);

/** The tap that a value inside a module goes into first. */
const INNER: Record<string, string> = {
  ':shifted': '',
  ':input': '',
  ':normalised': '',
  ':query_sum': ':query_residual',
  ':query_norm': ':query',
  ':query_reciprocal': ':query',
  ':query_ratio': ':query',
  ':key_norm': ':key',
  ':key_reciprocal': ':key',
  ':key_ratio': ':key',
  ':key_scaled': ':key',
  ':cos': ':query_rope',
  ':sin': ':query_rope',
  ':query_cos': ':query_rope',
  ':query_sin': ':query_rope',
  ':key_cos': ':key_rope',
  ':key_sin': ':key_rope',
  ':scores': ':attn_weights',
  ':scaled_scores': ':attn_weights',
  ':hidden_states_shifted': ':hidden_states',
  ':residual_shifted': ':residual',
  ':eda_product': ':router_hidden_states',
  ':gate_activated': ':activated',
};

function firstTap(site: string): string {
  const name = site.replace('#round', '');
  if (order.includes(name)) return name;
  const suffix = /:[^:]*$/.exec(name)![0];
  return name.replace(suffix, INNER[suffix]!);
}

let model: Model;
let plain: Map<string, Float32Array>;

beforeAll(async () => {
  model = await openModel(folder, { threads: 1 });
  plain = (await run(POLICIES.f32!)).values;
});
afterAll(() => model.close());

/** Values of all taps under a policy, and per segment the names of those that a rounding can reach. */
async function run(policy: Policy) {
  using plan = planModel(model.weights, model.backend, policy, {
    tokens: tokens.length,
    taps: { wants: () => true },
  });
  const values = new Map<string, Float32Array>();
  await plan.run(tokens, {
    async sink(_, outputs) {
      for (const { name, dtype, bytes } of outputs) {
        const copy = bytes.slice().buffer;
        values.set(name, dtype === 'I32' ? Float32Array.from(new Int32Array(copy)) : new Float32Array(copy));
      }
    },
  });
  const reached: string[] = [];
  let roundings = 0;
  for (const { graph } of plan.segments) {
    const behind = new Set<Tensor>();
    for (const tensor of graph.tensors) {
      if (tensor.dtype === 'BF16' && tensor.op === 'cast') {
        behind.add(tensor);
        roundings++;
      } else if (tensor.sources.some((source) => behind.has(source))) behind.add(tensor);
    }
    for (const [name, tensor] of graph.outputs) if (behind.has(tensor)) reached.push(name);
  }
  return { values, reached, roundings };
}

function isSame(a: Float32Array, b: Float32Array): boolean {
  return a.every((value, index) => Object.is(value, b[index]));
}

describe('a rounding alone', () => {
  it('has every rounding of pytorch-bf16 among those tested, whose tap exists', () => {
    expect(sites.length).toBeGreaterThan(60);
    for (const { name } of sites) expect(order).toContain(firstTap(name));
  });

  it.each(sites.map(({ name, block }) => ({ name, block })))('$name', async ({ name, block }) => {
    const { values, reached, roundings } = await run({
      name: 'one',
      description: '',
      rules: [{ sites: name, set: 'BF16' }],
    });
    expect(roundings).toBe(1);
    const first = firstTap(name);
    // Its own tap is the first to change; what it does not reach in its block stays bit-equal.
    const changed = order.filter((tap) => !isSame(plain.get(tap)!, values.get(tap)!));
    // Rows of the embedding are BF16 in the checkpoint.
    expect(changed[0]).toBe(first === 'embed_tokens' ? undefined : first);
    const untouched = order.filter((tap) => tap.startsWith(`layers.${block}`) && !reached.includes(tap));
    expect(changed.filter((tap) => untouched.includes(tap))).toEqual([]);
    // A tap that is rounded has the rounded values of the run without.
    if (`${first}#round` !== name) return;
    const rounded = plain.get(first)!.map(toBf16);
    expect(isSame(rounded, values.get(first)!)).toBe(true);
  });
});
