/**
 * A port that wrote little more than its residual stream: between two values many ops lie, and several of the
 * port's known choices meet there, of which none explains the error alone.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import { editedFolder } from './edited-folder.js';
import { type PortName, portModel, portReference, TINY_MODEL } from './port-folders.js';

const FEW = /^(residual|final_residual|result|ffn_moe_topk)/;
/** Values at the ends of blocks: what the port calls residual-2 is the output of block 0. */
const BLOCKS = /^(embd$|final_residual|result|residual-\d*[02468]$)/;
/** All but the values of block 2. */
const NOT_BLOCK_2 = /^(?!.*-[45]$)/;

/** The report of the values in `kept` of a folder; those of one name are changed. */
async function located(
  name: PortName,
  kept = FEW,
  changed?: string,
  change: (value: number) => number = (value) => value,
): Promise<LocateReport> {
  const folder = editedFolder(name, `few-${name}-${kept.source.replace(/\W/g, '')}-${changed}`, {
    keeps: (value) => value === undefined || kept.test(value),
    change(value, elements) {
      if (value === changed) elements.set(elements.map(change));
    },
  });
  const config = join(TINY_MODEL, 'config.json');
  const out = `${folder}-dump`;
  await runCommand(['import', folder, '--map', 'llamacpp', '--config', config, '--out', out]);
  const args = ['locate', portReference(), out, '--model', await portModel(name), '--threads', '1', '--json'];
  return JSON.parse((await runCommand(args)).stdout);
}

/** Rounded to 11 bits, halves to even, and by 2^-24 below the normal numbers of F16. */
function toHalf(value: number): number {
  const step = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(value)))) - 10);
  const scaled = value / step;
  const whole = Math.round(scaled);
  return step * (Math.abs(scaled % 1) === 0.5 ? 2 * Math.round(scaled / 2) : whole);
}

const sentences = ({ kinds }: LocateReport) => new Map(kinds.map(({ kind, sentence }) => [kind, sentence]));
const TOGETHER = /^[Cc]hoices meet in \d+ ops between which the dumps hold no value: /;
/** Each choice with the error that is left without it, and what all of them leave. */
const FIRST = "the tanh approximation stands in for the exact form in the router's first GELU";
const SECOND = "the tanh approximation stands in for the exact form in the router's second GELU";
const SKIP = 'the skip class is never chosen: its tokens go to the best real expert';
const KEYS = 'keys and queries are rounded to F16 for attention scores and their soft-max';
const VALUES = 'values and attention weights are rounded to F16 for the weighted sum of the values';
const named = (sentence: string) =>
  [...sentence.replace(TOGETHER, '').matchAll(/(?:^|; )((?:(?! \(without).)+) \(without that \S+\)/g)].map(
    ([, choice]) => choice,
  );

it('is explained by choices that meet', async () => {
  const found = sentences(await located('before-f32'));
  const attention = found.get('.post_attention_residual_scale')!;
  expect(attention).toMatch(TOGETHER);
  expect(named(attention)).toEqual([
    'im2col in F16 rounds the inputs of the grouped convolution',
    KEYS,
    VALUES,
  ]);
  expect(attention).toMatch(/Recomputed with them, its error falls from 7\.9e-8 to \d\.\de-1[1-5]\./);
  expect(found.get('')).toMatch(TOGETHER);
  expect(named(found.get('')!)).toEqual([FIRST, SECOND]);
});

it('is not explained where an op is wrong besides', async () => {
  // What the port calls residual-3 is the sum after attention in block 1.
  const report = await located('after-f32-cache-f32', FEW, 'residual-3', (value) => 1.001 * value);
  const attention = report.kinds.find(({ kind }) => kind === '.post_attention_residual_scale')!;
  expect([attention.blocks, attention.largest]).toEqual([[1], expect.closeTo(1e-6, 8)]);
  expect(attention.sentence).not.toContain('meet');
});

it('has the same explanation for all blocks, and nothing in it that was mended', async () => {
  const [only, ...others] = (await located('after-f32', BLOCKS)).kinds;
  expect(others).toEqual([]);
  expect(only!.blocks).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(only!.parts).toEqual([]);
  expect(named(only!.sentence)).toEqual([KEYS, VALUES, FIRST, SECOND, SKIP]);
  expect(only!.sentence).toMatch(/\(without that 1\.6e-3\)\. Recomputed with them, .* to \d\.\de-1[0-5]\.$/);
});

it('names what meets in a block of which nothing was written, and no choice that changes nothing', async () => {
  const report = await located('after-f32', NOT_BLOCK_2);
  const span = report.kinds.find(({ inside }) => inside.length > 40)!;
  expect(span.blocks).toEqual([2]);
  expect(named(span.sentence)).toEqual([KEYS, VALUES, FIRST, SECOND, SKIP]);
  expect(report.kinds.map(({ sentence }) => sentence).join()).not.toContain('stays as stored');
});

it('tells what is left where a choice explains the most of an error', async () => {
  // The output of block 5. What later routers read of earlier ones is not held: block 7 errs by it too.
  const wrong = (value: number) => value + 0.01 * Math.cos(value);
  const { parts } = (await located('after-f32', BLOCKS, 'residual-12', wrong)).kinds[0]!;
  const partOf = (block: number) => parts.find(({ blocks }) => blocks.includes(block))!.sentence;
  expect(named(partOf(0))).toEqual([KEYS, VALUES, FIRST, SECOND, SKIP]);
  expect(partOf(5)).toMatch(/^nothing that was tried explains the error/);
  expect(partOf(7)).toMatch(
    new RegExp(
      `^${SKIP}: .* falls from 1\\.3e-5 to 1\\.2e-8, .*: nothing that was tried explains the rest\\.`,
    ),
  );
});

it('names the rounding of the experts’ output', async () => {
  const report = await located('after-f32', /./, 'moe_out-5', toHalf);
  const { sentence } = report.kinds.find(({ kind }) => kind === '.mlp.experts')!;
  expect(sentence).toMatch(
    /^F16 rounds the experts' output: recomputed so, its error falls from \S+ to 0\.$/,
  );
});
