import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump } from '../../../src/dump/reader.js';
import {
  CUT_FOLDERS,
  type PortName,
  portDump,
  portFolder,
  portReference,
  portReferenceOf,
  TWO_SEQUENCES,
  WHOLE_FOLDERS,
} from './port-folders.js';

/** Of the files before they were packed: the first 16 digits of the SHA-256 of `tensors.bin`, up to where a folder is cut. */
const SHA256: Readonly<Record<PortName, string>> = {
  'before-f32': '63f631619c62981a',
  'before-f32-last': '2cdc06f2cb046370',
  'before-f32-decode': '491b753e58595e58',
  'before-f32-two-sequences': '6d1d75ea73e851c9',
  'before-q8_0': '0db5e4487221fe69',
  'after-f32': 'b272fb578062158c',
  'before-f32-flash': 'a4a7eaf4357d65f6',
  'after-f32-cache-f32': '90f882b60a53b895',
  'before-bf16': 'fe0c2cb32c6d841d',
};

it('unpacks the bytes that the branch wrote', () => {
  const found = [...WHOLE_FOLDERS, ...CUT_FOLDERS].map((name) => {
    const values = readFileSync(join(portFolder(name), 'tensors.bin'));
    return [name, createHash('sha256').update(values).digest('hex').slice(0, 16)];
  });
  expect(Object.fromEntries(found)).toEqual(SHA256);
});

it('imports a folder and makes its reference', async () => {
  await using tested = await Dump.open(await portDump('before-f32'));
  await using reference = await Dump.open(portReferenceOf('before-f32'));
  expect(tested.manifest.sequences).toEqual(reference.manifest.sequences);
  expect(reference.taps).toHaveLength(372);
});

it('imports whole and cut folders, several batches, flash attention', async () => {
  const counts: Record<string, unknown> = {};
  for (const name of [...WHOLE_FOLDERS, ...CUT_FOLDERS].filter((each) => each !== 'before-f32-last')) {
    await using dump = await Dump.open(await portDump(name));
    const { steps, sequences } = dump.manifest;
    counts[name] = [dump.taps.length, steps, sequences.map(({ tokens }) => tokens!.length)];
  }
  expect(counts).toEqual({
    'before-f32': [332, 1, [24]],
    'before-f32-decode': [332, 5, [24]],
    'before-f32-two-sequences': [332, 1, [12, 12]],
    'before-q8_0': [332, 1, [24]],
    'after-f32': [332, 1, [24]],
    'before-f32-flash': [82, 1, [24]],
    'after-f32-cache-f32': [84, 1, [24]],
    'before-bf16': [84, 1, [24]],
  });
});

it('says what to set where logits of the last token alone were asked for', async () => {
  await expect(portDump('before-f32-last')).rejects.toThrow(
    'only 1 of 24 tokens were computed here. Ask for the logits of every token (batch.logits[i] = true)',
  );
});

it('takes the input of the convolution from where the branch builds it', async () => {
  await using one = await Dump.open(await portDump('before-f32'));
  await using two = await Dump.open(await portDump('before-f32-two-sequences'));
  const cca = 'layers.0.self_attn.qkv_proj';
  const read = async (dump: Dump, tap: string, sequence: number) =>
    (await dump.read(`${cca}${tap}`, { sequence })).data;
  expect((await read(one, ':conv_input', 0))[1]).toBe((await read(one, '.q_proj', 0))[1]);
  // The branch reads [160 channels, 24 tokens] as [2, 160, 12]: channel 1 of the first sequence is channel 0 of the second.
  expect((await read(two, ':conv_input', 0))[1]).toBe((await read(two, '.q_proj', 1))[0]);
});

it('joins the references of two sequences', async () => {
  await using dump = await Dump.open(portReference(TWO_SEQUENCES));
  expect(dump.manifest).toMatchObject({ steps: 2, sequences: TWO_SEQUENCES.map((tokens) => ({ tokens })) });
  const { shape, position } = await dump.read('layers.7.self_attn.qkv_proj:query_residual');
  expect([shape[0], [...position]]).toEqual([24, [...Array(12).keys(), ...Array(12).keys()]]);
});
