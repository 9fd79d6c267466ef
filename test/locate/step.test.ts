import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import type { ZayascopeError } from '../../src/errors.js';
import { type SegmentRunner, segmentRunner } from '../../src/locate/step/segment.js';
import { openStepper, Stepper, type StepperOptions } from '../../src/locate/step/step.js';
import type { StepValue } from '../../src/locate/step/value.js';
import { loadWeights } from '../../src/models/runtime/loader.js';
import { type Model, openModel } from '../../src/models/runtime/model.js';
import { modelTaps } from '../../src/models/runtime/trace.js';

const MODEL = 'dumps/tiny/model';
const TOKENS = (
  JSON.parse(readFileSync('dumps/tiny/prompt.json', 'utf8')) as { tokens: number[] }
).tokens.slice(0, 20);

type Elements = Float32Array | Int32Array;

let model: Model;
const plain = new Map<string, Elements>();

beforeAll(async () => {
  model = await openModel(MODEL);
  using plan = model.plan({ tokens: TOKENS.length, taps: { wants: () => true } });
  await plan.run(TOKENS, {
    async sink(_, values) {
      for (const { name, bytes, dtype } of values) {
        const own = bytes.slice().buffer;
        plain.set(name, dtype === 'I32' ? new Int32Array(own) : new Float32Array(own));
      }
    },
  });
});
afterAll(() => model.close());

const open = (options?: StepperOptions) => openStepper(model, TOKENS, options);
const bits = (values: Elements) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
const sameBits = (value: StepValue | undefined, name: string) =>
  value !== undefined && value.name === name && bits(value.data).equals(bits(plain.get(name)!));
const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    return (error as ZayascopeError).code;
  }
  return 'none';
};
/** Goes on until a value has been passed. */
const reach = async (stepper: Stepper, name: string) => {
  const remove = stepper.breakpoint(name);
  const { value } = await stepper.continue();
  remove();
  return value;
};

describe('stepping by tap', () => {
  it('visits every value once, in execution order, with the bits of a plain run', async () => {
    using stepper = open();
    const expected = modelTaps(model.config).map(({ name }) => name);
    const visited: string[] = [];
    for (let value = await stepper.step(); value !== undefined; value = await stepper.step()) {
      expect(sameBits(value, value.name), value.name).toBe(true);
      expect(stepper.current).toMatchObject({
        name: value.name,
        index: visited.length,
        total: expected.length,
      });
      visited.push(value.name);
    }
    expect(visited).toEqual(expected);
    expect(stepper.current?.name).toBe('lm_head');
  });

  it('says dtype, axes, shape and statistics of a value', async () => {
    using stepper = open();
    const value = await reach(stepper, 'layers.0.mlp.gate:expert');
    expect(value).toMatchObject({ dtype: 'I32', axes: ['T'], shape: [20], block: 0, isReplaced: false });
    expect(value.stats.max).toBe(Math.max(...value.data));
    expect(value.stats).toMatchObject({ nan: 0, inf: 0 });
  });

  it('steps only through the values that were asked for', async () => {
    using stepper = open({ taps: 'layers.{1..2}.mlp.gate:*' });
    const first = await stepper.step();
    expect(sameBits(first, 'layers.1.mlp.gate:router_hidden_states')).toBe(true);
    const stop = await stepper.continue();
    expect(stop.reason).toBe('end');
    expect(sameBits(stop.value, 'layers.2.mlp.gate:margin')).toBe(true);
  });
});

describe('stepping by module and block', () => {
  it('stops at outputs of modules', async () => {
    using stepper = open();
    await reach(stepper, 'layers.0.self_attn.qkv_proj.k_proj');
    expect((await stepper.step('module'))?.name).toBe('layers.0.self_attn.qkv_proj.conv_qk_depthwise');
    expect((await stepper.back('module'))?.name).toBe('layers.0.self_attn.qkv_proj.k_proj');
  });

  it('stops at ends of segments, and nowhere after the last', async () => {
    using stepper = open();
    const ends: string[] = [];
    for (let value = await stepper.step('block'); value; value = await stepper.step('block'))
      ends.push(value.name);
    expect(ends).toEqual([
      'input_affine',
      ...model.config.layer_types.map((_, n) => `layers.${n}`),
      'lm_head',
    ]);
    expect(stepper.current?.name).toBe('lm_head');
    expect((await stepper.back('block'))?.name).toBe('layers.7');
  });
});

