import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { DumpGraph } from '../../src/dump/graph-file.js';
import { Dump, locateRecording, recordGguf, replayRecording } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { modelMaker, PROMPT, python } from './models.js';

/** Rows of the embedding as the GGUF holds them, and a norm of the model, by numpy from what the dump
 * holds. */
const CHECK_WITH_NUMPY = `
import json, sys
import numpy as np, pyarrow as pa
from gguf import GGUFReader
recording, model = sys.argv[1:]
tokens = json.load(open(recording + '/manifest.json'))['sequences'][0]['tokens'][:24]
weights = {t.name: np.array(t.data) for t in GGUFReader(model).tensors}
def tap(file, name):
    table = pa.ipc.open_file(recording + '/' + file).read_all()
    rows = np.array(table.column('step')) == 0
    return table.column(name).combine_chunks().to_numpy_ndarray()[rows]
rows = tap('model.arrow', 'inp_embd') if 'inp_embd' in pa.ipc.open_file(recording + '/model.arrow').schema.names else tap('model.arrow', 'embd')
x = tap('layers.0.arrow', 'l_out-0').astype(np.float64)
norm = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
attn = tap('layers.1.arrow', 'attn_norm-1').astype(np.float64)
expected = norm * weights['blk.1.attn_norm.weight']
print(json.dumps({'embedding': bool(np.array_equal(rows, weights['token_embd.weight'][tokens])),
                  'norm': float(((attn - expected) ** 2).sum() / (expected ** 2).sum())}))
`;

