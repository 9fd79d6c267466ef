import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump, locateRecording, recordGguf, replayRecording } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { python } from './models.js';

const { writeRandomGguf } = (await import('./random-gguf.mjs' as string)) as {
  writeRandomGguf: (path: string, architecture: string) => Promise<void>;
};

const TOKENS = [3, 10, 17, 4, 9];
const OTHERS = [
  [3, 10, 17],
  [8, 1, 2, 3, 4, 5, 6],
];

/** What numpy and pyarrow find: rows of the embedding by the token id of each row, and rows by sequence. */
const ROWS = `
import json, sys
import numpy as np, pyarrow as pa
from gguf import GGUFReader
recording, model = sys.argv[1:]
table = pa.ipc.open_file(recording + '/model.arrow').read_all()
weights = {t.name: np.array(t.data) for t in GGUFReader(model).tensors}['token_embd.weight']
rows = table.column('embd').combine_chunks().to_numpy_ndarray()
ids = np.array(table.column('token_id'))
print(json.dumps({'embedding': bool(np.array_equal(rows, weights[ids])),
                  'rows': [[int(table.column(c)[k].as_py()) for c in ('sequence', 'position', 'token_id')] for k in range(len(ids))]}))
`;

/** Of the whole recording: statistics and hash of a tap, each step apart, as a producer would state them. */
const MEASURED = `
import hashlib, json, sys
import numpy as np, pyarrow as pa
whole, stats, hashes, tap, file = sys.argv[1:]
table = pa.ipc.open_file(f'{whole}/{file}').read_all()
values = table.column(tap).combine_chunks().to_numpy_ndarray()
steps = np.array(table.column('step'))
measured = pa.ipc.open_file(f'{stats}/stats.arrow').read_all().to_pylist()
rms = [row['rms'] for row in measured if row['tap'] == tap]
stated = [row['sha256'] for row in pa.ipc.open_file(f'{hashes}/hash.arrow').read_all().to_pylist() if row['tap'] == tap]
print(json.dumps({'rms': float(np.abs(np.array(rms) - np.sqrt((values.astype(np.float64) ** 2).mean(-1))).max()),
                  'hashes': stated == [hashlib.sha256(np.ascontiguousarray(values[steps == s]).tobytes()).hexdigest() for s in (0, 1)]}))
`;

