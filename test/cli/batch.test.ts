import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { runCommand } from './run-command.js';

const model = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const SEQUENCES = [
  [257, 91, 77, 111, 110, 100, 97, 121, 32, 48, 52, 58],
  [257, 91, 83, 117, 110],
  [257, 84, 104, 105, 115, 32, 105, 115],
];

let folder: string;
let file: string;
const run = async (out: string, ...args: string[]) => {
  const command = [
    'capture',
    '--model',
    model,
    '--out',
    join(folder, out),
    '--threads',
    '1',
    '--json',
    ...args,
  ];
  const { code, stdout, stderr } = await runCommand(command);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-batch-'));
  file = join(folder, 'tokens.json');
  writeFileSync(file, JSON.stringify({ sequences: SEQUENCES }));
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('zayascope capture of several sequences', () => {
  it('runs them as one padded batch that equals runs one by one and single runs', async () => {
    const batch = await run('batch', '--tokens-file', file);
    const alone = await run('alone', '--tokens-file', file, '--one-by-one');
    expect(batch).toMatchObject({ status: 'complete', sequences: 3, tokens: 25 });
    expect(batch.topTokens.map(({ id }: { id: number }) => id)).toEqual(
      alone.topTokens.map(({ id }: { id: number }) => id),
    );
    await using dump = await Dump.open(join(folder, 'batch'));
    expect(dump.manifest).toMatchObject({ steps: 1, sequences: SEQUENCES.map((tokens) => ({ tokens })) });

    const diff = ['diff', join(folder, 'alone'), join(folder, 'batch'), '--fail-above', '1e-10', '--json'];
    const { code, stdout } = await runCommand(diff);
    const report = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(report.unpaired).toEqual([]);
    expect(report.tapReports).toHaveLength(372);

    for (const [sequence, tokens] of SEQUENCES.entries()) {
      const single = await run(`single-${sequence}`, '--tokens', tokens.join(','));
      expect(single.topTokens).toEqual([alone.topTokens[sequence]]);
    }
  });

  it('runs them one by one with the bits of single runs', async () => {
    await run('few', '--tokens-file', file, '--one-by-one', '--taps', 'layers.7,lm_head', '--overwrite');
    await using all = await Dump.open(join(folder, 'few'));
    for (const [sequence, tokens] of SEQUENCES.entries()) {
      await run('one', '--tokens', tokens.join(','), '--taps', 'layers.7,lm_head', '--overwrite');
      await using one = await Dump.open(join(folder, 'one'));
      for (const tap of ['layers.7', 'lm_head']) {
        const rows = await all.rows(tap);
        const { data, shape } = await all.read(tap);
        const width = shape[1]!;
        const mine = data.filter((_, at) => rows.sequence[Math.floor(at / width)] === sequence);
        expect(mine).toEqual((await one.read(tap)).data);
      }
    }
  });

  it('says in how many sequences the tokens are and how each goes on', async () => {
    const args = ['capture', '--model', model, '--tokens-file', file, '--taps', 'norm'];
    const { code, stdout } = await runCommand([...args, '--out', join(folder, 'text')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tokens +25 in 3 sequences, positions all$/m);
    expect(stdout).toMatch(
      /^next token +\d+ \(logit [-\d.]+\), \d+ \(logit [-\d.]+\), \d+ \(logit [-\d.]+\)$/m,
    );
  });

  it('takes the positions of each sequence, which must all have them', async () => {
    const { tokens } = await run('last', '--tokens-file', file, '--positions', 'last', '--taps', 'norm');
    expect(tokens).toBe(25);
    await using dump = await Dump.open(join(folder, 'last'));
    const { position, sequence } = await dump.rows('norm');
    expect([[...sequence], [...position]]).toEqual([
      [0, 1, 2],
      [11, 4, 7],
    ]);
    const beyond = ['--tokens-file', file, '--positions', '9:12', '--taps', 'norm'];
    const command = ['capture', '--model', model, '--out', join(folder, 'beyond'), ...beyond];
    const { code, stderr } = await runCommand(command);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('BAD_ARGUMENT') });
  });

  it.each([['generate', []] as const, ['evaluate', ['--context', '8']] as const])(
    'is refused by %s, which feeds a single one',
    async (command, args) => {
      const { code, stdout, stderr } = await runCommand([
        command,
        '--model',
        model,
        '--tokens-file',
        file,
        ...args,
      ]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(
        new RegExp(
          `^zayascope: BAD_ARGUMENT: ${command}: expected a single sequence of tokens, got 3 \\(.*tokens\\.json`,
        ),
      );
    },
  );
});
