import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { runCommand } from '../cli/run-command.js';
import { pythonJson } from '../reference/python.js';
import { appendStep, description, rowIndex, TAPS, temporaryFolder } from './dump-fixture.js';

type Manifest = { sequences: { tokens: number[] }[]; steps: number; selection: { positions: string } };

async function makeDump(): Promise<string> {
  const dir = join(temporaryFolder(), 'dump');
  await using writer = await DumpWriter.create(dir, description());
  for (const [step, [start, end]] of [[0, 4] as const, [4, 6] as const].entries())
    await appendStep(writer, TAPS, rowIndex(start, end, step));
  await writer.finish();
  return dir;
}

/** Reads a tap of each file. */
async function readAll(dir: string): Promise<void> {
  await using dump = await Dump.open(dir);
  for (const tap of dump.taps) for await (const _ of dump.stream(tap.name));
}

it.each<[string, (manifest: Manifest) => void, RegExp]>([
  [
    'another token',
    (m) => m.sequences[0]!.tokens.splice(3, 1, 7),
    /expected token 7 at position 3 of sequence 0.*got 14 \(row 3\)/,
  ],
  [
    'a token more',
    (m) => m.sequences[0]!.tokens.push(4),
    /a row for position 6 of sequence 0, .* 7 positions.* none among 6 rows/,
  ],
  [
    'more positions than memory',
    (m) => Object.assign(m, { version: 2, sequences: [{ length: 2 ** 52 }] }),
    /a row for position 6 of sequence 0, .* 4503599627370496 positions.* none among 6 rows/,
  ],
  ['a token less', (m) => m.sequences[0]!.tokens.pop(), /positions within the 5 .* sequence 0, got 5/],
  ['a sequence more', (m) => m.sequences.push({ tokens: [1, 2] }), /a row for position 0 of sequence 1/],
  ['no sequence', (m) => m.sequences.pop(), /rows of the manifest's 0 sequences, got one of sequence 0/],
  ['a step more', (m) => m.steps++, /rows of 3 steps, as the manifest says, got rows of 2/],
  ['a step less', (m) => m.steps--, /steps below 1, as the manifest says, got step 1/],
  [
    'fewer positions',
    (m) => (m.selection.positions = '0:5'),
    /positions 0:5, as the manifest's selection says, got position 5/,
  ],
])('refuses a complete dump whose manifest claims %s', async (_, change, message) => {
  const dir = await makeDump();
  await readAll(dir);
  const file = join(dir, 'manifest.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
  change(manifest);
  writeFileSync(file, JSON.stringify(manifest));
  await expect(readAll(dir)).rejects.toMatchObject({
    code: 'BAD_DUMP',
    message: expect.stringMatching(message),
  });
});

it('refuses files with fewer rows, written by pyarrow, in every command; inspect names them', async () => {
  const dir = await makeDump();
  const folder = temporaryFolder();
  for (const kind of ['fewer', 'none']) cpSync(dir, join(folder, kind), { recursive: true });
  const program = [
    'import pyarrow as pa, json',
    'for kind, rows in (("fewer", 3), ("none", 0)):',
    `    path = ${JSON.stringify(folder)} + f"/{kind}/layers.1.arrow"`,
    '    reader = pa.ipc.open_file(pa.BufferReader(open(path, "rb").read()))',
    '    batches = [reader.get_batch(0).slice(0, rows)] if rows else []',
    '    with pa.ipc.new_file(path, reader.schema) as writer:',
    '        for batch in batches: writer.write_batch(batch)',
    'print(json.dumps("done"))',
  ];
  expect(pythonJson<string>(['-c', program.join('\n')])).toBe('done');
  for (const kind of ['fewer', 'none']) {
    const bad = join(folder, kind);
    const results = [
      await runCommand(['diff', dir, bad, '--fail-above', '1']),
      await runCommand(['export', bad, '--out', join(folder, `${kind}.safetensors`)]),
      await runCommand(['report', dir, bad, '--out', join(folder, `${kind}.html`)]),
    ];
    for (const { code, stdout, stderr } of results) {
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/BAD_DUMP: .*layers\.1\.arrow/);
    }
    const inspected = await runCommand(['inspect', bad]);
    expect(inspected.code).toBe(1);
    expect(inspected.stdout).toMatch(/layers\.1\.arrow .*expected a row for position \d of sequence 0/);
  }
});

it('exports no dump without rows', async () => {
  const dir = join(temporaryFolder(), 'dump');
  {
    await using _ = await DumpWriter.create(dir, description());
  }
  const { code, stdout, stderr } = await runCommand(['export', dir, '--out', `${dir}.safetensors`]);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(
    /expected a dump with rows, got none of embed_tokens and 6 more \(the dump is partial\)/,
  );
});
