/**
 * The branch mixes the sequences of a batch in what its convolutions read. Where a dump lacks that value, or
 * more of those around it, the same is told of the op that is made of it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import { editedFolder } from './edited-folder.js';
import { PORT_IDS, portModel, portScratch, TINY_MODEL } from './port-folders.js';

/**
 * Of block 1 the convolution's input is left out, so that it is read as what was joined; of blocks 2 and 3
 * that too, and of block 3 the depthwise convolution. Attention of block l is half-layer 2l.
 */
const LEFT_OUT = /^(cca_conv_input-[246]|QKraw-[46]|QK_dw-6)$/;
const MIXED = 'what lies [channels, sequences, tokens] in memory is read as [sequences, channels, tokens]';
const BY_HEAD = `of each head ${MIXED}, before the bias is added`;
const JOINED = 'the joining of queries and keys';

let report: LocateReport;
beforeAll(async () => {
  const folder = editedFolder('before-f32-two-sequences', 'mixed', {
    keeps: (name) => name === undefined || !LEFT_OUT.test(name),
  });
  const dump = portScratch('mixed-dump');
  const config = join(TINY_MODEL, 'config.json');
  const args = ['--map', 'llamacpp', '--config', config, '--sequences', '12,12', '--out', dump];
  expect(await runCommand(['import', folder, ...args])).toMatchObject({ code: 0, stderr: '' });
  const reference = portScratch('mixed-reference');
  const tokens = portScratch('mixed-tokens.json');
  writeFileSync(tokens, JSON.stringify([PORT_IDS.slice(0, 12), PORT_IDS.slice(12)]));
  const run = ['capture', '--model', TINY_MODEL, '--tokens-file', tokens];
  expect(await runCommand([...run, '--threads', '1', '--out', reference])).toMatchObject({ code: 0 });
  const model = await portModel('before-f32-two-sequences');
  const located = await runCommand(['locate', reference, dump, '--model', model, '--threads', '1', '--json']);
  expect(located).toMatchObject({ code: 1, stderr: '' });
  report = JSON.parse(located.stdout);
});

const causesOf = (kind: string) =>
  report.causes
    .filter(({ kinds }) => kinds.join() === `.self_attn.qkv_proj${kind}`)
    .map(({ sentence, blocks }) => ({ blocks, sentence }));

it('is told where the value is held', () => {
  expect(report.firstFault).toBe('layers.0.self_attn.qkv_proj:conv_input');
  const [joined, ...others] = causesOf(':conv_input');
  expect(others).toEqual([]);
  expect(joined!.blocks).toEqual([0, 4, 5, 6, 7]);
  expect(joined!.sentence).toContain(`are mixed in ${JOINED} in blocks 0, 4–7: ${MIXED}. NMSE `);
});

it('is told of the convolution that reads it, or is made of it where nothing of it is held', () => {
  const told = causesOf('.conv_qk_depthwise');
  expect(told.map(({ blocks }) => blocks).toSorted()).toEqual([[1], [2]]);
  const sentences = told.map(({ sentence }) => sentence).join();
  expect(sentences).toContain(
    `are mixed where the depthwise convolution reads ${JOINED} in block 1: ${MIXED}. `,
  );
  expect(sentences).toContain(
    `are mixed in ${JOINED}, which the dumps do not hold and the depthwise convolution is made of, in block 2: ${MIXED}. `,
  );
});

it('is told at two places of one span, with the choice that explains the rest', () => {
  const told = causesOf('.conv_qk_grouped');
  expect(told.map(({ blocks }) => blocks).toSorted()).toEqual([[0, 1, 2, 4, 5, 6, 7], [3]]);
  const { sentence } = told.find(({ blocks }) => blocks.join() === '3')!;
  expect(sentence).toContain(
    `are mixed in ${JOINED}, which the dumps do not hold and the grouped convolution is made of, in block 3: ${MIXED}; then in the grouped convolution ${BY_HEAD}. `,
  );
  const [, left, after] =
    / (\S+) so\. What is left: im2col in F16 rounds the inputs of the grouped convolution, with which it falls to (\S+)\./.exec(
      sentence,
    )!;
  expect(Number(left)).toBeGreaterThan(1e-9);
  expect(Number(after)).toBeLessThan(1e-14);
});
