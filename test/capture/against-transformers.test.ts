import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { diffDumps } from '../../src/diff/diff.js';
import type { DiffReport, FloatTapReport } from '../../src/diff/report.js';
import { Dump } from '../../src/dump/reader.js';
import { openModel } from '../../src/models/runtime/model.js';
import { root, runScripts } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-capture-'));
const at = (name: string) => join(scratch, name);
const LIMIT = 1e-10;

/** Checkpoints that share as little as possible with the tiny model, and how many tokens they are run on. */
const MODELS: Record<string, { tokens: number; vocabulary: number; flags: string }> = {
  'one KV head, odd expert count and vocabulary': {
    tokens: 37,
    vocabulary: 301,
    flags: '--heads 5 --kv-heads 1 --head-dim 14 --experts 7 --vocab 301 --layers 3 --partial-rotary 1',
  },
  'as many KV heads as query heads, untied head, biases everywhere, shards': {
    tokens: 33,
    vocabulary: 151,
    flags:
      '--heads 6 --kv-heads 6 --head-dim 24 --hidden 80 --vocab 151 --untied --attention-bias --lm-head-bias --shards 3 --layers 3',
  },
  'longer convolutions and sliding windows': {
    tokens: 60,
    vocabulary: 199,
    flags: '--cca-time0 3 --cca-time1 4 --sliding-window 7 --sliding-layers 0,2 --layers 4',
  },
  'convolutions of size one, a single expert, one token': {
    tokens: 1,
    vocabulary: 199,
    flags: '--cca-time0 1 --cca-time1 1 --heads 2 --kv-heads 2 --experts 1 --layers 3',
  },
  '24 blocks': { tokens: 120, vocabulary: 199, flags: '--layers 24 --hidden 128 --skip-share 0.1' },
  'weights in F16': { tokens: 12, vocabulary: 199, flags: '--dtype f16 --heads 16 --kv-heads 4 --layers 2' },
  'weights in F32': { tokens: 25, vocabulary: 199, flags: '--dtype f32 --layers 3 --rope-theta 10000' },
};

const tokensOf = ({ tokens, vocabulary }: { tokens: number; vocabulary: number }) =>
  Array.from({ length: tokens }, (_, i) => (i * i * 7 + 11 * i + 3) % vocabulary);

const reports = new Map<string, DiffReport>();

beforeAll(async () => {
  const calls = Object.values(MODELS).flatMap((model, seed) => [
    {
      script: 'random_checkpoint' as const,
      args: ['--out', at(`${seed}-model`), '--seed', `${seed + 11}`, ...model.flags.split(' ')],
    },
    {
      script: 'dump' as const,
      args: [
        '--model',
        at(`${seed}-model`),
        '--tokens',
        tokensOf(model).join(','),
        '--dtype',
        'float32',
        '--out',
        at(`${seed}-reference`),
        '--no-verify',
      ],
    },
  ]);
  const failed = runScripts(calls).filter(({ status }) => status !== 0);
  expect(failed).toEqual([]);
  for (const [seed, [name, sizes]] of Object.entries(MODELS).entries()) {
    using model = await openModel(at(`${seed}-model`));
    await capture(model, [tokensOf(sizes)], { out: at(`${seed}-ours`) });
    const [reference, ours] = [await Dump.open(at(`${seed}-reference`)), await Dump.open(at(`${seed}-ours`))];
    reports.set(name, await diffDumps(reference, ours));
    await reference.close();
    await ours.close();
  }
}, 240_000);
afterAll(() => rmSync(scratch, { recursive: true }));

describe.each(Object.keys(MODELS))('a checkpoint with %s', (name) => {
  it('has every tap paired', () => {
    const report = reports.get(name)!;
    expect(report.unpaired).toEqual([]);
    expect(report.notCaptured).toEqual([]);
    expect(report.notes).toEqual([]);
  });

  it('sends every token to the same expert', () => {
    const routing = reports.get(name)!.routing!;
    expect(routing.choices).toBeGreaterThan(0);
    expect(routing.flips).toEqual([]);
  });

  it(`has logits and block outputs within ${LIMIT} of transformers`, () => {
    const { tapReports } = reports.get(name)!;
    const outputs = tapReports.filter((tap) => /^(layers\.\d+|lm_head)$/.test(tap.name)) as FloatTapReport[];
    expect(outputs.length).toBeGreaterThan(2);
    expect(outputs.filter(({ metrics }) => !(metrics.nmse <= LIMIT))).toEqual([]);
  });
});

describe('the tiny model and its committed reference', () => {
  const tiny = join(root, 'dumps', 'tiny');
  const { tokens } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as { tokens: number[] };

  it.each([
    ['stated selection', {}],
    ['all rows', { taps: '**', positions: 'all' }],
  ])(`every tap is within ${LIMIT}, every expert the same, under policy f32 (%s)`, async (_, options) => {
    using model = await openModel(join(tiny, 'model'));
    await capture(model, [tokens], { out: at('tiny'), overwrite: true, ...options });
    const [reference, ours] = [await Dump.open(join(tiny, 'reference-float32')), await Dump.open(at('tiny'))];
    const report = await diffDumps(reference, ours, { failAbove: LIMIT });
    expect({
      ...report,
      tapReports: report.tapReports.length,
      blocks: [],
      logits: null,
      routing: null,
    }).toMatchObject({
      pass: true,
      unpaired: [],
      notCaptured: [],
      notes: [],
      tapReports: 4 + 8 * 46,
    });
    expect(report.routing!.flips).toEqual([]);
    await reference.close();
    await ours.close();
  });

  it('BF16 weights stay close to the noise of the reference itself in BF16', async () => {
    using model = await openModel(join(tiny, 'model'), { policy: 'bf16-weights' });
    await capture(model, [tokens], { out: at('tiny-bf16'), taps: 'lm_head' });
    const logitError = async (tested: string) => {
      const [reference, other] = [await Dump.open(join(tiny, 'reference-float32')), await Dump.open(tested)];
      const report = await diffDumps(reference, other, { taps: 'lm_head' });
      await reference.close();
      await other.close();
      return (report.tapReports[0] as FloatTapReport).metrics.nmse;
    };
    const ours = await logitError(at('tiny-bf16'));
    const floor = await logitError(join(tiny, 'reference-bfloat16'));
    expect(ours).toBeGreaterThan(0);
    expect(ours).toBeLessThan(10 * floor);
  });
});