describeWith('a C++ compiler or libllama', hasLibllama, 'what of a run is recorded', () => {
  let folder: string;
  const out = (name: string): string => join(folder, name);
  const model = (architecture = 'llama'): string => out(`${architecture}.gguf`);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-narrowed-'));
    for (const architecture of ['llama', 'mamba2']) await writeRandomGguf(model(architecture), architecture);
    await recordGguf({ model: model(), tokens: TOKENS, generate: 1, threads: 1, out: out('whole') });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // Cut every 4 rows, libllama takes whole prompts one after the other, or of a state space model as many of
  // each.
  it.each([
    ['llama', 512],
    ['llama', 4],
    ['mamba2', 4],
  ])(
    'several prompts of %s in batches cut every %i tokens',
    async (architecture, ubatch) => {
      const recording = out(`${architecture}-${ubatch}`);
      const run = { model: model(architecture), generate: 1, threads: 1, overwrite: true };
      const result = await recordGguf({ ...run, tokens: TOKENS, others: OTHERS, ubatch, out: recording });
      expect(result.isSame).toBe(true);
      const { nodes, unrecorded } = await replayRecording({ recording, model: model(architecture) });
      expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
      expect([nodes.length, unrecorded]).toEqual([result.nodes, []]);
      const found = python<{ embedding: boolean; rows: number[][] }>(pythonPath(), ROWS, [
        recording,
        model(architecture),
      ]);
      expect(found.embedding).toBe(true);
      const appended = [result, ...result.others].map(({ generated }) => generated);
      const fed = [TOKENS, ...OTHERS].flatMap((tokens, k) =>
        [...tokens, ...appended[k]!].map((token, position) => [k, position, token]),
      );
      expect(found.rows.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!)).toEqual(fed);
      // Alone each prompt appends the same.
      for (const [k, tokens] of [TOKENS, ...OTHERS].entries()) {
        const { generated } = await recordGguf({ ...run, tokens, out: out('alone') });
        expect(generated).toEqual(appended[k]);
      }
    },
    60_000,
  );

  it('chosen taps and what they read, so that they replay; the rest is listed', async () => {
    const recording = out('chosen');
    const taps = 'kq-1,ffn_norm-0';
    const run = { model: model(), tokens: TOKENS, generate: 1, threads: 1, out: recording };
    expect((await recordGguf({ ...run, taps })).isSame).toBe(true);
    await using dump = await Dump.open(recording);
    await using whole = await Dump.open(out('whole'));
    expect(dump.manifest.selection).toEqual({ taps, positions: 'all' });
    expect(dump.taps.length).toBeLessThan(whole.taps.length / 3);
    for (const { name } of dump.taps)
      for (const step of (await dump.rows(name)).step)
        expect(await dump.read(name, { step })).toEqual(await whole.read(name, { step }));
    const { nodes, unrecorded } = await replayRecording({ recording, model: model() });
    expect(nodes.filter(({ isSame }) => !isSame)).toEqual([]);
    const replayed = new Set(nodes.map(({ name }) => name));
    expect(replayed.has('kq-1') && replayed.has('ffn_norm-0')).toBe(true);
    expect(unrecorded.find(({ name }) => name === 'ffn_out-1')).toMatchObject({
      reason: 'its value was not recorded',
    });
    const { stdout, code } = await runCommand(['replay', recording, '--model', model()]);
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^not recorded: \d+ nodes left out, the first embd/m),
    ]);
    const verdict = await locateRecording({ recording, model: model() });
    expect([verdict.found, verdict.notes]).toEqual([
      false,
      [expect.stringMatching(/^NOT RECORDED: \d+ nodes/)],
    ]);
  }, 60_000);

  it('rows of chosen positions, of taps that nothing reads', async () => {
    const recording = out('positions');
    const run = { model: model(), tokens: TOKENS, generate: 1, threads: 1, out: recording };
    await recordGguf({ ...run, taps: 'ffn_norm-1,result_output', positions: 'last' });
    await using dump = await Dump.open(recording);
    await using whole = await Dump.open(out('whole'));
    const last = await dump.read('result_output', { step: 0 });
    const all = await whole.read('result_output', { step: 0 });
    expect(last.shape).toEqual([1, 40]);
    expect([...last.data]).toEqual([...all.data.slice(-40)]);
    const { nodes } = await replayRecording({ recording, model: model() });
    expect(nodes.filter(({ isSame }) => !isSame)).toEqual([]);
    expect(nodes.map(({ name }) => name)).toContain('result_output');
  }, 60_000);

  it("statistics or hashes alone, which are numpy's, and of which nothing can be replayed", async () => {
    const run = { model: model(), tokens: TOKENS, generate: 1, threads: 1 };
    await recordGguf({ ...run, tier: 'stats', out: out('stats') });
    await recordGguf({ ...run, tier: 'hash', out: out('hash') });
    const args = [out('whole'), out('stats'), out('hash'), 'ffn_norm-1', 'layers.1.arrow'];
    const found = python<{ rms: number; hashes: boolean }>(pythonPath(), MEASURED, args);
    expect(found).toEqual({ rms: expect.closeTo(0, 12), hashes: true });
    await expect(replayRecording({ recording: out('stats'), model: model() })).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringContaining('a recording of tier full, got one of tier stats'),
    });
  }, 60_000);

  it('refuses what it cannot choose', async () => {
    const run = { model: model(), tokens: TOKENS, out: out('none') };
    await expect(recordGguf({ ...run, taps: 'no.such' })).rejects.toThrow('a pattern that matches a tap');
    await expect(recordGguf({ ...run, positions: '9:' })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(recordGguf({ ...run, others: [[]] })).rejects.toThrow('tokens of at least 1');
  });
});
