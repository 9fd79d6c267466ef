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

it('joins the references of two sequences', async () => {
  await using dump = await Dump.open(portReference(TWO_SEQUENCES));
  expect(dump.manifest).toMatchObject({ steps: 2, sequences: TWO_SEQUENCES.map((tokens) => ({ tokens })) });
  const { shape, position } = await dump.read('layers.7.self_attn.qkv_proj:query_residual');
  expect([shape[0], [...position]]).toEqual([24, [...Array(12).keys(), ...Array(12).keys()]]);
});