describe('going back', () => {
  it('gives the same bits in blocks whose values were dropped', async () => {
    using stepper = open({ keep: 1 });
    await stepper.continue();
    for (const name of ['layers.6.mlp.experts:down', 'layers.1.self_attn:attn_weights', 'embed_tokens'])
      expect(sameBits(await stepper.rewind(name), name)).toBe(true);
    expect(await stepper.back()).toBeUndefined();
    expect(stepper.current?.name).toBe('embed_tokens');
  });

  it('runs only the segment gone back to, and none whose values are kept', async () => {
    const ran: number[] = [];
    const runner = segmentRunner(model, TOKENS);
    const counting: SegmentRunner = {
      ...runner,
      run(...args) {
        ran.push(args[0]);
        return runner.run(...args);
      },
    };
    using stepper = new Stepper(counting, modelTaps(model.config), model.config.num_experts!, 2);
    await stepper.continue();
    expect(ran.splice(0)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await stepper.back();
    await stepper.rewind('layers.7');
    await stepper.value('lm_head');
    expect(ran.splice(0)).toEqual([]);
    await stepper.rewind('layers.3.mlp.experts');
    await stepper.rewind('layers.3.mlp.experts:down');
    expect(ran.splice(0)).toEqual([4]);
    await stepper.replace('layers.3', (await stepper.value('layers.3')).data as Float32Array);
    expect(ran.splice(0)).toEqual([4]);
    await stepper.step();
    expect(ran).toEqual([5]);
  });

  it('works where blocks take turns in memory', async () => {
    const { backend, config, weights } = model;
    const blockBytes = Math.max(
      ...config.layer_types.map((_, block) =>
        [...weights.tensors.values()]
          .filter(({ name, shape }) => name.startsWith(`model.layers.${block}.`) && shape.length > 1)
          .reduce((sum, { shape }) => sum + 4 * shape.reduce((product, size) => product * size, 1), 0),
      ),
    );
    const memoryBytes = weights.allocatedBytes - (config.num_hidden_layers - 3) * blockBytes;
    using streamed = await loadWeights(MODEL, backend, model.policy, { memoryBytes });
    expect(streamed.ensure).toBeDefined();
    using stepper = openStepper({ ...model, weights: streamed }, TOKENS, { keep: 1 });
    await stepper.continue();
    for (const name of [
      'layers.6.mlp.experts:down',
      'layers.4.mlp.experts:down',
      'layers.1.self_attn.o_proj',
    ])
      expect(sameBits(await stepper.rewind(name), name)).toBe(true);
    expect(sameBits((await stepper.continue()).value, 'lm_head')).toBe(true);
  });

  it('refuses to rewind forwards', async () => {
    using stepper = open();
    await stepper.step();
    expect(await codeOf(() => stepper.rewind('lm_head'))).toBe('BAD_ARGUMENT');
    expect(stepper.current?.name).toBe('embed_tokens');
  });
});

describe('values', () => {
  it('are read without moving, also later ones of the current block', async () => {
    using stepper = open();
    await reach(stepper, 'layers.2.input_layernorm');
    for (const name of ['layers.2.mlp.experts', 'layers.0.self_attn.o_proj', 'embed_tokens'])
      expect(sameBits(await stepper.value(name), name)).toBe(true);
    expect(stepper.current?.name).toBe('layers.2.input_layernorm');
  });

  it('that do not exist yet, or at all, are refused', async () => {
    using stepper = open();
    await stepper.step();
    expect(await codeOf(() => stepper.value('layers.0.input_layernorm'))).toBe('BAD_ARGUMENT');
    expect(await codeOf(() => stepper.value('layers.99.input_layernorm'))).toBe('BAD_ARGUMENT');
  });
});

describe('replacing', () => {
  const NAME = 'layers.3.self_attn.o_proj';

  it('with the same elements changes no bit of what follows', async () => {
    using stepper = open();
    await reach(stepper, 'layers.5');
    const same = await stepper.replace(NAME, (await stepper.value(NAME)).data as Float32Array);
    expect(same).toMatchObject({ name: NAME, isReplaced: true });
    expect(stepper.current?.name).toBe(NAME);
    const { value } = await stepper.continue();
    expect(sameBits(value, 'lm_head')).toBe(true);
  });

  it('with other elements changes what depends on it, as a graft of the whole run does, and nothing before', async () => {
    using stepper = open();
    const { data } = await reach(stepper, NAME);
    const zeros = new Float32Array(data.length);
    await stepper.replace(NAME, zeros);
    expect(
      sameBits(await stepper.value('layers.3.self_attn:attn_output'), 'layers.3.self_attn:attn_output'),
    ).toBe(true);
    expect((await stepper.value(NAME)).stats.absmax).toBe(0);
    const { value } = await stepper.continue();

    using plan = model.plan({
      tokens: TOKENS.length,
      taps: {
        wants: () => false,
        apply: (name, tensor) =>
          name === NAME ? tensor.graph.input('zeros', tensor.dtype, tensor.shape) : tensor,
      },
    });
    const logits = await plan.run(TOKENS, {
      prepare(_, graph) {
        if (graph.inputs.some((input) => input.name === 'zeros')) graph.setInput('zeros', zeros);
      },
    });
    expect(bits(value.data).equals(bits(logits))).toBe(true);
    expect(sameBits(value, 'lm_head')).toBe(false);
  });

  it('survives going back, adds up, and can be taken back', async () => {
    using stepper = open({ keep: 1 });
    await stepper.continue();
    const other = (await stepper.value('layers.1')).data.map((x) => x + 1) as Float32Array;
    await stepper.replace(NAME, new Float32Array(20 * 128));
    await stepper.replace('layers.1', other);
    expect([...stepper.replaced].sort()).toEqual(['layers.1', NAME]);
    await stepper.continue();
    expect((await stepper.rewind(NAME)).stats.absmax).toBe(0);
    await stepper.restore('layers.1');
    expect((await stepper.restore(NAME)).isReplaced).toBe(false); // its block has not run since
    expect(sameBits((await stepper.continue()).value, 'lm_head')).toBe(true);
  });

  it('takes a value of a dump', async () => {
    await using dump = await Dump.open('dumps/tiny/reference-bfloat16');
    const { data, dtype } = await dump.read('layers.0.input_layernorm');
    using stepper = open();
    const { shape } = await reach(stepper, 'layers.0.input_layernorm');
    const elements = shape.reduce((product, size) => product * size, 1);
    const replaced = await stepper.replace('layers.0.input_layernorm', {
      data: data.subarray(0, elements),
      dtype,
    });
    expect(dtype).toBe('BF16');
    expect(replaced.data.every((x) => Math.fround(x) === x)).toBe(true);
    expect(sameBits(replaced, 'layers.0.input_layernorm')).toBe(false);
  });

  it('routes tokens to another expert, and refuses experts that do not exist', async () => {
    using stepper = open();
    const name = 'layers.2.mlp.gate:expert';
    await reach(stepper, name);
    expect(await codeOf(() => stepper.replace(name, new Int32Array(20).fill(9)))).toBe('BAD_ARGUMENT');
    expect(await codeOf(() => stepper.replace(name, new Int32Array(20).fill(-1)))).toBe('BAD_ARGUMENT');
    expect(await codeOf(() => stepper.replace(name, new Float32Array(20)))).toBe('DTYPE_UNSUPPORTED');
    await stepper.replace(name, new Int32Array(20).fill(model.config.num_experts!));
    expect((await stepper.value('layers.2.mlp.experts')).stats.absmax).toBe(0); // all skip
  });

  it('refuses other sizes, values nothing reads, and values not computed yet; and then is as before', async () => {
    using stepper = open();
    await reach(stepper, 'layers.1');
    expect(await codeOf(() => stepper.replace('layers.1', new Float32Array(3)))).toBe('SHAPE_MISMATCH');
    const margin = new Float32Array(20);
    expect(await codeOf(() => stepper.replace('layers.1.mlp.gate:margin', margin))).toBe('BAD_ARGUMENT');
    expect(await codeOf(() => stepper.replace('layers.2', new Float32Array(20 * 128)))).toBe('BAD_ARGUMENT');
    expect(await codeOf(() => stepper.restore('layers.1'))).toBe('BAD_ARGUMENT');
    expect(stepper.replaced).toEqual([]);
    expect(sameBits((await stepper.continue()).value, 'lm_head')).toBe(true);
  });
});

describe('breakpoints', () => {
  it('on patterns stop at each match, until removed', async () => {
    using stepper = open();
    const remove = stepper.breakpoint('layers.{1,4}.mlp.gate:router_probs');
    for (const block of [1, 4]) {
      const { reason, value } = await stepper.continue();
      expect(value.name).toBe(`layers.${block}.mlp.gate:router_probs`);
      expect(reason).toBe('layers.{1,4}.mlp.gate:router_probs');
      await stepper.rewind(value.name); // standing there does not stop again
    }
    await stepper.rewind('embed_tokens');
    remove();
    expect((await stepper.continue()).reason).toBe('end');
    expect((await stepper.continue()).reason).toBe('end');
  });

  it('on a predicate get name and statistics', async () => {
    using stepper = open();
    const peak = Math.max(
      ...[...plain].filter(([name]) => name !== 'lm_head').map(([, data]) => Math.max(...data.map(Math.abs))),
    );
    stepper.breakpoint((name, { absmax }) => name !== 'lm_head' && absmax >= peak);
    const { reason, value } = await stepper.continue();
    expect(reason).toBe('predicate');
    expect(value.stats.absmax).toBe(peak);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('on nan stop where %s comes in', async (poison) => {
    using stepper = open();
    await reach(stepper, 'layers.2.self_attn.o_proj');
    const data = (await stepper.value('layers.2.self_attn.o_proj')).data.slice() as Float32Array;
    data[7] = poison;
    await stepper.replace('layers.2.self_attn.o_proj', data);
    stepper.breakpoint('nan');
    const { reason, value } = await stepper.continue();
    expect([reason, value.name]).toEqual(['nan', 'layers.2.post_attention_residual_scale:hidden_states']);
    expect(value.stats.nan + value.stats.inf).toBe(1);
  });

  it('on nothing are refused', async () => {
    using stepper = open();
    expect(await codeOf(() => stepper.breakpoint('layers.99.**'))).toBe('BAD_ARGUMENT');
  });
});

describe('misuse', () => {
  it.each<[string, number[], StepperOptions]>([
    ['no tokens', [], {}],
    ['ids outside the vocabulary', [99999], {}],
    ['a pattern that matches nothing', [1], { taps: 'nothing' }],
    ['no room for values', [1], { keep: 0 }],
  ])('%s', async (_, tokens, options) => {
    expect(await codeOf(() => openStepper(model, tokens, options))).toBe('BAD_ARGUMENT');
  });

  it('a call during another, and after close', async () => {
    const stepper = open();
    const first = stepper.step();
    expect(await codeOf(() => stepper.step())).toBe('BAD_ARGUMENT');
    expect((await first)?.name).toBe('embed_tokens');
    stepper.close();
    expect(await codeOf(() => stepper.step())).toBe('CLOSED');
    stepper.close();
  });
});
