import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump } from '../../../src/dump/reader.js';
import { runCommand } from '../../cli/run-command.js';
import {
  CUT_FOLDERS,
  PORT_IDS,
  type PortName,
  portDump,
  portFolder,
  portReference,
  portScratch,
  TINY_MODEL,
  WHOLE_FOLDERS,
} from './port-folders.js';

const MAP = ['--map', 'llamacpp', '--config', join(TINY_MODEL, 'config.json'), '--overwrite'];

/** The first lines of a folder's index, and the values of one. */
function folderOf(index: PortName, lines: number | undefined, values: PortName = index): string {
  const folder = portScratch(`${index}-${lines}-${values}`);
  const text = readFileSync(join(portFolder(index), 'index.jsonl'), 'utf8');
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'index.jsonl'),
    text.split('\n', lines).join('\n') + (lines === undefined ? '' : '\n'),
  );
  symlinkSync(join(portFolder(values), 'tensors.bin'), join(folder, 'tensors.bin'));
  return folder;
}

function importOf(folder: string, ...args: string[]) {
  return runCommand(['import', folder, ...MAP, '--out', portScratch('broken-dump'), ...args]);
}

/**
 * Of the files before they were packed: the first 16 digits of the SHA-256 of `tensors.bin`, up to where a
 * folder is cut.
 */
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

it('has the reference of the ids', async () => {
  await using reference = await Dump.open(portReference());
  expect(reference.manifest.sequences).toEqual([{ tokens: PORT_IDS }]);
  expect(reference.taps).toHaveLength(372);
  expect((await reference.read('layers.0.self_attn:attn_weights')).shape).toEqual([24, 8, 24]);
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
  const cca = 'layers.0.self_attn.qkv_proj';
  const read = async (dump: Dump, tap: string, sequence: number) =>
    (await dump.read(`${cca}${tap}`, { sequence })).data as Float32Array;
  /** Channel `c` of token `t`: queries first, then keys. */
  const projected = async (dump: Dump, sequence: number) => {
    const [q, k] = [await read(dump, '.q_proj', sequence), await read(dump, '.k_proj', sequence)];
    return (t: number, c: number) => (c < 128 ? q[128 * t + c]! : k[32 * t + c - 128]!);
  };
  await using one = await Dump.open(await portDump('before-f32'));
  const input = await read(one, ':conv_input', 0);
  const right = await projected(one, 0);
  expect([...input]).toEqual(Array.from(input, (_, k) => right(Math.floor(k / 160), k % 160)));
  // The branch reads [160 channels, 24 tokens of two sequences] as [2 sequences, 160, 12]: each takes half of
  // the channels of both.
  await using two = await Dump.open(await portDump('before-f32-two-sequences'));
  const own = [await projected(two, 0), await projected(two, 1)];
  for (const sequence of [0, 1]) {
    const mixed = await read(two, ':conv_input', sequence);
    const predicted = Array.from(mixed, (_, k) => {
      const [t, c] = [Math.floor(k / 160), k % 160];
      return own[c % 2]!(t, 80 * sequence + Math.floor(c / 2));
    });
    expect([...mixed]).toEqual(predicted);
  }
});

it('imports what there is of a run cut at any line', async () => {
  await using whole = await Dump.open(await portDump('before-f32'));
  const names = new Set(whole.taps.map(({ name }) => name));
  // The last ten lines; the only `norm-2`, the first of two `norm-1`, and inside blocks.
  for (const lines of [455, 454, 453, 452, 451, 450, 449, 448, 447, 446, 240, 63, 37, 5]) {
    const { code, stderr } = await importOf(folderOf('before-f32', lines));
    expect({ lines, code, stderr }).toEqual({ lines, code: 0, stderr: '' });
    await using cut = await Dump.open(portScratch('broken-dump'));
    expect(cut.taps.filter(({ name }) => !names.has(name))).toEqual([]);
    if (lines !== 455) continue;
    // All but the last line is there: so is every value, `norm` of the whole model among them.
    expect(cut.taps.map(({ name }) => name)).toEqual([...names]);
    for (const name of ['norm', 'lm_head'])
      expect((await cut.read(name)).data).toEqual((await whole.read(name)).data);
  }
});

it('refuses lengths of sequences that the convolution contradicts, and no others', async () => {
  const [one, two] = [portFolder('before-f32'), portFolder('before-f32-two-sequences')];
  const wrong = [
    [one, '12,12', '[1, 1, 160, 26], which is one sequence of 24'],
    [two, '10,14', '[1, 2, 160, 14], which is 2 sequences of 12'],
    [two, '8,8,8', '[1, 2, 160, 14], which is 2 sequences of 12'],
    [two, '24', '[1, 2, 160, 14], which is 2 sequences of 12'],
  ] as const;
  for (const [folder, lengths, got] of wrong) {
    const { code, stderr } = await importOf(folder, '--sequences', lengths);
    expect(code).toBe(2);
    const given = lengths.replaceAll(',', ' and ');
    expect(stderr).toContain(`expected a value of sequences of ${given} tokens, as given, got shape ${got}`);
    expect(stderr).toContain('cca_conv_input-0 of ');
  }
  // 12,12 is imported in another test.
  expect(await importOf(one, '--sequences', '24')).toMatchObject({ code: 0, stderr: '' });
});

it('refuses the values of another run beside an index', async () => {
  // 6405408 bytes and 6463776.
  const longer = await importOf(folderOf('before-f32', undefined, 'before-f32-two-sequences'));
  expect(longer.code).toBe(2);
  expect(longer.stderr).toMatch(
    /BAD_DUMP: .*expected the 6405408 bytes that index.jsonl lists, got a file of 6463776/,
  );
  const shorter = await importOf(folderOf('before-f32-two-sequences', undefined, 'before-f32'));
  expect(shorter.code).toBe(2);
  expect(shorter.stderr).toMatch(/BAD_DUMP: .*got a file of 6405408/);
});

it('refuses an index that has lost a line, or all but a part of the first', async () => {
  const text = readFileSync(join(portFolder('before-f32'), 'index.jsonl'), 'utf8');
  const lines = text.split('\n');
  const folder = portScratch('lost-line');
  mkdirSync(folder);
  symlinkSync(join(portFolder('before-f32'), 'tensors.bin'), join(folder, 'tensors.bin'));
  const importWith = async (index: string) => {
    writeFileSync(join(folder, 'index.jsonl'), index);
    return importOf(folder);
  };
  const at = lines.findIndex((line) => line.includes('"norm-4"'));
  // 128 floats of 24 tokens: 12288 bytes.
  for (const tail of [undefined, -3]) {
    const { code, stderr } = await importWith(
      `${lines.toSpliced(at, 1).slice(0, tail).join('\n')}\n`.replace(/\n\n$/, '\n'),
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /BAD_DUMP: .*expected input_norm-4 behind residual-4, at byte \d+ of tensors\.bin, got \d+: the line of a value of 12288 bytes is missing before it/,
    );
  }
  const first = lines.findIndex((line) => line.includes('"embd"'));
  expect((await importWith(lines.toSpliced(first, 1).join('\n'))).stderr).toContain(
    'expected cca_state-0 as the first value, at byte 0 of tensors.bin, got 12288',
  );
  expect((await importWith(lines[0]!.slice(0, 40))).stderr).toContain(
    'got one that ends within its first line',
  );
  expect((await importWith('')).stderr).toContain('got an empty index');
});