describeWith('a C++ compiler or libllama', hasLibllama, 'record and replay', () => {
  let folder: string;
  let make: Awaited<ReturnType<typeof modelMaker>>['make'];
  const out = (name: string): string => join(folder, name);
  beforeAll(async () => {
    ({ folder, make } = await modelMaker());
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('replays every node of a prompt and two steps bit for bit, and numpy finds its values', async () => {
    const model = make('llama');
    const recording = out('llama');
    const recorded = await recordGguf({ model, tokens: PROMPT, generate: 2, threads: 1, out: recording });
    expect(recorded).toMatchObject({ isSame: true, graphs: 3, nonFiniteLogits: 0 });
    const { nodes } = await replayRecording({ recording, model });
    expect(nodes).toHaveLength(recorded.nodes);
    expect(nodes.filter(({ isSame, problem }) => isSame !== true || problem !== undefined)).toEqual([]);
    // Weights in F32: only the cache, in F16, is rounded to and multiplied in low precision.
    const making = new Set(nodes.filter(({ ownError }) => ownError! > 0).map(({ op }) => op));
    expect(making).toEqual(new Set(['MUL_MAT', 'SET_ROWS']));
    expect(python(pythonPath(), CHECK_WITH_NUMPY, [recording, model])).toEqual({
      embedding: true,
      norm: expect.closeTo(0, 12),
    });
  }, 60_000);

  it.each([
    ['qwen3moe', 'Q8_0', true],
    ['mamba2', 'F16', false],
  ] as const)(
    'replays %s in %s',
    async (architecture, type, flashAttention) => {
      const model = make(architecture, type);
      const recording = out(`${architecture}-${type}`);
      const recorded = await recordGguf({
        model,
        tokens: PROMPT,
        generate: 1,
        threads: 1,
        flashAttention,
        out: recording,
      });
      expect(recorded.isSame).toBe(true);
      const { nodes } = await replayRecording({ recording, model });
      expect(nodes.filter(({ isSame }) => !isSame)).toEqual([]);
      expect(nodes.some(({ ownError, widened }) => ownError! > 0 && widened?.includes(type))).toBe(true);
    },
    60_000,
  );

  it('numbers a call by the first of the graphs that libllama cuts it into', async () => {
    const recording = out('cut');
    const recorded = await recordGguf({
      model: make('llama'),
      tokens: [1, 2, 3, 4, 5],
      chunk: 4,
      ubatch: 2,
      generate: 1,
      out: recording,
    });
    expect(recorded).toMatchObject({ isSame: true, graphs: 4 });
    await using dump = await Dump.open(recording);
    expect(dump.manifest.calls).toEqual([
      { step: 0, kind: 'prefill', rows: 4 },
      { step: 2, kind: 'chunk', rows: 1 },
      { step: 3, kind: 'decode', rows: 1 },
    ]);
    expect([...(await dump.rows('result_output')).step]).toEqual([0, 0, 1, 1, 2, 3]);
  }, 60_000);

  it('says which node gives other bits when one parameter of the graph is changed', async () => {
    const model = make('llama');
    const recording = out('changed');
    await recordGguf({ model, tokens: PROMPT, threads: 1, out: recording });
    const file = join(recording, 'graph.json');
    const graph = JSON.parse(readFileSync(file, 'utf8'));
    const norm = graph.tensors.find((tensor: { name: string }) => tensor.name === 'norm-2');
    norm.params = Buffer.from(new Float32Array([1e-3]).buffer).toString('hex');
    writeFileSync(file, JSON.stringify(graph));
    const { nodes } = await replayRecording({ recording, model, modes: ['same'] });
    expect(nodes.filter(({ isSame }) => !isSame).map(({ name }) => name)).toEqual([norm.tap]);
  }, 60_000);

  it('says of logits with NaN that there is no next token, appends none, and counts as numpy does', async () => {
    const model = make('llama');
    const broken = out('nan.gguf');
    copyFileSync(model, broken);
    const recording = out('nan');
    const spoil = `
import sys
from gguf import GGUFReader
norm = [t for t in GGUFReader(sys.argv[1], 'r+').tensors if t.name == 'output_norm.weight'][0]
norm.data[0] = float('nan')
norm.data.flush()
print('null')`;
    python(pythonPath(), spoil, [broken]);
    const recorded = await recordGguf({ model: broken, tokens: PROMPT, generate: 2, out: recording });
    expect(recorded).toMatchObject({ next: null, nextLogit: null, generated: [], graphs: 1 });
    const count = `
import json, sys
import numpy as np, pyarrow as pa
table = pa.ipc.open_file(sys.argv[1] + '/model.arrow').read_all()
values = table.column('result_output').combine_chunks().to_numpy_ndarray()
print(json.dumps(int((~np.isfinite(values)).sum())))`;
    expect(recorded.nonFiniteLogits).toBeGreaterThan(0);
    expect(recorded.nonFiniteLogits).toBe(python(pythonPath(), count, [recording]));
    // A node that passes NaN on does what its inputs say: that is no pass.
    const { nodes } = await replayRecording({ recording, model: broken, modes: ['same'] });
    expect(nodes.filter(({ nonFinite }) => nonFinite > 0).map(({ name }) => name)).toEqual([
      'result_norm',
      'result_output',
    ]);
    for (const args of [
      ['replay', recording, '--model', broken],
      ['locate', recording, '--model', broken],
      ['locate', recording, recording, '--model', broken],
      ['invariance', broken, '--tokens', '1,2,3'],
    ]) {
      const { code, stdout } = await runCommand(args);
      expect([code, stdout], args.join(' ')).toEqual([1, expect.stringContaining('NOT FINITE')]);
    }
    const printed = await runCommand(['record', broken, '--tokens', '1,2', '--out', out('nan-2')]);
    expect([printed.code, printed.stdout]).toEqual([
      1,
      expect.stringMatching(/^next token +none: logits are not finite$/m),
    ]);
  }, 60_000);

  it('judges nothing less than all that was recorded', async () => {
    const model = make('llama');
    const whole = out('whole');
    const tokens = [1, 2, 3];
    await recordGguf({ model, tokens, threads: 1, out: whole });
    const edited = async (change: (graph: DumpGraph) => object): Promise<unknown> => {
      const folder = out('edited');
      rmSync(folder, { recursive: true, force: true });
      cpSync(whole, folder, { recursive: true });
      const file = join(folder, 'graph.json');
      const graph = JSON.parse(readFileSync(file, 'utf8')) as DumpGraph;
      writeFileSync(file, JSON.stringify({ ...graph, ...change(graph) }));
      return locateRecording({ recording: folder, reference: whole, model });
    };
    await expect(edited(() => ({ graphs: [] }))).rejects.toThrow('a node for each value that was recorded');
    await expect(edited(({ graphs }) => ({ graphs: [...graphs, ...graphs] }))).rejects.toThrow(
      'each node runs once',
    );
    await expect(
      edited(({ graphs }) => ({
        graphs: graphs.map((each) => ({ ...each, nodes: each.nodes.slice(0, -1) })),
      })),
    ).rejects.toThrow('none for result_output');
    const verdict = await locateRecording({ recording: whole, reference: whole, model });
    expect([verdict.found, verdict.missing]).toEqual([false, []]);
  }, 60_000);

  it('refuses what it cannot run, with a sentence', async () => {
    const model = make('llama');
    const tokens = [1, 2];
    await expect(recordGguf({ model, tokens: [70_000], out: out('a') })).rejects.toThrow(
      'token ids below 256, got 70000',
    );
    expect(existsSync(out('a'))).toBe(false);
    writeFileSync(out('bad.gguf'), 'GGUF and no more');
    await expect(recordGguf({ model: out('bad.gguf'), tokens, out: out('b') })).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
    });
    await recordGguf({ model, tokens, out: out('c') });
    await expect(recordGguf({ model, tokens, out: out('c') })).rejects.toMatchObject({ code: 'IO' });
    await expect(replayRecording({ recording: out('c'), model: make('qwen3') })).rejects.toMatchObject({
      code: 'UNPAIRED',
    });
    await expect(
      replayRecording({ recording: join(import.meta.dirname, '../../dumps/tiny/reference-float32'), model }),
    ).rejects.toThrow('expected a recording');
  }, 60_000);
});
